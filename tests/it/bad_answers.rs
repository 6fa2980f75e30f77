//! Platforms that answer badly: what becomes of the connect, the account and the rows.

use latchkey_tests::app::{Options, eventually};
use latchkey_tests::sandbox::{Endpoint, Fault, FaultRule};
use latchkey_tests::{Person, TestApp};
use serde_json::{Value, json};

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Connects a person while one request to the platform goes wrong; answers the ended connect.
async fn connect_with(app: &TestApp, rule: FaultRule) -> anyhow::Result<Value> {
    app.sandbox.inject(rule.times(1));
    let started = app.start_connect(json!({})).await?;
    app.approve(&started, &Person::new("sam")?).await?.expect(303)?;
    app.ended(text(&started["connectId"])).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_without_a_readable_answer_ends_the_connect() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let elsewhere = "https://elsewhere.example/".to_owned();
    let refused = Fault::ErrorInOk { error: "invalid_grant".to_owned() };
    for (fault, reason) in [
        (Fault::Garbage, "EXCHANGE_FAILED"),
        (Fault::Huge, "EXCHANGE_FAILED"),
        (Fault::Drop, "EXCHANGE_FAILED"),
        (Fault::Status { status: 503 }, "EXCHANGE_FAILED"),
        (Fault::RateLimited { retry_after_secs: Some(5) }, "EXCHANGE_FAILED"),
        (Fault::Redirect { location: elsewhere }, "EXCHANGE_FAILED"),
        (Fault::InvalidGrant, "EXCHANGE_REFUSED"),
        (refused, "EXCHANGE_REFUSED"),
        (Fault::InvalidClient, "PLATFORM_MISCONFIGURED"),
    ] {
        let name = format!("{fault:?}");
        let ended = connect_with(&app, FaultRule::new(Endpoint::TokenCode, fault)).await?;
        assert_eq!(
            (text(&ended["status"]), text(&ended["reasonCode"])),
            ("failed", reason),
            "{name}"
        );
        app.event("connect.failed", text(&ended["id"])).await?;
    }
    let rows = "SELECT (SELECT count(*) FROM accounts) AS accounts, (SELECT count(*) FROM grants) AS grants, \
                (SELECT count(sealed_code) FROM connects) AS codes";
    assert_eq!(app.row(rows).await?, json!({ "accounts": 0, "grants": 0, "codes": 0 }));
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn fewer_scopes_than_asked_for_are_told() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let fault = Fault::ChangedScope { scope: "profile".to_owned() };
    let ended = connect_with(&app, FaultRule::new(Endpoint::TokenCode, fault)).await?;
    let account = app.account(text(&ended["accountIds"][0])).await?;
    assert_eq!(account["scopes"], json!(["profile"]));
    assert_eq!(account["missingScopes"], json!(["posts.write", "offline_access"]));
    app.finish().await
}

/// Without a refresh token nothing can be renewed, and its known end is the account's.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_without_a_refresh_token_lives_as_long_as_its_access_token() -> anyhow::Result<()>
{
    let app = TestApp::start().await?;
    let rule = FaultRule::new(Endpoint::TokenCode, Fault::MissingRefreshToken);
    let ended = connect_with(&app, rule).await?;
    let id = text(&ended["accountIds"][0]);
    let account = app.account(id).await?;
    assert_eq!(
        (&account["status"], &account["nextRefreshAt"]),
        (&json!("connected"), &Value::Null)
    );
    let refresh = app.http.post(&app.path(&format!("/accounts/{id}/refresh")), &json!({})).await?;
    assert_eq!((refresh.status, refresh.code().as_str()), (409, "NOTHING_TO_REFRESH"));
    app.clock.advance(chrono::TimeDelta::minutes(61));
    let account = app.account_until(id, |account| account["status"] == "token_expired").await?;
    assert_eq!(account["statusReason"], "access_token_ended");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_cannot_be_read_yet_is_asked_for_again() -> anyhow::Result<()> {
    let callback_wait = std::time::Duration::from_secs(1);
    let app = TestApp::start_with(Options { callback_wait, ..Options::default() }).await?;
    for fault in [Fault::Status { status: 500 }, Fault::Garbage, Fault::Drop] {
        let started = app.start_connect(json!({})).await?;
        app.sandbox.inject(FaultRule::new(Endpoint::Userinfo, fault).times(1));
        app.approve(&started, &Person::new("sam")?).await?.expect(303)?;
        let path = app.path(&format!("/connects/{}", text(&started["connectId"])));
        eventually(|| async {
            app.clock.advance(chrono::TimeDelta::seconds(1));
            let connect = app.http.get(&path).await?.expect(200)?.json();
            Ok((connect["status"] == "connected").then_some(()))
        })
        .await?;
    }
    // What was put off because somebody else was at it comes back at once.
    app.clock.advance(chrono::TimeDelta::minutes(1));
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_is_refused_ends_the_connect_and_revokes_its_tokens() -> anyhow::Result<()>
{
    let app = TestApp::start().await?;
    let rule = FaultRule::new(Endpoint::Userinfo, Fault::Status { status: 403 });
    let ended = connect_with(&app, rule).await?;
    assert_eq!(ended["reasonCode"], "IDENTITY_REFUSED");
    eventually(|| async {
        Ok(app.sandbox.families().iter().all(|family| !family.alive).then_some(()))
    })
    .await?;
    app.finish().await
}

/// A 200 that cannot be read after a rotation is neither death nor success.
#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_refresh_is_in_doubt_and_no_death() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    for (user, fault) in [("garbage", Fault::Garbage), ("huge", Fault::Huge)] {
        let account = app.connect(user).await?;
        app.sandbox.inject(FaultRule::new(Endpoint::TokenRefresh, fault).for_user(user).times(1));
        let path = app.path(&format!("/accounts/{}/refresh", account.account_id));
        app.http.post(&path, &json!({})).await?.expect(202)?;
        let account = app
            .account_until(&account.account_id, |account| !account["lastError"].is_null())
            .await?;
        assert_eq!(account["lastError"]["code"], "no_readable_answer");
        assert_eq!(
            (&account["status"], &account["tokenGeneration"]),
            (&json!("connected"), &json!(1))
        );
    }
    let doubt = app.row("SELECT count(in_doubt_since) AS n FROM grants").await?;
    assert_eq!(doubt["n"], 2);
    app.finish().await
}
