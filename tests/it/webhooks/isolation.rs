//! One receiver's slowness, silence or backlog is nobody else's.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use chrono::{DateTime, TimeDelta, Utc};
use latchkey_shared::clock::Clock;
use latchkey_tests::TestApp;
use latchkey_tests::app::{Options, eventually};
use latchkey_worker::sweeps::Sweep;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::Endpoint;
use crate::strange::{Manner, Strange, says};

const HEALTHY: usize = 100;
/// Events of each of the two measurements.
const EVENTS: usize = 12;
const PAUSE: Duration = Duration::from_millis(1300);

/// One server with a hundred receivers, that notes how old each event was when it came.
#[derive(Clone, Default)]
struct Healthy {
    ages: Arc<Mutex<Vec<TimeDelta>>>,
}

impl Healthy {
    async fn start(&self) -> anyhow::Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let base = format!("http://{}", listener.local_addr()?);
        let router = Router::new().route("/{receiver}", post(hear)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(base)
    }

    fn taken(&self) -> Vec<TimeDelta> {
        std::mem::take(&mut *self.ages.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn until_heard(&self, count: usize) -> anyhow::Result<Vec<TimeDelta>> {
        let heard = || self.ages.lock().unwrap_or_else(PoisonError::into_inner).len();
        eventually(|| async { Ok((heard() >= count).then_some(())) }).await?;
        Ok(self.taken())
    }
}

async fn hear(State(healthy): State<Healthy>, body: Bytes) {
    let now: DateTime<Utc> = Clock::system().now();
    let event: Value = serde_json::from_slice(&body).unwrap_or_default();
    let at = event["timestamp"].as_str().and_then(|at| DateTime::parse_from_rfc3339(at).ok());
    if let Some(at) = at {
        healthy.ages.lock().unwrap_or_else(PoisonError::into_inner).push(now - at.to_utc());
    }
}

fn percentile(ages: &mut [TimeDelta], percent: usize) -> i64 {
    ages.sort_unstable();
    ages[(ages.len() * percent / 100).min(ages.len() - 1)].num_milliseconds()
}

async fn measure(app: &TestApp, healthy: &Healthy) -> anyhow::Result<(i64, i64)> {
    drop(healthy.taken());
    for _ in 0..EVENTS {
        app.start_connect(json!({})).await?;
        tokio::time::sleep(PAUSE).await;
    }
    let mut ages = healthy.until_heard(HEALTHY * EVENTS).await?;
    Ok((percentile(&mut ages, 50), percentile(&mut ages, 99)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_and_a_silent_receiver_do_not_delay_a_hundred_healthy_ones() -> anyhow::Result<()> {
    let mut app = TestApp::start_with(Options { worker: false, ..Options::default() }).await?;
    let mut settings = app.worker_settings(Options::default().pools, 32);
    settings.db_connections = 6;
    app.add_worker_with(&settings).await?;
    let healthy = Healthy::default();
    let base = healthy.start().await?;
    for receiver in 0..HEALTHY {
        Endpoint::make(&app, &format!("{base}/{receiver}"), &["connect.started"]).await?;
    }
    // The first event finds nothing warm: it counts for neither.
    app.start_connect(json!({})).await?;
    healthy.until_heard(HEALTHY).await?;
    let without = measure(&app, &healthy).await?;

    let late = Manner::Late(
        Duration::from_secs(14),
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned(),
    );
    let (slow, silent) =
        (Strange::start(vec![late]).await?, Strange::start(vec![Manner::Silent]).await?);
    let mut bad = Vec::new();
    for url in [slow.url(), silent.url()] {
        bad.push(Endpoint::make(&app, &url, &["connect.started"]).await?);
    }
    let with = measure(&app, &healthy).await?;
    println!(
        "{HEALTHY} healthy receivers, {EVENTS} events each: p50 {} ms, p99 {} ms; beside one that answers after 14 s \
         and one that never answers: p50 {} ms, p99 {} ms",
        without.0, without.1, with.0, with.1
    );
    assert!(slow.connections() > 0 && silent.connections() > 0, "both were called");
    assert!(with.1 <= 2 * without.1, "p99: {} ms without, {} ms with them", without.1, with.1);
    // What waits for them would be tried for days.
    for endpoint in bad {
        app.http.delete(&endpoint.path).await?.expect(204)?;
    }
    app.finish().await
}

/// A queue of 10,000 deliveries of bodies of their own.
async fn backlog(app: &TestApp, endpoint: &Endpoint, count: usize) -> anyhow::Result<()> {
    app.execute(&format!(
        "INSERT INTO webhook_deliveries
             (id, organisation_id, endpoint_id, event_id, event_at, body, status, next_attempt_at, created_at)
         SELECT 'dlv_0' || right(e.id, 15) || lpad(n::text, 10, '0'), e.organisation_id, e.id,
             'evt_' || lpad(n::text, 26, '0'), now(), '{{}}', 'pending', now() - interval '1 hour', now()
         FROM webhook_endpoints e, generate_series(1, {count}) n WHERE e.id = '{}'",
        endpoint.id
    ))
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_that_wait_for_one_delay_no_other() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let silent = Strange::start(vec![Manner::Silent]).await?;
    let hung = Endpoint::make(&app, &silent.url(), &["account.connected"]).await?;
    backlog(&app, &hung, 10_000).await?;
    silent.until_came(1).await?;
    let begun = tokio::time::Instant::now();
    for _ in 0..5 {
        let started = app.start_connect(json!({})).await?;
        app.event("connect.started", started["connectId"].as_str().unwrap_or_default()).await?;
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(10), "five events took {took:?}");
    let taken = Sweep::DueDeliveries.run(app.worker_context()).await?;
    assert!(taken <= 4, "of a long queue no more is taken than there is room for: {taken}");
    assert!(silent.connections() <= 4, "{}", silent.connections());
    app.http.delete(&hung.path).await?.expect(204)?;
    app.finish().await
}

/// The sweep alone, with room for four a second, would take a minute and a half.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_back_drains_its_queue_quickly() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let back = Strange::start(vec![says(200, "", "")]).await?;
    let endpoint = Endpoint::make(&app, &back.url(), &["account.connected"]).await?;
    backlog(&app, &endpoint, 400).await?;
    back.until_came(400).await?;
    app.until_none("webhook_deliveries WHERE status = 'pending'").await?;
    let once = app.row("SELECT max(attempts) AS most FROM webhook_deliveries").await?;
    assert_eq!(once["most"], 1, "what was put off cost no attempt");
    app.finish().await
}
