//! Thousands of events while worker, API and broker are killed in turn: whichever way an application
//! hears of events, it hears of each.
//!
//! Ten thousand of them take minutes: `scripts/test --run-ignored only ten_thousand`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context as _;
use chrono::TimeDelta;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use latchkey_tests::TestApp;
use latchkey_tests::app::{Http, Options, PrivateServers, Process, Server, eventually};
use latchkey_tests::sandbox::Rotation;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

const ACCOUNTS: usize = 100;
/// Refreshed every 2 to 3 s.
const LIFETIME: Duration = Duration::from_secs(6);
const TALKERS: usize = 6;
/// So many events between one death and the next.
const CALM: i64 = 250;
/// How long to wait before what failed is tried again.
const PAUSE: Duration = Duration::from_millis(100);
const POOLS: &str = "connect,refresh,revocation,webhook,sweeps";

/// The API as clients see it: at whatever address it is now.
#[derive(Clone)]
struct Caller {
    http: Http,
    base: watch::Sender<String>,
    stop: CancellationToken,
}

impl Caller {
    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base.borrow().as_str())
    }

    fn is_at(&self, base: String) {
        self.base.send_replace(base);
    }

    /// Starts connects and takes them back, two events each. What fails while the API is dead is
    /// forgotten: nobody was told that it happened.
    async fn talk(self, path: String) {
        while !self.stop.is_cancelled() {
            let started = self.http.post(&self.url(&path), &json!({ "platform": "SANDBOX" })).await;
            let Some(started) = started.ok().filter(|answer| answer.status == 201) else {
                sleep(PAUSE).await;
                continue;
            };
            let connect = started.json()["connectId"].as_str().unwrap_or_default().to_owned();
            drop(self.http.delete(&self.url(&format!("{path}/{connect}"))).await);
        }
    }

    /// Reads the log with a cursor until it is told to stop and finds nothing more.
    async fn read(self) -> anyhow::Result<Vec<Value>> {
        let (mut events, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let after = cursor.as_ref().map(|cursor| format!("&after={cursor}"));
            let path = format!("/v1/events?limit=200&wait=1{}", after.unwrap_or_default());
            let last = self.stop.is_cancelled();
            let page = self.http.get(&self.url(&path)).await;
            let Some(page) = page.ok().filter(|answer| answer.status == 200) else {
                sleep(PAUSE).await;
                continue;
            };
            let page = page.json();
            cursor = page["nextCursor"].as_str().map(ToOwned::to_owned);
            let some = page["data"].as_array().context("a page has data")?;
            if some.is_empty() && last {
                return Ok(events);
            }
            events.extend(some.iter().cloned());
        }
    }
}

async fn events(app: &TestApp) -> anyhow::Result<i64> {
    let counted = app.row("SELECT count(*) AS n FROM events").await?;
    counted["n"].as_i64().context("a count is a number")
}

/// Waits for so many events; answers how many there are.
async fn until_more(app: &TestApp, least: i64) -> anyhow::Result<i64> {
    eventually(|| async { Ok(Some(events(app).await?).filter(|count| *count >= least)) }).await
}

async fn worker(app: &TestApp) -> anyhow::Result<Process> {
    app.spawn_worker_with(POOLS, &[("LATCHKEY_REFRESHED_EVENTS", "true")]).await
}

/// Kills one after the other until there are enough events; answers how many died.
async fn kill_in_turn(
    app: &TestApp,
    servers: &PrivateServers,
    caller: &Caller,
    (mut api, mut workers): (Process, [Process; 2]),
    wanted: i64,
) -> anyhow::Result<(usize, Process)> {
    let amqp = servers.url(Server::RabbitMq)?;
    let (mut deaths, mut so_far) = (0, events(app).await?);
    while so_far < wanted || deaths < 6 {
        so_far = until_more(app, so_far + CALM).await?;
        match deaths % 3 {
            0 => {
                let [first, second] = workers;
                first.kill().await?;
                workers = [second, worker(app).await?];
            }
            1 => {
                api.kill().await?;
                let (again, base) = app.spawn_api(&amqp).await?;
                caller.is_at(base);
                api = again;
            }
            _ => {
                servers.signal(Server::RabbitMq, "KILL").await?;
                servers.start_again(Server::RabbitMq).await?;
            }
        }
        deaths += 1;
    }
    for worker in workers {
        worker.kill().await?;
    }
    Ok((deaths + 2, api))
}

fn ids(events: &[Value]) -> BTreeSet<&str> {
    events.iter().filter_map(|event| event["id"].as_str()).collect()
}

/// Each account's numbers are 1, 2, 3 … in whatever order they came.
fn sequences_are_whole(events: &[Value]) -> usize {
    let mut of_accounts: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for event in events.iter().filter(|event| !event["sequence"].is_null()) {
        let account = event["data"]["accountId"].as_str().unwrap_or_default();
        of_accounts
            .entry(account)
            .or_default()
            .push(event["sequence"].as_i64().unwrap_or_default());
    }
    for (account, numbers) in &mut of_accounts {
        numbers.sort_unstable();
        let whole: Vec<i64> = (1..=numbers.len() as i64).collect();
        assert_eq!(*numbers, whole, "{account}");
    }
    of_accounts.len()
}

/// The log has each event once, and so has whoever reads it with a cursor; the receiver of webhooks and the
/// subscriber have each at least once. Answers how many events, requests and messages there were.
async fn everybody_heard_everything(
    app: &TestApp,
    read: &[Value],
) -> anyhow::Result<(usize, usize, usize)> {
    let log = app
        .row("SELECT count(*) AS n, count(DISTINCT id) AS ids, json_agg(id) AS all FROM events")
        .await?;
    assert_eq!(log["n"], log["ids"], "the log has each once");
    let all = log["all"].as_array().cloned().unwrap_or_default();
    let all: BTreeSet<&str> = all.iter().filter_map(Value::as_str).collect();
    assert_eq!(read.len(), all.len(), "a reader sees none twice");
    assert_eq!(ids(read), all, "and misses none");
    let told = sequences_are_whole(read);
    assert_eq!(told, ACCOUNTS);

    let deliveries = app.receiver.deliveries();
    assert!(deliveries.iter().all(|delivery| delivery.verified));
    let received: BTreeSet<&str> = deliveries.iter().map(|delivery| delivery.id.as_str()).collect();
    assert_eq!(received, all, "the receiver gets each at least once");
    let kept = app.read_subscription("storm").await?;
    assert_eq!(ids(&kept), all, "so does a subscriber");
    Ok((all.len(), deliveries.len(), kept.len()))
}

#[tokio::test(flavor = "multi_thread")]
async fn events_reach_everybody_while_worker_api_and_broker_are_killed() -> anyhow::Result<()> {
    storm(2_000).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes; the one above does the same with fewer"]
async fn ten_thousand_events_reach_everybody() -> anyhow::Result<()> {
    storm(10_000).await
}

async fn storm(wanted: i64) -> anyhow::Result<()> {
    let servers = PrivateServers::start().await?;
    let mut app = TestApp::start_with(Options {
        servers: Some((servers.url(Server::Postgres)?, servers.url(Server::RabbitMq)?)),
        rotation: Rotation::Grace(Duration::from_secs(3600)),
        grace_seconds: Some(3600),
        access_lifetime: LIFETIME,
        refreshed_events: true,
        worker: false,
        ..Options::default()
    })
    .await?;
    app.subscribe("storm").await?;
    let workers = [worker(&app).await?, worker(&app).await?];
    let names: Vec<String> = (0..ACCOUNTS).map(|number| format!("person-{number}")).collect();
    let accounts: Vec<String> = stream::iter(&names)
        .map(|name| async { anyhow::Ok(app.connect(name).await?.account_id) })
        .buffer_unordered(8)
        .try_collect()
        .await?;

    let (api, base) = app.spawn_api(app.common().amqp_url.expose_secret()).await?;
    let stop = CancellationToken::new();
    let caller = Caller { http: app.http.clone(), base: watch::Sender::new(base), stop };
    let talkers: Vec<JoinHandle<()>> =
        (0..TALKERS).map(|_| tokio::spawn(caller.clone().talk(app.path("/connects")))).collect();
    let quiet = CancellationToken::new();
    let reader = tokio::spawn(Caller { stop: quiet.clone(), ..caller.clone() }.read());
    let begun = Instant::now();
    let (deaths, api) = kill_in_turn(&app, &servers, &caller, (api, workers), wanted).await?;
    let storm = begun.elapsed();

    caller.stop.cancel();
    for talker in talkers {
        talker.await?;
    }
    app.add_worker().await?;
    for account in &accounts {
        app.http.delete(&app.path(&format!("/accounts/{account}"))).await?.expect(202)?;
    }
    // What the dead were at is free again, and what they had only dispatched comes due.
    app.clock.advance(TimeDelta::minutes(3));
    app.until_none("accounts WHERE revocation->>'status' = 'pending'").await?;
    app.until_none("outbox WHERE done_at IS NULL").await?;
    app.until_none("webhook_deliveries WHERE status <> 'delivered'").await?;
    let settled = begun.elapsed();
    quiet.cancel();
    let read = reader.await??;
    api.kill().await?;

    let (all, webhooks, messages) = everybody_heard_everything(&app, &read).await?;
    println!(
        "{} events, {deaths} deaths, {:.0} s of storm, all delivered after {:.0} s; webhooks {}, \
         messages {}",
        all,
        storm.as_secs_f64(),
        settled.as_secs_f64(),
        webhooks,
        messages
    );
    assert!(all as i64 >= wanted);
    app.finish().await?;
    servers.close().await
}
