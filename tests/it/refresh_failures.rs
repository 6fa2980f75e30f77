//! What a refresh that brings no tokens means for the account. Each bad answer has its case in
//! `bad_answers/refresh.rs`; here is what follows over time.

use std::time::Duration;

use chrono::TimeDelta;
use latchkey_tests::TestApp;
use latchkey_tests::app::{Options, eventually};
use latchkey_tests::sandbox::{Endpoint, Fault, FaultRule, Kind};
use latchkey_worker::sweeps::Sweep;
use serde_json::{Value, json};

async fn refresh_now(app: &TestApp, account: &str) -> anyhow::Result<()> {
    app.http
        .post(&app.path(&format!("/accounts/{account}/refresh")), &json!({}))
        .await?
        .expect(202)
        .map(drop)
}

async fn grant(app: &TestApp) -> anyhow::Result<Value> {
    app.row("SELECT status, generation, attempts, in_doubt_since, calling_generation, lease_until, last_error_code, end_reason, \
             refresh_at, access_expires_at FROM grants")
        .await
}

/// Waits until the grant's last error is this.
async fn until_error(app: &TestApp, code: &str) -> anyhow::Result<Value> {
    eventually(|| async {
        let grant = grant(app).await?;
        Ok((grant["last_error_code"] == code && grant["lease_until"].is_null()).then_some(grant))
    })
    .await
}

fn refreshes(app: &TestApp, kind: Kind) -> usize {
    app.sandbox.ledger().iter().filter(|entry| entry.kind == kind).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_expires_the_account_with_its_event() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let sam = app.connect("sam").await?;
    app.sandbox.revoke_user("sam");
    refresh_now(&app, &sam.account_id).await?;
    let account =
        app.account_until(&sam.account_id, |account| account["status"] == "token_expired").await?;
    assert_eq!(account["statusReason"], "refused_by_platform");
    let event = app.event("account.token_expired", &sam.account_id).await?;
    assert_eq!(event["data"]["error"]["error"], "invalid_grant");
    let again = app
        .http
        .post(&app.path(&format!("/accounts/{}/refresh", sam.account_id)), &json!({}))
        .await?;
    assert_eq!(again.status, 409);

    app.connect("sam").await?;
    assert_eq!(
        app.account(&sam.account_id).await?["status"],
        "connected",
        "connecting again helps"
    );
    app.finish().await
}

/// A strict platform that rotated and whose answer was lost: nobody knows, so nobody is hasty. The
/// second try comes shortly before the access token's end, and its refusal names the interruption.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_at_a_strict_platform_waits_and_is_counted_apart() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let sam = app.connect("sam").await?;
    app.sandbox.inject(FaultRule::new(Endpoint::TokenRefresh, Fault::Drop).after().times(1));
    refresh_now(&app, &sam.account_id).await?;
    let doubtful = until_error(&app, "no_readable_answer").await?;
    assert!(!doubtful["in_doubt_since"].is_null());
    assert_eq!(
        app.account(&sam.account_id).await?["status"],
        "connected",
        "the access token still works"
    );
    let lead = app.row("SELECT extract(epoch FROM access_expires_at - refresh_at)::float8 AS seconds FROM grants").await?;
    assert_eq!(lead["seconds"].as_f64().map(f64::round), Some(30.0));
    assert_eq!(refreshes(&app, Kind::RefreshRefused), 0, "no hasty second try");

    app.clock.advance(TimeDelta::minutes(60));
    let account =
        app.account_until(&sam.account_id, |account| account["status"] == "token_expired").await?;
    assert_eq!(account["statusReason"], "refresh_interrupted");
    assert_eq!(refreshes(&app, Kind::RefreshRefused), 1, "the old token was tried once");
    app.finish().await
}

/// A worker that died between its intent and its answer leaves a lease that runs out; whoever comes
/// next knows that the token may be spent.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_call_is_in_doubt_once_its_lease_has_ended() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let sam = app.connect("sam").await?;
    app.execute(
        "UPDATE grants SET calling_generation = generation, lease_holder = 'gone', \
             lease_until = now() + interval '150 s', refresh_at = now(), next_attempt_at = now()",
    )
    .await?;
    // Somebody has looked, and left it to the lease.
    let left = "SELECT next_attempt_at = lease_until AND dispatches = 0 AS left FROM grants";
    eventually(|| async { Ok((app.row(left).await?["left"] == true).then_some(())) }).await?;
    assert_eq!(
        app.account(&sam.account_id).await?["tokenGeneration"],
        1,
        "nobody calls while the lease may be alive"
    );
    app.clock.advance(TimeDelta::seconds(300));
    let doubtful = until_error(&app, "call_interrupted").await?;
    assert!(!doubtful["in_doubt_since"].is_null());
    assert_eq!(refreshes(&app, Kind::Refreshed), 0);
    app.clock.advance(TimeDelta::minutes(60));
    app.account_until(&sam.account_id, |account| account["tokenGeneration"] == 2).await?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_token_that_lapses_meanwhile_is_announced_once() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let sam = app.connect("sam").await?;
    app.sandbox
        .inject(FaultRule::new(Endpoint::TokenRefresh, Fault::Status { status: 500 }).times(2));
    app.clock.advance(TimeDelta::minutes(61));
    app.event("account.refresh_overdue", &sam.account_id).await?;
    assert_eq!(
        app.account(&sam.account_id).await?["status"],
        "connected",
        "an ended access token expires nothing"
    );
    app.clock.advance(TimeDelta::minutes(61));
    eventually(|| async { Ok((grant(&app).await?["attempts"] == 2).then_some(())) }).await?;
    app.clock.advance(TimeDelta::minutes(61));
    app.account_until(&sam.account_id, |account| account["tokenGeneration"] == 2).await?;
    let told =
        app.row("SELECT count(*) AS n FROM events WHERE type = 'account.refresh_overdue'").await?;
    assert_eq!(told["n"], 1);
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_whose_known_end_has_passed_expires_the_account() -> anyhow::Result<()> {
    let app = TestApp::start_with(Options {
        refresh_lifetime: Some(Duration::from_secs(7200)),
        ..Options::default()
    })
    .await?;
    let sam = app.connect("sam").await?;
    app.sandbox.inject(FaultRule::new(Endpoint::TokenRefresh, Fault::Status { status: 500 }));
    app.clock.advance(TimeDelta::minutes(119));
    Sweep::ExpireGrants.run(app.worker_context()).await?;
    assert_eq!(
        app.account(&sam.account_id).await?["status"],
        "connected",
        "the refresh token lives"
    );
    app.clock.advance(TimeDelta::minutes(2));
    let account =
        app.account_until(&sam.account_id, |account| account["status"] == "token_expired").await?;
    assert_eq!(account["statusReason"], "refresh_token_ended");
    app.finish().await
}

/// The database took no answer for so long that the lease and the access token have ended. The process that holds the
/// answer stores it before the old token is presented again, which the platform would refuse.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_held_comes_before_a_second_try() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let sam = app.connect("sam").await?;
    app.refuse_updates(("grants", "generation"), "NEW.generation > OLD.generation").await?;
    refresh_now(&app, &sam.account_id).await?;
    app.refused(1).await?;
    app.clock.advance(TimeDelta::hours(2));
    let doubtful = until_error(&app, "call_interrupted").await?;
    assert!(!doubtful["in_doubt_since"].is_null());
    assert_eq!(refreshes(&app, Kind::RefreshRefused), 0, "nobody was hasty");
    app.allow_updates("grants").await?;
    let account =
        app.account_until(&sam.account_id, |account| account["tokenGeneration"] == 2).await?;
    assert_eq!(account["status"], "connected", "{account:#}");
    assert_eq!(refreshes(&app, Kind::RefreshRefused), 0);
    app.finish().await
}
