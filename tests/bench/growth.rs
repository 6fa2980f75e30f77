//! The same work beside ten thousand, a hundred thousand and a million accounts.

use std::time::Duration;

use chrono::TimeDelta;
use diesel_async::SimpleAsyncConnection as _;
use latchkey_tests::app::{Options, PrivateServers, Server, seed};
use latchkey_tests::{Person, TestApp};
use latchkey_worker::sweeps::Sweep;
use serde_json::{Value, json};
use tokio::time::{Instant, interval};

use crate::measure::{bare_limit, medians_of, timed};

const SIZES: [usize; 3] = [10_000, 100_000, 1_000_000];
const FIVE_MINUTES: Duration = Duration::from_secs(300);
const PEOPLE: usize = 40;

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

/// The sum of their medians, per app. Each goes to the log, which is read when the sum grows.
async fn all_sweeps(apps: &[TestApp]) -> anyhow::Result<Vec<f64>> {
    let mut sums = vec![0.0; apps.len()];
    for (sweep, _) in Sweep::ALL {
        let run = async |app: &TestApp, _| {
            timed(async { Ok(sweep.run(app.worker_context()).await?) }).await
        };
        let took = medians_of(apps, 30, run).await?;
        eprintln!("{sweep:?}: {took:.2?} ms");
        sums.iter_mut().zip(took).for_each(|(sum, one)| *sum += one);
    }
    Ok(sums)
}

async fn first_page(app: &TestApp, path: &str) -> anyhow::Result<Duration> {
    timed(async { app.http.get(path).await?.expect(200) }).await
}

async fn deliveries(app: &TestApp) -> anyhow::Result<Duration> {
    let endpoint = app.row("SELECT id FROM webhook_endpoints").await?;
    let endpoint = endpoint["id"].as_str().unwrap_or_default();
    first_page(app, &format!("/v1/webhook-endpoints/{endpoint}/deliveries?limit=100")).await
}

/// What is measured, with the milliseconds of each app.
async fn measure(apps: &[TestApp]) -> anyhow::Result<Vec<(&'static str, Vec<f64>)>> {
    let callback = async |app: &TestApp, number| connect(app, format!("person-{number}")).await;
    let planner = async |app: &TestApp, _| {
        timed(async { Ok(Sweep::PlanRefreshes.run(app.worker_context()).await?) }).await
    };
    let accounts = async |app: &TestApp, _| first_page(app, &app.path("/accounts?limit=100")).await;
    let events = async |app: &TestApp, _| first_page(app, "/v1/events?limit=100").await;
    Ok(vec![
        ("callback, until the account is connected", medians_of(apps, PEOPLE, callback).await?),
        (
            "refresh, one of many that are due",
            medians_of(apps, 9, async |app, _| refresh_all(app).await).await?,
        ),
        ("round of the planner", medians_of(apps, 200, planner).await?),
        ("round of all sweeps", all_sweeps(apps).await?),
        ("first page of accounts", medians_of(apps, 100, accounts).await?),
        ("first page of events", medians_of(apps, 100, events).await?),
        (
            "first page of deliveries",
            medians_of(apps, 100, async |app, _| deliveries(app).await).await?,
        ),
        (
            "one commit and one empty request (bare limit)",
            medians_of(apps, 100, async |app, _| bare_limit(app).await).await?,
        ),
    ])
}

/// Every account that the run has connected: each app refreshes as many as the others.
async fn disconnect_all(app: &TestApp) -> anyhow::Result<()> {
    let young = "accounts WHERE id >= 'acc_01A' AND status = 'connected'";
    let ids = app.row(&format!("SELECT coalesce(json_agg(id), '[]') AS ids FROM {young}")).await?;
    for id in ids["ids"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        app.http.delete(&app.path(&format!("/accounts/{id}"))).await?.expect(202)?;
    }
    Ok(())
}

/// Five minutes, in each second of which a person connects an account and disconnects it.
async fn pass_five_minutes(app: &TestApp) -> anyhow::Result<()> {
    let mut pace = interval(Duration::from_secs(1));
    for number in 0..FIVE_MINUTES.as_secs() {
        pace.tick().await;
        app.connect(&format!("meanwhile-{number}")).await?;
        disconnect_all(app).await?;
    }
    Ok(())
}

fn print(columns: &[String], rows: &[(&str, Vec<f64>)]) {
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

async fn filled(servers: &PrivateServers, size: usize) -> anyhow::Result<TestApp> {
    let app = start(servers).await?;
    seed::fill(&app, size).await?;
    app.execute("CREATE TABLE bare (at timestamptz)").await?;
    app.execute("GRANT ALL ON bare TO PUBLIC").await?;
    app.execute("VACUUM (ANALYZE)").await?;
    eprintln!("{size} accounts are there");
    Ok(app)
}

/// All sizes stand on the same servers and take turns, so that a machine that is slower for a minute is slower for
/// each of them.
pub(crate) async fn run() -> anyhow::Result<()> {
    let servers = PrivateServers::start().await?;
    let (mut columns, mut apps) = (Vec::new(), Vec::new());
    for size in SIZES {
        columns.push(format!("{size} accounts"));
        apps.push(filled(&servers, size).await?);
    }
    columns.push("1000000, beside a snapshot held for 5 min".to_owned());
    let app = filled(&servers, SIZES[2]).await?;
    let mut idle = app.db()?.conn().await?;
    let begin = "SET idle_in_transaction_session_timeout = 0; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM grants LIMIT 1";
    idle.batch_execute(begin).await?;
    pass_five_minutes(&app).await?;
    apps.push(app);
    print(&columns, &measure(&apps).await?);
    idle.batch_execute("ROLLBACK").await?;
    drop(idle);
    for app in apps {
        // What was seeded is not in the state that a test leaves.
        drop(app.finish().await);
    }
    servers.close().await
}
