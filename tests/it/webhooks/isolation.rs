//! One receiver's slowness, silence or backlog is nobody else's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use latchkey_tests::TestApp;
use latchkey_tests::app::{Options, eventually};
use latchkey_worker::sweeps::Sweep;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::Endpoint;
use crate::strange::{Manner, Strange, says};

const HEALTHY: usize = 100;
const EVENTS: usize = 2;

/// One server with a hundred receivers, that counts what it hears.
#[derive(Clone, Default)]
struct Healthy(Arc<AtomicUsize>);

impl Healthy {
    async fn start(&self) -> anyhow::Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let base = format!("http://{}", listener.local_addr()?);
        let router = Router::new().route("/{receiver}", post(hear)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(base)
    }

    async fn until_heard(&self, count: usize) -> anyhow::Result<()> {
        let heard = || async { Ok((self.0.load(Ordering::SeqCst) >= count).then_some(())) };
        eventually(heard).await
    }
}

async fn hear(State(healthy): State<Healthy>) {
    healthy.0.fetch_add(1, Ordering::SeqCst);
}

/// How many calls to this endpoint have an end.
async fn ended(app: &TestApp, endpoint: &Endpoint) -> anyhow::Result<Value> {
    let attempts = "SELECT count(*) AS n FROM webhook_attempts a JOIN webhook_deliveries d ON d.id = a.delivery_id";
    let of = format!("WHERE d.endpoint_id = '{}' AND a.duration_ms IS NOT NULL", endpoint.id);
    Ok(app.row(&format!("{attempts} {of}")).await?["n"].take())
}

/// A call to the one that is silent ends after 15 s; to the one that is slow, after 14 s with success.
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
    for event in 1..=EVENTS {
        app.start_connect(json!({})).await?;
        healthy.until_heard(event * HEALTHY).await?;
    }
    slow.until_came(1).await?;
    silent.until_came(1).await?;
    for endpoint in bad {
        assert_eq!(ended(&app, &endpoint).await?, 0, "its call was not waited for");
        // What waits for it would be tried for days.
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
    for _ in 0..5 {
        let started = app.start_connect(json!({})).await?;
        app.event("connect.started", started["connectId"].as_str().unwrap_or_default()).await?;
    }
    assert_eq!(ended(&app, &hung).await?, 0, "the first of its calls was not waited for");
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
