//! Tokens of which nobody knows whether the platform spent them.

use std::time::Duration;

use chrono::TimeDelta;
use latchkey_tests::TestApp;
use latchkey_tests::app::{Options, eventually};
use latchkey_tests::sandbox::{Endpoint, Fault, FaultRule, Kind, Rotation};
use latchkey_worker::settings::Pool;
use serde_json::{Value, json};

use super::{calls, count, crowd, make_all_due, of_kind, usual};

fn gateway(user: &str) -> FaultRule {
    FaultRule::new(Endpoint::TokenRefresh, Fault::Status { status: 502 }).for_user(user).times(1)
}

async fn refresh(app: &TestApp, account: &str) -> anyhow::Result<latchkey_tests::app::Answer> {
    app.http.post(&app.path(&format!("/accounts/{account}/refresh")), &json!({})).await
}

async fn in_doubt(app: &TestApp, account: &str) -> anyhow::Result<Value> {
    app.account_until(account, |shown| shown["lastError"].is_object()).await?;
    let query = format!(
        "SELECT in_doubt_since IS NOT NULL AS doubt, wake_at IS NOT NULL AS wakes,
                extract(epoch FROM refresh_at - last_error_at)::float8 AS waits,
                extract(epoch FROM access_expires_at - last_error_at)::float8 AS lives
         FROM grants WHERE id = (SELECT grant_id FROM accounts WHERE id = '{account}')"
    );
    app.row(&query).await
}

/// A gateway's 502 says nothing of the token: no request presents it again before half of what is left of
/// the access token's life has passed.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_s_answer_leaves_the_token_in_doubt_until_its_time() -> anyhow::Result<()> {
    let app = TestApp::start_with(usual()).await?;
    let people = crowd(&app, 1).await?;
    let sam = &people[0].account_id;
    app.sandbox.inject(gateway("user-0").after());
    refresh(&app, sam).await?.expect(202)?;
    let doubt = in_doubt(&app, sam).await?;
    assert_eq!((&doubt["doubt"], &doubt["wakes"]), (&json!(true), &json!(true)), "{doubt}");
    let (waits, lives) =
        (doubt["waits"].as_f64().unwrap_or(0.0), doubt["lives"].as_f64().unwrap_or(0.0));
    assert!((waits - lives / 2.0).abs() < 2.0, "{doubt}");
    for _ in 0..3 {
        let asked = refresh(&app, sam).await?;
        assert_eq!((asked.status, &asked.json()["code"]), (409, &json!("REFRESH_IN_DOUBT")));
    }
    let later = in_doubt(&app, sam).await?;
    assert_eq!(later, doubt, "asking changes nothing");
    app.clock.advance(TimeDelta::seconds(waits as i64 - 30));
    assert_eq!(refresh(&app, sam).await?.status, 409);
    assert_eq!(calls(&app), 1, "it was presented once");
    app.clock.advance(TimeDelta::seconds(40));
    let refused = "grants WHERE refused_since IS NOT NULL AND lease_until IS NULL";
    eventually(|| async { Ok((count(&app, refused).await? == 1).then_some(())) }).await?;
    assert_eq!(calls(&app), 2);
    app.clock.advance(TimeDelta::seconds(62));
    let shown = app.account_until(sam, |shown| shown["status"] == "token_expired").await?;
    assert_eq!(shown["statusReason"], "refresh_interrupted", "the interruption is the cause");
    app.finish().await
}

/// Most such answers had no effect: when another call of the app succeeds, the token is tried again at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_success_of_the_app_brings_the_second_try_forward() -> anyhow::Result<()> {
    let app = TestApp::start_with(usual()).await?;
    let people = crowd(&app, 2).await?;
    let (sam, kim) = (&people[0].account_id, &people[1].account_id);
    app.sandbox.inject(gateway("user-0"));
    refresh(&app, sam).await?.expect(202)?;
    in_doubt(&app, sam).await?;
    app.clock.advance(TimeDelta::seconds(3));
    assert_eq!(app.account(sam).await?["tokenGeneration"], 1);
    refresh(&app, kim).await?.expect(202)?;
    app.account_until(kim, |shown| shown["tokenGeneration"] == 2).await?;
    app.clock.advance(TimeDelta::seconds(6));
    app.account_until(sam, |shown| shown["tokenGeneration"] == 2).await?;
    app.finish().await
}

/// A lost answer is another thing: it may still come, so no success brings the second try forward.
#[tokio::test(flavor = "multi_thread")]
async fn silence_waits_whatever_succeeds() -> anyhow::Result<()> {
    let app = TestApp::start_with(usual()).await?;
    let people = crowd(&app, 2).await?;
    let (sam, kim) = (&people[0].account_id, &people[1].account_id);
    let cut = FaultRule::new(Endpoint::TokenRefresh, Fault::Drop).for_user("user-0").times(1);
    app.sandbox.inject(cut.before());
    refresh(&app, sam).await?.expect(202)?;
    let doubt = in_doubt(&app, sam).await?;
    assert_eq!((&doubt["doubt"], &doubt["wakes"]), (&json!(true), &json!(false)), "{doubt}");
    refresh(&app, kim).await?.expect(202)?;
    app.account_until(kim, |shown| shown["tokenGeneration"] == 2).await?;
    app.clock.advance(TimeDelta::seconds(60));
    eventually(|| async {
        Ok((count(&app, "app_health WHERE succeeded_at IS NOT NULL").await? == 1).then_some(()))
    })
    .await?;
    assert_eq!(app.account(sam).await?["tokenGeneration"], 1);
    app.clock.advance(TimeDelta::minutes(60));
    app.account_until(sam, |shown| shown["tokenGeneration"] == 2).await?;
    app.finish().await
}

/// A dead worker's lease is as long as it was, however often somebody asks for a refresh.
#[tokio::test(flavor = "multi_thread")]
async fn asking_again_and_again_moves_no_dead_worker_s_lease() -> anyhow::Result<()> {
    let app = TestApp::start_with(usual()).await?;
    let people = crowd(&app, 1).await?;
    app.execute(
        "UPDATE grants SET calling_generation = generation, lease_holder = 'gone', \
             lease_until = now() + interval '150 s', refresh_at = now(), next_attempt_at = now()",
    )
    .await?;
    for _ in 0..8 {
        refresh(&app, &people[0].account_id).await?.expect(202)?;
    }
    let due = "grants WHERE next_attempt_at = lease_until AND dispatches = 0";
    eventually(|| async { Ok((count(&app, due).await? == 1).then_some(())) }).await?;
    app.clock.advance(TimeDelta::seconds(151));
    let judged = "grants WHERE last_error_code = 'call_interrupted'";
    eventually(|| async { Ok((count(&app, judged).await? == 1).then_some(())) }).await?;
    assert_eq!(refresh(&app, &people[0].account_id).await?.status, 409);
    assert_eq!(calls(&app), 0);
    app.finish().await
}

/// The platform forgives a lost answer for a minute, and the only process that could have read it was killed: it
/// is presented again well before the lease of that process ends.
#[tokio::test(flavor = "multi_thread")]
async fn within_a_grace_window_a_dead_process_is_not_waited_for() -> anyhow::Result<()> {
    let mut app = TestApp::start_with(Options {
        rotation: Rotation::Grace(Duration::from_secs(60)),
        grace_seconds: Some(60),
        pools: vec![Pool::Connect, Pool::Webhook, Pool::Revocation],
        ..usual()
    })
    .await?;
    crowd(&app, 4).await?;
    let late = FaultRule::new(Endpoint::TokenRefresh, Fault::Delay { ms: 60_000 }).after().times(4);
    app.sandbox.inject(late);
    let worker = app.spawn_worker("refresh,sweeps").await?;
    make_all_due(&app).await?;
    eventually(|| async { Ok((of_kind(&app, Kind::Refreshed) == 4).then_some(())) }).await?;
    worker.kill().await?;
    let settings = app.worker_settings(vec![Pool::Refresh, Pool::Sweeps], 8);
    app.add_worker_with(&settings).await?;
    app.until_none("grants WHERE generation < 2").await?;
    assert_eq!(of_kind(&app, Kind::RefreshReplayed), 4);
    assert_eq!(of_kind(&app, Kind::FamilyRevoked), 0);
    app.finish().await
}
