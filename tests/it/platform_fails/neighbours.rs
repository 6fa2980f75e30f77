//! What a platform that fails, or a broker that is away, costs everybody else.

use std::time::Duration;

use chrono::TimeDelta;
use futures_util::future::try_join_all;
use latchkey_shared::db::grants::{self, PlanLimits};
use latchkey_tests::app::{Options, eventually, worn};
use latchkey_tests::sandbox::{Endpoint, Fault, FaultRule};
use latchkey_tests::{Person, TestApp};
use latchkey_worker::settings::Pool;
use serde_json::json;

use super::{count, crowd, events, make_all_due, usual};

/// A platform that never answers holds permits; the healthy one beside it is refreshed all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_platform_costs_the_healthy_one_nothing() -> anyhow::Result<()> {
    let call_timeout = Some(Duration::from_secs(12));
    let options = Options { platforms: worn(&["X"]), call_timeout, ..usual() };
    let app = TestApp::start_with(options).await?;
    crowd(&app, 40).await?;
    let healthy = (0..5).map(|number| connect_at(&app, "X", format!("healthy-{number}")));
    try_join_all(healthy).await?;
    for number in 0..40 {
        let silent = FaultRule::new(Endpoint::TokenRefresh, Fault::Silence);
        app.sandbox.inject(silent.for_user(format!("user-{number}")));
    }
    let busy = "grants WHERE platform = 'SANDBOX' AND lease_until IS NOT NULL";
    app.execute(
        "UPDATE grants SET refresh_at = now(), next_attempt_at = now() WHERE platform = 'SANDBOX'",
    )
    .await?;
    eventually(|| async { Ok((count(&app, busy).await? == 8).then_some(())) }).await?;
    make_all_due(&app).await?;
    app.until_none("grants WHERE platform = 'X' AND generation < 2").await?;
    assert_eq!(count(&app, busy).await?, 8, "as many as the concurrency, no more");
    app.finish().await
}

async fn connect_at(app: &TestApp, platform: &str, user: String) -> anyhow::Result<()> {
    let started = app.start_connect(json!({ "platform": platform })).await?;
    app.approve(&started, &Person::new(user)?).await?.expect(303)?;
    let id = started["connectId"].as_str().unwrap_or_default();
    anyhow::ensure!(app.ended(id).await?["status"] == "connected");
    Ok(())
}

/// What dies first is refreshed first, however long it has been due.
#[tokio::test(flavor = "multi_thread")]
async fn the_planner_takes_those_first_whose_tokens_end_first() -> anyhow::Result<()> {
    let pools = vec![Pool::Connect, Pool::Webhook];
    let app = TestApp::start_with(Options { pools, ..usual() }).await?;
    crowd(&app, 12).await?;
    app.execute(
        "UPDATE grants SET refresh_at = now(), next_attempt_at = now() - random() * interval '1 hour',
             access_expires_at = now() + random() * interval '2 hours'",
    )
    .await?;
    let order = "SELECT json_agg(id ORDER BY access_expires_at) AS ids FROM grants";
    let wanted = app.row(order).await?["ids"].clone();
    let mut taken = Vec::new();
    for _ in 0..3 {
        let mut conn = app.worker_context().store.conn().await?;
        let limits = PlanLimits { per_app: 4, busy: 4, window: 1000 };
        let due = grants::take_due(&mut conn, limits).await?;
        taken.extend(due.into_iter().map(|due| due.grant.grant_id.to_string()));
    }
    assert_eq!(json!(taken), wanted);
    app.finish().await
}

/// The broker is away: refreshes go on in the process that plans them.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_broker_tokens_are_refreshed_all_the_same() -> anyhow::Result<()> {
    let pools = vec![Pool::Connect, Pool::Webhook, Pool::Revocation];
    let app = TestApp::start_with(Options { pools, ..usual() }).await?;
    crowd(&app, 20).await?;
    make_all_due(&app).await?;
    let nowhere = [("AMQP_URL", "amqp://guest:guest@127.0.0.1:1/%2f")];
    let worker = app.spawn_worker_with("refresh,sweeps", &nowhere).await?;
    app.until_none("grants WHERE generation < 2").await?;
    assert_eq!(count(&app, "grants WHERE dispatches > 0").await?, 0);
    let said = worker.log();
    let lines = said.lines().filter(|line| line.contains("cannot reach the broker"));
    let mut connections: Vec<_> = lines.filter_map(|line| line.split_once("connection=")).collect();
    let lines = connections.len();
    connections.sort_by_key(|(_, connection)| *connection);
    connections.dedup_by_key(|(_, connection)| *connection);
    assert!(lines > 0, "{said}");
    assert_eq!(lines, connections.len(), "a line for each connection, not for each try:\n{said}");
    worker.terminate().await?;
    app.finish().await
}

/// An access token that ends while nobody may call is noticed by the clock.
#[tokio::test(flavor = "multi_thread")]
async fn a_lapsed_token_is_told_although_nobody_called() -> anyhow::Result<()> {
    let app = TestApp::start_with(usual()).await?;
    let people = crowd(&app, 1).await?;
    let until = (app.clock.now() + TimeDelta::hours(3)).to_rfc3339();
    app.execute(&format!(
        "INSERT INTO app_pauses (platform, app_id, until, reason) VALUES ('SANDBOX', '', '{until}', 'x')"
    ))
    .await?;
    app.clock.advance(TimeDelta::minutes(61));
    let event = app.event("account.refresh_overdue", &people[0].account_id).await?;
    assert_eq!(event["data"]["error"], "not_refreshed_in_time");
    app.clock.advance(TimeDelta::hours(2));
    app.account_until(&people[0].account_id, |shown| shown["tokenGeneration"] == 2).await?;
    assert_eq!(events(&app, "account.refresh_overdue").await?.len(), 1);
    app.finish().await
}

/// PostgreSQL takes nothing for longer than any patience of ours: the answers are kept all the same.
#[tokio::test(flavor = "multi_thread")]
async fn answers_are_kept_for_as_long_as_the_database_takes_none() -> anyhow::Result<()> {
    let app = TestApp::start_with(usual()).await?;
    crowd(&app, 6).await?;
    app.refuse_updates(("grants", "generation"), "NEW.generation > OLD.generation").await?;
    make_all_due(&app).await?;
    let held = app.worker_context().held.clone();
    eventually(|| async { Ok((held.len() == 6).then_some(())) }).await?;
    app.refused(18).await?;
    assert_eq!((held.len(), super::calls(&app)), (6, 6), "nobody asks twice");
    app.allow_updates("grants").await?;
    app.until_none("grants WHERE generation < 2").await?;
    eventually(|| async { Ok(held.is_empty().then_some(())) }).await?;
    app.finish().await
}
