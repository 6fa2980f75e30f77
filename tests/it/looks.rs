//! Each account is looked at once a day: a removal shows, and names follow the platform.

use std::time::Duration;

use chrono::TimeDelta;
use latchkey_tests::TestApp;
use latchkey_tests::app::{Options, eventually, worn};
use latchkey_tests::sandbox::{Endpoint, Fault, FaultRule};
use serde_json::{Value, json};

use crate::platforms::connected;

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Its tokens live for so long that no refresh comes in between.
async fn start() -> anyhow::Result<TestApp> {
    let access_lifetime = Duration::from_secs(60 * 86_400);
    TestApp::start_with(Options { daily_look: true, access_lifetime, ..Options::default() }).await
}

fn calls(app: &TestApp, endpoint: Endpoint) -> usize {
    app.sandbox.ledger().iter().filter(|entry| entry.endpoint == Some(endpoint)).count()
}

/// Their tokens live for weeks, and nothing refreshes them before: a look alone can tell.
#[tokio::test(flavor = "multi_thread")]
async fn a_removal_is_seen_within_a_day() -> anyhow::Result<()> {
    let ids = ["LINKEDIN_PERSON", "LINKEDIN_COMPANY", "INSTAGRAM", "THREADS", "PINTEREST"];
    let platforms = worn(&ids).replace("daily_look = false", "daily_look = true");
    let refusal_confirm = Duration::from_secs(60);
    let app =
        TestApp::start_with(Options { platforms, refusal_confirm, ..Options::default() }).await?;
    let mut accounts = Vec::new();
    for platform in ids {
        accounts.push(connected(&app, (platform, "sam"), &json!({})).await?);
        accounts.push(connected(&app, (platform, "kim"), &json!({})).await?);
    }
    app.sandbox.revoke_user("sam");
    app.clock.advance(TimeDelta::hours(20));
    let refused = "accounts WHERE check_refused_since IS NULL AND id IN";
    let sams: Vec<&String> = accounts.iter().step_by(2).collect();
    let listed = sams.iter().map(|id| format!("'{id}'")).collect::<Vec<_>>().join(", ");
    app.clock.advance(TimeDelta::minutes(245));
    app.until_none(&format!("{refused} ({listed})")).await?;
    assert_eq!(
        app.row("SELECT count(*) AS n FROM accounts WHERE status <> 'connected'").await?["n"],
        0,
        "one refusal alone"
    );
    // A clear refusal is repeated a minute later, one that living accounts have been seen to get three hours later.
    app.clock.advance(TimeDelta::minutes(185));
    for (platform, account) in ids.iter().zip(&sams) {
        let ended = app.account_until(account, |shown| shown["status"] == "token_expired").await?;
        assert_eq!(ended["statusReason"], "refused_by_platform", "{platform}");
        app.event("account.token_expired", account).await?;
    }
    for account in accounts.iter().skip(1).step_by(2) {
        assert_eq!(app.account(account).await?["status"], "connected", "another person's");
    }
    assert_eq!(calls(&app, Endpoint::TokenRefresh), 0, "no refresh was due");
    app.finish().await
}

/// What the platform says of somebody, with this name and picture.
fn shown_as(name: &str, picture: &str) -> Fault {
    let body = json!({ "sub": "sbx-user-sam", "preferred_username": "sam", "name": name, "picture": picture });
    Fault::Answer { status: 200, headers: [].into(), body: body.to_string() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_name_is_told_and_a_picture_signed_anew_is_not() -> anyhow::Result<()> {
    let app = start().await?;
    let says = |name: &str, picture: &str| {
        app.sandbox.clear_faults();
        app.sandbox.inject(FaultRule::new(Endpoint::Userinfo, shown_as(name, picture)));
    };
    says("Sam", "https://one.cdn.example/a/sam.jpg?sign=1");
    let sam = app.connect("sam").await?.account_id;
    says("Sam", "https://two.cdn.example/b/sam.jpg?sign=2");
    app.clock.advance(TimeDelta::hours(24));
    app.account_until(&sam, |shown| text(&shown["avatarUrl"]).contains("sign=2")).await?;
    says("Samantha", "https://two.cdn.example/b/sam.jpg?sign=3");
    app.clock.advance(TimeDelta::hours(24));
    app.account_until(&sam, |shown| shown["displayName"] == "Samantha").await?;
    let event = app.event("account.updated", &sam).await?;
    assert_eq!(event["data"]["changed"], json!(["displayName"]), "{event:#}");
    let told = "SELECT count(*) AS n FROM events WHERE type = 'account.updated'";
    assert_eq!(app.row(told).await?["n"], 1);
    app.finish().await
}

/// A look that brings nothing, or no clear no, ends nobody; it is repeated on the next day.
#[tokio::test(flavor = "multi_thread")]
async fn only_a_clear_no_ends_an_account() -> anyhow::Result<()> {
    let app = start().await?;
    let sam = app.connect("sam").await?.account_id;
    let other = json!({ "sub": "sbx-user-kim", "name": "Kim" }).to_string();
    let scope = json!({ "error": "insufficient_scope" }).to_string();
    for fault in [
        Fault::Status { status: 500 },
        Fault::Status { status: 403 },
        Fault::RateLimited { retry_after_secs: Some(60) },
        Fault::Garbage,
        Fault::Drop,
        Fault::InvalidClient,
        Fault::Answer { status: 200, headers: [].into(), body: other },
        Fault::Answer { status: 403, headers: [].into(), body: scope },
    ] {
        let before = calls(&app, Endpoint::Userinfo);
        app.sandbox.inject(FaultRule::new(Endpoint::Userinfo, fault.clone()).times(1));
        app.clock.advance(TimeDelta::minutes(24 * 60 + 5));
        eventually(|| async { Ok((calls(&app, Endpoint::Userinfo) > before).then_some(())) })
            .await?;
        let by_now = app.clock.offset().num_seconds();
        let not_put_off =
            format!("next_check_at <= now() + interval '{by_now} s' + interval '20 h'");
        app.until_none(&format!("accounts WHERE {not_put_off}")).await?;
        let shown = app.account(&sam).await?;
        assert_eq!(
            (&shown["status"], &shown["displayName"]),
            (&json!("connected"), &json!("Sam")),
            "{fault:?}"
        );
    }
    app.finish().await
}

/// Accounts that were connected together are not looked at together.
#[tokio::test(flavor = "multi_thread")]
async fn looks_are_spread_over_hours() -> anyhow::Result<()> {
    let app = start().await?;
    for person in 0..12 {
        app.connect(&format!("person-{person}")).await?;
    }
    let spread = "SELECT min(wait) >= interval '21 h' AND max(wait) <= interval '24 h' AS within,
                      max(wait) - min(wait) > interval '30 min' AS apart
                  FROM (SELECT next_check_at - connected_at AS wait FROM accounts) waits";
    assert_eq!(app.row(spread).await?, json!({ "within": true, "apart": true }));
    app.finish().await
}

/// A person's own host answers for itself: what it refuses says nothing of the platform's other accounts.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_s_own_host_speaks_for_nobody_else() -> anyhow::Result<()> {
    let platforms = worn(&["BLUESKY"]).replace("daily_look = false", "daily_look = true");
    let app = TestApp::start_with(Options { platforms, ..Options::default() }).await?;
    let sam = connected(&app, ("BLUESKY", "sam"), &json!({})).await?;
    let expired = json!({ "error": "ExpiredToken", "message": "m" }).to_string();
    let refused = Fault::Answer { status: 400, headers: [].into(), body: expired };
    app.sandbox.inject(FaultRule::new(Endpoint::Userinfo, refused));
    app.clock.advance(TimeDelta::hours(25));
    app.account_until(&sam, |shown| shown["tokenGeneration"] == 2).await?;
    app.clock.advance(TimeDelta::minutes(15));
    app.account_until(&sam, |shown| shown["status"] == "token_expired").await?;
    let blamed =
        "SELECT count(*) FILTER (WHERE app_id = '') AS all, count(*) > 0 AS host FROM app_health";
    assert_eq!(app.row(blamed).await?, json!({ "all": 0, "host": true }));
    app.finish().await
}
