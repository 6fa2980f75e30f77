//! The event log ends before the oldest transaction of the server that writes, in any of its databases.

use chrono::TimeDelta;
use diesel_async::SimpleAsyncConnection as _;
use latchkey_shared::clock::Clock;
use latchkey_shared::db::{Db, Server, Session};
use latchkey_shared::tls::Trust;
use latchkey_tests::TestApp;
use latchkey_tests::app::{Options, PrivateServers, Server as Kind, eventually, logs};
use serde_json::{Value, json};

/// A session of another application, in a database of its own.
async fn stranger(url: &str) -> anyhow::Result<Session> {
    let connect = async |url: &str| {
        let server = Server::new(url, &Trust::default()).map_err(anyhow::Error::msg)?;
        anyhow::Ok(Db::new(&server.patient(), 1, Clock::system()).conn().await?)
    };
    let mut url: url::Url = url.parse()?;
    connect(url.as_str()).await?.batch_execute("CREATE DATABASE stranger").await?;
    url.set_path("stranger");
    connect(url.as_str()).await
}

async fn log_state(app: &TestApp) -> anyhow::Result<Value> {
    let ready = app.http.browse(&format!("{}/readyz", app.http.base())).await?;
    Ok(ready.expect(200)?.json()["eventLog"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_holds_the_event_log_back_is_named() -> anyhow::Result<()> {
    let servers = PrivateServers::start().await?;
    let urls = (servers.url(Kind::Postgres)?, servers.url(Kind::RabbitMq)?);
    let app =
        TestApp::start_with(Options { servers: Some(urls.clone()), ..Options::default() }).await?;
    let mut stranger = stranger(&urls.0).await?;
    stranger
        .batch_execute(
            "SET idle_in_transaction_session_timeout = 0; BEGIN; CREATE TABLE theirs (id int)",
        )
        .await?;
    app.start_connect(json!({})).await?;
    let shown = async || {
        let page = app.http.get("/v1/events").await?.expect(200)?.json();
        anyhow::Ok(page["data"].as_array().map_or(0, Vec::len))
    };
    assert_eq!(shown().await?, 0, "the log waits");
    assert_eq!(log_state(&app).await?, "up", "not for long yet");

    app.clock.advance(TimeDelta::minutes(2));
    let blocked = "SELECT pid FROM pg_stat_activity WHERE datname = 'stranger'";
    let session = format!("session {} of database stranger since", app.row(blocked).await?["pid"]);
    let state = log_state(&app).await?;
    assert!(state.as_str().is_some_and(|state| state.contains(&session)), "{state}");
    let warned = |line: &&str| line.contains("the event log waits") && line.contains("stranger");
    assert_eq!(logs().lines().filter(warned).count(), 1);

    stranger.batch_execute("ROLLBACK").await?;
    eventually(|| async { Ok((shown().await? > 0).then_some(())) }).await?;
    assert_eq!(log_state(&app).await?, "up");
    assert!(logs().lines().any(|line| line.contains("the event log goes on")));
    app.finish().await?;
    servers.close().await
}
