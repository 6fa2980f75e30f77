//! Disconnecting: out of use at once, revoked at the platform in the end.

use chrono::TimeDelta;
use latchkey_tests::TestApp;
use latchkey_tests::app::eventually;
use latchkey_tests::sandbox::{Endpoint, Fault, FaultRule, Kind};
use serde_json::json;

async fn disconnect(app: &TestApp, account: &str) -> anyhow::Result<serde_json::Value> {
    Ok(app.http.delete(&app.path(&format!("/accounts/{account}"))).await?.expect(202)?.json())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_that_is_away_is_told_later() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let sam = app.connect("sam").await?;
    app.sandbox.inject(FaultRule::new(Endpoint::Revoke, Fault::Status { status: 503 }).times(2));
    assert_eq!(disconnect(&app, &sam.account_id).await?["revocation"]["status"], "pending");
    eventually(|| async {
        let failed =
            app.row("SELECT max(attempts) AS n FROM outbox WHERE kind = 'revocation_due'").await?;
        if failed["n"].as_i64() >= Some(1) {
            app.clock.advance(TimeDelta::hours(1));
        }
        Ok((app.account(&sam.account_id).await?["revocation"]["status"] == "revoked").then_some(()))
    })
    .await?;
    assert!(app.sandbox.families().iter().all(|family| !family.alive));
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_week_the_tokens_are_destroyed_all_the_same() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let sam = app.connect("sam").await?;
    app.sandbox.inject(FaultRule::new(Endpoint::Revoke, Fault::Status { status: 500 }));
    disconnect(&app, &sam.account_id).await?;
    eventually(|| async {
        Ok((app.row("SELECT max(attempts) AS n FROM outbox WHERE kind = 'revocation_due'").await?
            ["n"]
            == 1)
            .then_some(()))
    })
    .await?;
    app.clock.advance(TimeDelta::days(8));
    app.account_until(&sam.account_id, |account| account["revocation"]["status"] == "given_up")
        .await?;
    assert_eq!(app.row("SELECT count(sealed_tokens) AS n FROM grants").await?["n"], 0);
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn revocation_beats_a_refresh_in_flight_and_ends_its_new_token() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let sam = app.connect("sam").await?;
    app.sandbox
        .inject(FaultRule::new(Endpoint::TokenRefresh, Fault::Delay { ms: 1500 }).after().times(1));
    app.http
        .post(&app.path(&format!("/accounts/{}/refresh", sam.account_id)), &json!({}))
        .await?
        .expect(202)?;
    eventually(|| async {
        Ok(app.sandbox.ledger().iter().any(|entry| entry.kind == Kind::Refreshed).then_some(()))
    })
    .await?;
    disconnect(&app, &sam.account_id).await?;
    eventually(|| async {
        // The revocation looks again after a while: no need to wait for it.
        app.clock.advance(TimeDelta::seconds(1));
        Ok((app.account(&sam.account_id).await?["revocation"]["status"] == "revoked").then_some(()))
    })
    .await?;
    assert_eq!(
        app.row("SELECT generation FROM grants").await?["generation"],
        2,
        "the answer was stored"
    );
    assert!(app.sandbox.families().iter().all(|family| !family.alive));
    assert_eq!(app.account(&sam.account_id).await?["status"], "disconnected");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn disconnecting_twice_is_disconnecting_once() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let sam = app.connect("sam").await?;
    disconnect(&app, &sam.account_id).await?;
    disconnect(&app, &sam.account_id).await?;
    app.account_until(&sam.account_id, |account| account["revocation"]["status"] == "revoked")
        .await?;
    let told =
        app.row("SELECT count(*) AS n FROM events WHERE type = 'account.disconnected'").await?;
    assert_eq!(told["n"], 1);
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_person_in_two_workspaces_is_two_accounts() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let here = app.connect("sam").await?;
    let other =
        app.http.post("/v1/workspaces", &json!({ "name": "Other" })).await?.expect(201)?.json();
    let path = format!("/v1/workspaces/{}", other["id"].as_str().unwrap_or_default());
    let started = app
        .http
        .post(&format!("{path}/connects"), &json!({ "platform": "SANDBOX" }))
        .await?
        .expect(201)?
        .json();
    app.approve(&started, &latchkey_tests::Person::new("sam")?).await?.expect(303)?;
    let there =
        app.event("account.connected", started["connectId"].as_str().unwrap_or_default()).await?;
    assert_ne!(there["data"]["accountId"], here.account_id);

    disconnect(&app, &here.account_id).await?;
    app.account_until(&here.account_id, |account| account["revocation"]["status"] == "revoked")
        .await?;
    let there =
        format!("{path}/accounts/{}", there["data"]["accountId"].as_str().unwrap_or_default());
    app.http.post(&format!("{there}/refresh"), &json!({})).await?.expect(202)?;
    eventually(|| async {
        Ok((app.http.get(&there).await?.expect(200)?.json()["tokenGeneration"] == 2).then_some(()))
    })
    .await?;
    app.finish().await
}
