//! Processes that are killed in the worst moment, and processes that are asked to stop.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use futures_util::future::try_join_all;
use latchkey_tests::app::{Connected, Options, eventually};
use latchkey_tests::sandbox::{Endpoint, Fault, FaultRule, Kind, LedgerEntry, Rotation};
use latchkey_tests::{Person, TestApp};
use latchkey_worker::settings::Pool;
use serde_json::{Value, json};
use tokio::net::TcpListener;

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

async fn refresh_now(app: &TestApp, account: &str) -> anyhow::Result<()> {
    let path = app.path(&format!("/accounts/{account}/refresh"));
    app.http.post(&path, &json!({})).await?.expect(202).map(drop)
}

/// Waits until the platform has done this so many times, which it writes down before it answers.
async fn until_done(app: &TestApp, kind: Kind, times: usize) -> anyhow::Result<()> {
    eventually(|| async { Ok((count(app, |entry| entry.kind == kind) == times).then_some(())) })
        .await
}

fn count(app: &TestApp, wanted: impl Fn(&LedgerEntry) -> bool) -> usize {
    app.sandbox.ledger().iter().filter(|entry| wanted(entry)).count()
}

async fn until_outbox_is_done(app: &TestApp) -> anyhow::Result<()> {
    let open = "SELECT count(*) AS n FROM outbox WHERE done_at IS NULL";
    eventually(|| async { Ok((app.row(open).await?["n"] == 0).then_some(())) }).await
}

/// A real process, whose broker takes connections and never says a word: everything commits, nothing
/// is published. Then it is killed.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_published_although_the_api_died_before_it_could() -> anyhow::Result<()> {
    let mut app = TestApp::start_with(Options { worker: false, ..Options::default() }).await?;
    app.stop_api().await;
    let silent_broker = TcpListener::bind("127.0.0.1:0").await?;
    let amqp_url = format!("amqp://guest:guest@{}/%2f", silent_broker.local_addr()?);
    let (api, base) = app.spawn_api(&amqp_url).await?;

    let path = format!("{base}{}", app.path("/connects"));
    let started = app.http.post(&path, &json!({ "platform": "SANDBOX" })).await?.expect(201)?;
    let started = started.json();
    let callback = Person::new("sam")?.approve(text(&started["authorizeUrl"])).await?;
    // Nobody exchanges the code yet, so the browser is sent to the page that finishes by itself.
    let back = app.http.browse(callback.as_str()).await?.expect(303)?;
    assert!(back.location().is_some_and(|location| location.contains("/connect/con_")), "{back:?}");
    api.kill().await?;

    let unpublished = "SELECT count(*) AS n FROM outbox WHERE done_at IS NULL AND publications = 0";
    let unpublished = app.row(unpublished).await?;
    assert_eq!(unpublished["n"], 2, "connect.started and callback_received are only committed");
    let mut events = app.tap("events").await?;
    app.add_worker().await?;
    for event in events.next_of_each(&["connect.started", "account.connected"]).await? {
        assert_eq!(event["data"]["connectId"], started["connectId"]);
    }
    until_outbox_is_done(&app).await?;
    app.finish().await
}

/// The intent is on disk and nothing was presented. Nobody can know that, so at a platform that
/// forgives nothing the token is tried again late: and it is as good as it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_between_its_claim_and_its_call_loses_nothing() -> anyhow::Result<()> {
    let app = TestApp::start_with(Options {
        pools: vec![Pool::Connect, Pool::Webhook, Pool::Sweeps, Pool::Revocation],
        ..Options::default()
    })
    .await?;
    let sam = app.connect("sam").await?;
    let hang = [("LATCHKEY_TEST_FAILPOINTS", "refresh_claimed:hang")];
    let worker = app.spawn_worker_with("refresh", &hang).await?;
    refresh_now(&app, &sam.account_id).await?;
    worker.says("failpoint refresh_claimed").await?;
    worker.kill().await?;
    assert_eq!(count(&app, |entry| entry.endpoint == Some(Endpoint::TokenRefresh)), 0);

    let _another = app.spawn_worker("refresh").await?;
    app.clock.advance(TimeDelta::seconds(200));
    app.account_until(&sam.account_id, |account| {
        account["lastError"]["code"] == "call_interrupted"
    })
    .await?;
    app.clock.advance(TimeDelta::seconds(3600 - 200 - 25));
    let account =
        app.account_until(&sam.account_id, |account| account["tokenGeneration"] == 2).await?;
    assert_eq!(account["status"], "connected", "{account:#}");
    assert_eq!(count(&app, |entry| entry.kind == Kind::Refreshed), 1);
    until_outbox_is_done(&app).await?;
    app.finish().await
}

/// The platform has rotated, and the only process that could have read the answer is gone. The grace
/// window brings the new tokens all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_after_the_platform_rotated_loses_nothing_within_the_grace_window()
-> anyhow::Result<()> {
    let mut app = TestApp::start_with(Options {
        rotation: Rotation::Grace(Duration::from_secs(600)),
        grace_seconds: Some(600),
        pools: vec![Pool::Connect, Pool::Webhook, Pool::Sweeps, Pool::Revocation],
        ..Options::default()
    })
    .await?;
    let sam = app.connect("sam").await?;
    let late = FaultRule::new(Endpoint::TokenRefresh, Fault::Delay { ms: 20_000 }).after().times(1);
    app.sandbox.inject(late);
    let worker = app.spawn_worker("refresh").await?;
    refresh_now(&app, &sam.account_id).await?;
    until_done(&app, Kind::Refreshed, 1).await?;
    worker.kill().await?;
    assert_eq!(app.account(&sam.account_id).await?["tokenGeneration"], 1);

    let settings = app.worker_settings(vec![Pool::Refresh], 4);
    app.add_worker_with(&settings).await?;
    app.clock.advance(TimeDelta::seconds(200));
    let account =
        app.account_until(&sam.account_id, |account| account["tokenGeneration"] == 2).await?;
    assert_eq!(account["status"], "connected");
    assert_eq!(count(&app, |entry| entry.kind == Kind::RefreshReplayed), 1);
    until_outbox_is_done(&app).await?;
    app.finish().await
}

/// The code was presented and nobody read the answer: it is not presented again.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_during_an_exchange_presents_the_code_once() -> anyhow::Result<()> {
    let app = TestApp::start_with(Options {
        pools: vec![Pool::Webhook, Pool::Sweeps],
        callback_wait: Duration::from_secs(1),
        ..Options::default()
    })
    .await?;
    let late = FaultRule::new(Endpoint::TokenCode, Fault::Delay { ms: 20_000 }).after().times(1);
    app.sandbox.inject(late);
    let worker = app.spawn_worker("connect").await?;
    let started = app.start_connect(json!({})).await?;
    app.approve(&started, &Person::new("sam")?).await?.expect(303)?;
    until_done(&app, Kind::CodeExchanged, 1).await?;
    worker.kill().await?;

    app.clock.advance(TimeDelta::seconds(60));
    let ended = app.ended(text(&started["connectId"])).await?;
    assert_eq!(ended["reasonCode"], "EXCHANGE_INTERRUPTED", "{ended:#}");
    assert_eq!(count(&app, |entry| entry.endpoint == Some(Endpoint::TokenCode)), 1);
    app.execute("UPDATE outbox SET available_at = now()").await?;
    let _replacement = app.spawn_worker("connect").await?;
    until_outbox_is_done(&app).await?;
    assert_eq!(count(&app, |entry| entry.endpoint == Some(Endpoint::TokenCode)), 1);
    app.finish().await
}

/// SIGTERM with 64 calls of 10 s in flight, and more waiting: 0 lost, 0 attempts spent.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_asked_to_stop_lets_its_calls_end() -> anyhow::Result<()> {
    const CALLS: usize = 64;
    const WAITING: usize = 6;
    const LONGEST: Duration = Duration::from_secs(10);
    let mut app = TestApp::start_with(Options {
        pools: vec![Pool::Connect, Pool::Webhook, Pool::Sweeps, Pool::Revocation],
        ..Options::default()
    })
    .await?;
    let mut connected: Vec<Connected> = Vec::new();
    let people: Vec<String> = (0..CALLS + WAITING).map(|n| format!("person-{n}")).collect();
    for some in people.chunks(10) {
        connected.extend(try_join_all(some.iter().map(|user| app.connect(user))).await?);
    }
    let ms = LONGEST.as_millis() as u64;
    app.sandbox.inject(FaultRule::new(Endpoint::TokenRefresh, Fault::Delay { ms }).after());
    let worker = app.spawn_worker_with("refresh", &[("LATCHKEY_CONCURRENCY", "64")]).await?;
    try_join_all(connected.iter().map(|account| refresh_now(&app, &account.account_id))).await?;
    until_done(&app, Kind::Refreshed, CALLS).await?;

    let asked = Instant::now();
    let ended = worker.terminate().await?;
    assert!(ended.success(), "{ended}");
    assert!(asked.elapsed() <= LONGEST + Duration::from_secs(5), "{:?}", asked.elapsed());
    let grants = "SELECT count(*) FILTER (WHERE generation = 2)::int AS refreshed, count(in_doubt_since)::int AS in_doubt, \
                  count(lease_until)::int AS leased, sum(attempts)::int AS failures FROM grants";
    let stopped = json!({ "refreshed": CALLS, "in_doubt": 0, "leased": 0, "failures": 0 });
    assert_eq!(app.row(grants).await?, stopped);
    let messages = "SELECT count(*) FILTER (WHERE done_at IS NOT NULL AND attempts = 1)::int AS done, \
                    count(*) FILTER (WHERE done_at IS NULL AND attempts = 0)::int AS untouched \
                    FROM outbox WHERE kind = 'refresh_due'";
    // Those for which there was no permit were left to the planner before the end.
    assert_eq!(app.row(messages).await?, json!({ "done": CALLS + WAITING, "untouched": 0 }));

    app.sandbox.clear_faults();
    let settings = app.worker_settings(vec![Pool::Refresh], 8);
    app.add_worker_with(&settings).await?;
    for account in &connected {
        app.account_until(&account.account_id, |account| account["tokenGeneration"] == 2).await?;
    }
    until_outbox_is_done(&app).await?;
    let spent = app.row("SELECT max(attempts) AS n FROM outbox WHERE kind = 'refresh_due'").await?;
    assert_eq!(spent["n"], 1, "no attempt was spent on stopping");
    let calls = |kind| count(&app, |entry| entry.kind == kind);
    assert_eq!(calls(Kind::Refreshed), CALLS + WAITING, "one call each");
    assert_eq!(calls(Kind::RefreshRefused), 0);
    assert_eq!(count(&app, |entry| entry.open_calls > 1), 0);
    app.finish().await
}
