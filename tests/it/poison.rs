//! One message that takes its process down every time, among many that do not.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::TimeDelta;
use latchkey_tests::TestApp;
use latchkey_tests::app::{Crowd, Options, eventually};
use latchkey_tests::sandbox::Rotation;
use latchkey_worker::settings::Pool;
use serde_json::{Value, json};

const GOOD: usize = 200;
/// How often a message may take its process down: twice beside others, then alone.
const MAX_DEATHS: i64 = 5;

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_kills_its_worker_ends_alone() -> anyhow::Result<()> {
    let mut app = TestApp::start_with(Options {
        // A call that is cut with its worker is made again: here the platform forgives that.
        rotation: Rotation::Grace(Duration::from_secs(3600)),
        grace_seconds: Some(3600),
        pools: vec![Pool::Connect, Pool::Webhook],
        ..Options::default()
    })
    .await?;
    let crowd = Crowd::gather(&app, 8);
    for some in (20..=GOOD).step_by(20) {
        eventually(|| async { Ok((crowd.done() >= some).then_some(())) }).await?;
    }
    for connect in crowd.stop().await?.connects {
        assert_eq!(app.ended(&connect).await?["status"], "connected");
    }
    let poison = app.connect("poison").await?.account_id;
    let list = format!("SELECT json_agg(id) AS ids FROM accounts WHERE id <> '{poison}'");
    let good = app.row(&list).await?["ids"].as_array().cloned().unwrap_or_default();
    assert!(good.len() >= GOOD);
    for account in good.iter().chain([&Value::from(poison.as_str())]) {
        let path = app.path(&format!("/accounts/{}/refresh", account.as_str().unwrap_or_default()));
        app.http.post(&path, &json!({})).await?.expect(202)?;
    }
    let grant = format!("SELECT grant_id AS id FROM accounts WHERE id = '{poison}'");
    let grant = app.row(&grant).await?["id"].as_str().unwrap_or_default().to_owned();

    let failpoint = format!("handle[{grant}]:abort");
    let dead = format!(
        "SELECT attempts, ending FROM outbox WHERE kind = 'refresh_due' AND body::text LIKE '%{grant}%'"
    );
    let mut deaths = 0;
    while app.row(&dead).await?["ending"].is_null() {
        let worker =
            app.spawn_worker_with("refresh", &[("LATCHKEY_TEST_FAILPOINTS", &failpoint)]).await?;
        tokio::select! {
            ended = worker.ended() => { ended?; deaths += 1; }
            ended = eventually(|| async {
                Ok((!app.row(&dead).await?["ending"].is_null()).then_some(()))
            }) => ended?,
        }
    }
    assert_eq!(deaths, MAX_DEATHS, "every attempt is counted before it is made");
    let poisoned = app.row(&dead).await?;
    assert_eq!(poisoned, json!({ "attempts": MAX_DEATHS, "ending": "dead" }));

    // A call that went down with its worker is made again when its lease has ended. It is a message
    // that is dead, not an account: the planner finds that one connected, too.
    app.expect_dead_letters(1);
    let settings = app.worker_settings(vec![Pool::Refresh, Pool::Sweeps], 8);
    app.add_worker_with(&settings).await?;
    app.clock.advance(TimeDelta::seconds(200));
    app.until_none("grants WHERE generation < 2 OR status <> 'active'").await?;
    app.until_none("outbox WHERE done_at IS NULL").await?;
    let others = format!(
        "SELECT json_agg(DISTINCT ending) AS endings, max(attempts) AS most FROM outbox
         WHERE kind = 'refresh_due' AND body::text NOT LIKE '%{grant}%'"
    );
    let others = app.row(&others).await?;
    let endings: BTreeSet<&str> =
        others["endings"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    assert!(endings.is_subset(&BTreeSet::from(["done", "stale"])), "{others}");
    assert!(others["most"].as_i64() < Some(MAX_DEATHS), "its neighbours did not suffer: {others}");
    app.finish().await
}
