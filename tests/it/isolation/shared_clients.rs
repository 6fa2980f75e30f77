//! Organisations whose accounts are called through one client: the installation's.

use std::time::Duration;

use chrono::TimeDelta;
use latchkey_tests::app::{Http, Options, eventually};
use latchkey_tests::sandbox::{Endpoint, Fault, FaultRule, Kind, Rotation};
use latchkey_tests::{Person, TestApp};
use serde_json::{Value, json};
use tokio::time::Instant;

/// An account of another organisation than the attacker's.
struct Victim {
    http: Http,
    path: String,
}

impl Victim {
    async fn connect(app: &TestApp) -> anyhow::Result<Self> {
        let owner = app.another_tenant().await?;
        let http = app.http.with_key(owner.expose_key());
        let accounts = format!("/v1/workspaces/{}/accounts", owner.workspace_id);
        let connects = format!("/v1/workspaces/{}/connects", owner.workspace_id);
        let body = json!({ "platform": "SANDBOX" });
        let started = http.post(&connects, &body).await?.expect(201)?.json();
        app.approve(&started, &Person::new("victim")?).await?.expect(303)?;
        let id = eventually(|| async {
            let list = http.get(&accounts).await?.expect(200)?.json();
            Ok(list["data"][0]["id"].as_str().map(ToOwned::to_owned))
        })
        .await?;
        Ok(Self { http, path: format!("{accounts}/{id}") })
    }

    async fn ask(&self) -> anyhow::Result<Value> {
        let path = format!("{}/refresh", self.path);
        Ok(self.http.post(&path, &json!({})).await?.expect(202)?.json())
    }

    /// How long a refresh takes that is asked for.
    async fn refresh(&self) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        let before = self.ask().await?["tokenGeneration"].as_i64();
        eventually(|| async {
            let shown = self.http.get(&self.path).await?.expect(200)?.json();
            Ok((shown["tokenGeneration"].as_i64() > before).then_some(()))
        })
        .await?;
        Ok(begun.elapsed())
    }
}

/// The attacker's accounts, all of which are refused.
async fn attack(app: &TestApp, fault: &Fault) -> anyhow::Result<()> {
    for number in 0..7 {
        let user = format!("user-{number}");
        let account = app.connect(&user).await?.account_id;
        let rule = FaultRule::new(Endpoint::TokenRefresh, fault.clone());
        app.sandbox.inject(rule.for_user(&user));
        let path = app.path(&format!("/accounts/{account}/refresh"));
        app.http.post(&path, &json!({})).await?.expect(202)?;
    }
    Ok(())
}

/// Waits until these are left alone, by the beginnings of their names.
async fn until_paused(app: &TestApp, apps: &Value) -> anyhow::Result<()> {
    let query = "SELECT json_agg(left(app_id, 4) ORDER BY app_id) AS apps FROM app_pauses";
    eventually(|| async { Ok((app.row(query).await?["apps"] == *apps).then_some(())) }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organisation_that_is_asked_for_patience_waits_alone() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let victim = Victim::connect(&app).await?;
    let alone = victim.refresh().await?;
    let limit = Fault::RateLimited { retry_after_secs: Some(600) };
    attack(&app, &limit).await?;
    until_paused(&app, &json!(["org_"])).await?;
    let beside = victim.refresh().await?;
    eprintln!("a refresh: {alone:?} alone, {beside:?} while another organisation is refused");

    // The platform means everybody: it says so to another organisation as well.
    app.sandbox.inject(FaultRule::new(Endpoint::TokenRefresh, limit).for_user("victim"));
    victim.ask().await?;
    until_paused(&app, &json!(["", "org_"])).await?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_organisation_s_dead_accounts_put_no_brake_on_others() -> anyhow::Result<()> {
    // Refusals are not judged here, or the accounts would have ended.
    let day = Duration::from_secs(86_400);
    let app =
        TestApp::start_with(Options { brake_after: 5, refusal_confirm: day, ..Options::default() })
            .await?;
    let victim = Victim::connect(&app).await?;
    let alone = victim.refresh().await?;
    attack(&app, &Fault::InvalidGrant).await?;
    app.until_none(
        "accounts JOIN grants ON grants.id = grant_id
                    WHERE username <> 'victim' AND refused_since IS NULL",
    )
    .await?;
    let health = app.row("SELECT braked_since FROM app_health").await?;
    assert_eq!(health["braked_since"], Value::Null);
    let beside = victim.refresh().await?;
    eprintln!("a refresh: {alone:?} alone, {beside:?} beside seven dead accounts of another");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_is_asked_for_again_and_again_is_made_once_a_minute() -> anyhow::Result<()> {
    let platforms = "refresh_spacing_seconds = 60\n".to_owned();
    let app = TestApp::start_with(Options {
        platforms,
        rotation: Rotation::Stable,
        ..Options::default()
    })
    .await?;
    let person = app.connect("ann").await?;
    app.clock.advance(TimeDelta::seconds(61));
    app.sandbox.inject(FaultRule::new(Endpoint::TokenRefresh, Fault::Status { status: 503 }));
    let path = app.path(&format!("/accounts/{}/refresh", person.account_id));
    let calls = || {
        let ledger = app.sandbox.ledger();
        ledger.iter().filter(|entry| entry.kind == Kind::Faulted).count()
    };
    for made in 1..=2 {
        app.http.post(&path, &json!({})).await?.expect(202)?;
        let failed = format!("grants WHERE attempts < {made} OR lease_until IS NOT NULL");
        app.until_none(&failed).await?;
        for _ in 0..20 {
            app.http.post(&path, &json!({})).await?.expect(202)?;
        }
        let sent = "outbox WHERE done_at IS NULL";
        app.until_none(sent).await?;
        let row =
            app.row("SELECT refresh_at - last_error_at >= interval '60 s' AS later FROM grants");
        assert_eq!(row.await?["later"], json!(true));
        assert_eq!(calls(), made, "one call a minute");
        app.clock.advance(TimeDelta::seconds(61));
    }
    app.finish().await
}
