//! The same work beside ten thousand, a hundred thousand and a million accounts.

use std::time::Duration;

use chrono::TimeDelta;
use diesel_async::SimpleAsyncConnection as _;
use latchkey_tests::app::{Options, PrivateServers, Server, seed};
use latchkey_tests::{Person, TestApp};
use latchkey_worker::context::Context;
use latchkey_worker::sweeps::Sweep;
use serde_json::{Value, json};
use tokio::time::{Instant, interval};

use crate::measure::{bare_limit, median_of, timed};

const SIZES: [usize; 3] = [10_000, 100_000, 1_000_000];
const SNAPSHOT: Duration = Duration::from_secs(300);
const REFRESHES: usize = 40;

/// What is measured, with the milliseconds of each column.
type Row = (&'static str, Vec<f64>);

async fn start(servers: &PrivateServers) -> anyhow::Result<TestApp> {
    let urls = (servers.url(Server::Postgres)?, servers.url(Server::RabbitMq)?);
    TestApp::start_with(Options {
        servers: Some(urls),
        serve: |config| config.rate_limit = 0,
        ..Options::default()
    })
    .await
}

async fn connect(app: &TestApp, user: String) -> anyhow::Result<Duration> {
    let started = app.start_connect(json!({})).await?;
    let url = started["authorizeUrl"].as_str().unwrap_or_default();
    let callback = Person::new(user)?.approve(url).await?;
    timed(async { app.http.browse(callback.as_str()).await?.expect(303) }).await
}

/// All accounts that the run has connected, each of which is due: the time for one.
async fn refresh_all(app: &TestApp) -> anyhow::Result<Duration> {
    let young = "grants WHERE status = 'active' AND id >= 'grt_01A'";
    let due = app.row(&format!("SELECT count(*) AS n FROM {young}")).await?["n"].as_u64();
    let refreshed = format!("SELECT coalesce(sum(generation), 0)::bigint AS n FROM {young}");
    let before = app.row(&refreshed).await?["n"].as_u64().unwrap_or_default();
    let wanted = before + due.unwrap_or_default();
    app.clock.advance(TimeDelta::minutes(55));
    let begun = Instant::now();
    // Not when the next second begins.
    Sweep::PlanRefreshes.run(app.worker_context()).await?;
    while app.row(&refreshed).await?["n"].as_u64().unwrap_or_default() < wanted {
        tokio::task::yield_now().await;
    }
    Ok(begun.elapsed() / u32::try_from(due.unwrap_or(1))?)
}

/// The sum of their medians. Each goes to the log, which is read when the sum grows.
async fn all_sweeps(context: &Context) -> anyhow::Result<f64> {
    let mut sum = 0.0;
    for (sweep, _) in Sweep::ALL {
        let took = median_of(10, async |_| timed(async { Ok(sweep.run(context).await?) }).await);
        let took = took.await?;
        eprintln!("{sweep:?}: {took:.1} ms");
        sum += took;
    }
    Ok(sum)
}

async fn column(app: &TestApp, name: &str) -> anyhow::Result<Vec<Row>> {
    let context = app.worker_context();
    let list = async |path: &str| {
        median_of(20, async |_| timed(async { app.http.get(path).await?.expect(200) }).await).await
    };
    let endpoint = app.row("SELECT id FROM webhook_endpoints").await?;
    let endpoint = endpoint["id"].as_str().unwrap_or_default();
    let (accounts, deliveries) = (
        app.path("/accounts?limit=100"),
        format!("/v1/webhook-endpoints/{endpoint}/deliveries?limit=100"),
    );
    let callback =
        median_of(REFRESHES, async |number| connect(app, format!("{name}-{number}")).await);
    let mut rows = vec![("callback, until the account is connected", callback.await?)];
    rows.push((
        "refresh, one of many that are due",
        median_of(5, async |_| refresh_all(app).await).await?,
    ));
    let planner = async |_| timed(async { Ok(Sweep::PlanRefreshes.run(context).await?) }).await;
    rows.push(("round of the planner", median_of(60, planner).await?));
    rows.push(("round of all sweeps", all_sweeps(context).await?));
    rows.push(("first page of accounts", list(&accounts).await?));
    rows.push(("first page of events", list("/v1/events?limit=100").await?));
    rows.push(("first page of deliveries", list(&deliveries).await?));
    rows.push(("one commit and one empty request (bare limit)", bare_limit(app).await?));
    Ok(rows.into_iter().map(|(what, took)| (what, vec![took])).collect())
}

/// Every account that the run has connected: the next column refreshes as many as this one did.
async fn disconnect_all(app: &TestApp) -> anyhow::Result<()> {
    let young = "accounts WHERE id >= 'acc_01A' AND status = 'connected'";
    let ids = app.row(&format!("SELECT coalesce(json_agg(id), '[]') AS ids FROM {young}")).await?;
    for id in ids["ids"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        app.http.delete(&app.path(&format!("/accounts/{id}"))).await?.expect(202)?;
    }
    Ok(())
}

/// While somebody connects and disconnects every second.
async fn old_snapshot(app: &TestApp) -> anyhow::Result<Vec<Row>> {
    let mut idle = app.db()?.conn().await?;
    let begin = "SET idle_in_transaction_session_timeout = 0; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM grants LIMIT 1";
    idle.batch_execute(begin).await?;
    let mut pace = interval(Duration::from_secs(1));
    for number in 0..SNAPSHOT.as_secs() {
        pace.tick().await;
        app.connect(&format!("meanwhile-{number}")).await?;
        disconnect_all(app).await?;
    }
    let rows = column(app, "snapshot").await;
    idle.batch_execute("ROLLBACK").await?;
    rows
}

fn print(columns: &[String], rows: &[Row]) {
    println!("| milliseconds, median | {} | most / least |", columns.join(" | "));
    println!("| --- |{}", " --- |".repeat(columns.len() + 1));
    for (what, took) in rows {
        let cells: Vec<String> = took.iter().map(|one| format!("{one:.1}")).collect();
        let (most, least) = (
            took.iter().copied().fold(0.0, f64::max),
            took.iter().copied().fold(f64::MAX, f64::min),
        );
        println!("| {what} | {} | {:.2} |", cells.join(" | "), most / least);
    }
}

pub(crate) async fn run() -> anyhow::Result<()> {
    let servers = PrivateServers::start().await?;
    let (mut columns, mut rows): (Vec<String>, Vec<Row>) = (Vec::new(), Vec::new());
    let mut add = |title: String, column: Vec<Row>| {
        eprintln!("{title}: {column:?}");
        columns.push(title);
        if rows.is_empty() {
            rows = column;
        } else {
            rows.iter_mut().zip(column).for_each(|(row, one)| row.1.extend(one.1));
        }
    };
    for size in SIZES {
        let app = start(&servers).await?;
        seed::fill(&app, size).await?;
        app.execute("VACUUM (ANALYZE)").await?;
        add(format!("{size} accounts"), column(&app, "person").await?);
        if size == SIZES[2] {
            add("the same, beside a snapshot held for 5 min".to_owned(), old_snapshot(&app).await?);
        }
        // What was seeded is not in the state that a test leaves.
        drop(app.finish().await);
    }
    print(&columns, &rows);
    servers.close().await
}
