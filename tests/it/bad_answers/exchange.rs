//! The token endpoint on exchange: a code is presented once, so whatever goes wrong ends the connect,
//! and the person's next attempt is a new one.

use futures_util::future::try_join_all;
use latchkey_tests::app::Options;
use latchkey_tests::sandbox::{Endpoint, Fault, FaultRule};
use latchkey_tests::{Person, TestApp};
use serde_json::{Value, json};

use super::{
    CALL_TIMEOUT, calls, connect_all, drip, html, in_ok, redirect, retry_after, strike, text,
};

const FAILED: &str = "EXCHANGE_FAILED";
const REFUSED: &str = "EXCHANGE_REFUSED";
const OURS: &str = "PLATFORM_MISCONFIGURED";

/// Who, what goes wrong, how the connect ends, and what the platform is quoted with.
fn cases() -> Vec<(&'static str, FaultRule, &'static str, &'static str)> {
    let rule = |fault| FaultRule::new(Endpoint::TokenCode, fault);
    vec![
        ("internal-error", rule(Fault::Status { status: 500 }), FAILED, "http_500"),
        ("limited-for-long", rule(retry_after(429, "99999999999999")), FAILED, "http_429"),
        ("forbidden-by-a-proxy", rule(Fault::Status { status: 403 }), FAILED, "http_403"),
        ("garbage", rule(Fault::Garbage), FAILED, "no_readable_answer"),
        ("empty", rule(Fault::Status { status: 200 }).after(), FAILED, "no_readable_answer"),
        ("huge", rule(Fault::Huge), FAILED, "no_readable_answer"),
        ("drip", rule(drip()), FAILED, "no_readable_answer"),
        ("silence", rule(Fault::Silence).after(), FAILED, "no_readable_answer"),
        ("never-began", rule(Fault::Silence), FAILED, "no_readable_answer"),
        ("drop", rule(Fault::Drop).after(), FAILED, "no_readable_answer"),
        ("html", rule(html()), FAILED, "no_readable_answer"),
        ("redirect", rule(redirect()), FAILED, "http_307"),
        ("refused", rule(Fault::InvalidGrant), REFUSED, "invalid_grant"),
        ("refused-in-200", rule(in_ok("bad_verification_code")), REFUSED, "bad_verification_code"),
        ("wrong-client", rule(Fault::InvalidClient), OURS, "invalid_client"),
        ("wrong-client-in-200", rule(in_ok("invalid_client")), OURS, "invalid_client"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_that_goes_wrong_ends_the_connect() -> anyhow::Result<()> {
    let options = Options { call_timeout: Some(CALL_TIMEOUT), ..Options::default() };
    let app = TestApp::start_with(options).await?;
    let cases = cases();
    let attempt = async |user: &str, rule: &FaultRule| {
        strike(&app, user, rule);
        let started = app.start_connect(json!({})).await?;
        app.approve(&started, &Person::new(user)?).await?.expect(303)?;
        app.ended(text(&started["connectId"])).await
    };
    let ended: Vec<Value> =
        try_join_all(cases.iter().map(|(user, rule, ..)| attempt(user, rule))).await?;
    for ((user, _, reason, said), ended) in cases.iter().zip(&ended) {
        assert_eq!(
            (text(&ended["status"]), text(&ended["reasonCode"])),
            ("failed", *reason),
            "{user}"
        );
        let quoted = if *reason == FAILED { "cause" } else { "error" };
        assert_eq!(text(&ended["platformError"][quoted]), *said, "{user}");
        let event = app.event("connect.failed", text(&ended["id"])).await?;
        assert!(event["data"].to_string().contains(reason), "{user}: {event:#}");
        assert_eq!(calls(&app, Endpoint::TokenCode, user).len(), 1, "{user}: presented once");
    }
    let rows = "SELECT (SELECT count(*) FROM accounts) AS accounts, (SELECT count(*) FROM grants) AS grants, \
                (SELECT count(sealed_code) + count(sealed_verifier) FROM connects) AS secrets";
    assert_eq!(app.row(rows).await?, json!({ "accounts": 0, "grants": 0, "secrets": 0 }));

    let users: Vec<&str> = cases.iter().map(|case| case.0).collect();
    connect_all(&app, &users).await?;
    app.finish().await
}

async fn connect_with(app: &TestApp, fault: Fault) -> anyhow::Result<Value> {
    strike(app, "sam", &FaultRule::new(Endpoint::TokenCode, fault));
    let connected = app.connect("sam").await?;
    app.account(&connected.account_id).await
}

#[tokio::test(flavor = "multi_thread")]
async fn fewer_scopes_than_asked_for_are_told() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let account = connect_with(&app, Fault::ChangedScope { scope: "profile".to_owned() }).await?;
    assert_eq!(account["scopes"], json!(["profile"]));
    assert_eq!(account["missingScopes"], json!(["posts.write"]), "there is a refresh token");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_without_end_and_without_sense_are_left_out() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let many: Vec<String> = (0..5_000).map(|number| format!("s{number}")).collect();
    let scope = format!("profile a\0b ü {} {}", "x".repeat(5000), many.join(" "));
    let account = connect_with(&app, Fault::ChangedScope { scope }).await?;
    let scopes = account["scopes"].as_array().map_or(&[][..], Vec::as_slice);
    assert_eq!(scopes.len(), 200);
    assert_eq!(scopes[..3], [json!("profile"), json!("s0"), json!("s1")]);
    app.finish().await
}

/// Whatever the platform says with a NUL in it is stored without: PostgreSQL takes none.
#[tokio::test(flavor = "multi_thread")]
async fn a_nul_in_an_answer_ends_the_connect_with_its_reason() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let body = json!({ "error": "invalid\0_grant", "error_description": "no\0 such code",
                       "error_subtype": "a\0b" });
    let refused = Fault::Answer { status: 400, headers: [].into(), body: body.to_string() };
    strike(&app, "sam", &FaultRule::new(Endpoint::TokenCode, refused));
    let started = app.start_connect(json!({})).await?;
    app.approve(&started, &Person::new("sam")?).await?.expect(303)?;
    let ended = app.ended(started["connectId"].as_str().unwrap_or_default()).await?;
    assert_eq!(ended["status"], "failed", "{ended}");
    assert_eq!(ended["platformError"]["error"], "invalid\u{fffd}_grant", "{ended}");
    assert!(!ended.to_string().contains("\\u0000"), "{ended}");
    app.finish().await
}

/// What the database never takes is not tried again and again, and its tokens live nowhere.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_cannot_be_stored_are_revoked() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    app.refuse_inserts_for_good("grants").await?;
    let started = app.start_connect(json!({})).await?;
    app.approve(&started, &Person::new("sam")?).await?.expect(303)?;
    let ended = app.ended(text(&started["connectId"])).await?;
    assert_eq!(ended["reasonCode"], FAILED, "{ended}");
    assert_eq!(ended["platformError"]["cause"], "not_storable", "{ended}");
    assert!(app.sandbox.families().iter().all(|family| !family.alive));
    assert_eq!(app.row("SELECT last_value AS n FROM refused").await?["n"], 1, "tried once");
    app.refuse_no_more("grants").await?;
    app.connect("sam").await?;
    app.finish().await
}

/// Without a refresh token nothing can be renewed, and its known end is the account's.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_without_a_refresh_token_lives_as_long_as_its_access_token() -> anyhow::Result<()>
{
    let app = TestApp::start().await?;
    let account = connect_with(&app, Fault::MissingRefreshToken).await?;
    let id = text(&account["id"]);
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
