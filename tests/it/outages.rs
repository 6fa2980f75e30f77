//! Servers that go away while people connect: stopped, killed, wiped. Each test has a pair of its own.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::TimeDelta;
use diesel_async::SimpleAsyncConnection as _;
use latchkey_tests::app::{Crowd, Options, PrivateServers, Server, eventually, logs};
use latchkey_tests::{Person, TestApp};
use reqwest::Method;
use serde_json::json;
use tokio::time::Instant;

const PEOPLE: usize = 4;

async fn start(servers: &PrivateServers) -> anyhow::Result<TestApp> {
    let urls = (servers.url(Server::Postgres)?, servers.url(Server::RabbitMq)?);
    TestApp::start_with(Options {
        servers: Some(urls),
        callback_wait: Duration::from_secs(1),
        ..Options::default()
    })
    .await
}

/// Every connect has its account, every account exactly one `account.connected` in the log and at
/// least one at the webhook receiver, and every account can still be refreshed.
async fn nothing_is_lost(app: &TestApp, connects: &[String]) -> anyhow::Result<()> {
    for connect in connects {
        let ended = app.ended(connect).await?;
        assert_eq!(ended["status"], "connected", "{ended:#}");
    }
    let events = app
        .row("SELECT count(*) AS n, count(DISTINCT account_id) AS accounts FROM events WHERE type = 'account.connected'")
        .await?;
    assert!(connects.len() as i64 <= events["n"].as_i64().unwrap_or_default(), "{events}");
    assert_eq!(events["n"], events["accounts"], "nobody is told twice");
    // What was dispatched into a broker that was wiped comes due again after 2 min.
    app.clock.advance(TimeDelta::minutes(3));
    app.until_none("webhook_deliveries WHERE status <> 'delivered'").await?;
    let told: BTreeSet<String> =
        app.receiver.deliveries().into_iter().map(|delivery| delivery.id).collect();
    let unknown = app.row("SELECT array_agg(id) AS ids FROM events").await?;
    let ids = unknown["ids"].as_array().cloned().unwrap_or_default();
    assert!(ids.iter().all(|id| id.as_str().is_some_and(|id| told.contains(id))));

    app.clock.advance(TimeDelta::minutes(53));
    app.until_none("grants WHERE status <> 'active' OR generation < 2").await
}

#[tokio::test(flavor = "multi_thread")]
async fn people_connect_while_rabbitmq_is_down_is_killed_and_is_wiped() -> anyhow::Result<()> {
    let servers = PrivateServers::start().await?;
    let app = start(&servers).await?;
    app.connect("first").await?;
    let crowd = Crowd::gather(&app, PEOPLE);

    servers.stop(Server::RabbitMq).await?;
    let down = Instant::now();
    while down.elapsed() < Duration::from_secs(20) {
        let started = app.start_connect(json!({})).await?;
        let person = Person::new(format!("while-down-{}", down.elapsed().as_millis()))?;
        app.approve(&started, &person).await?.expect(303)?;
        let ended = app.ended(started["connectId"].as_str().unwrap_or_default()).await?;
        assert_eq!(ended["status"], "connected", "without the broker: {ended:#}");
    }
    servers.start_again(Server::RabbitMq).await?;
    app.connect("after-stop").await?;

    servers.signal(Server::RabbitMq, "KILL").await?;
    servers.start_again(Server::RabbitMq).await?;
    app.connect("after-kill").await?;

    servers.wipe(Server::RabbitMq).await?;
    servers.start_again(Server::RabbitMq).await?;
    app.connect("after-wipe").await?;

    let seen = crowd.stop().await?;
    assert_eq!(seen.statuses, BTreeSet::from([201, 303]), "nobody at the API noticed");
    nothing_is_lost(&app, &seen.connects).await?;
    app.finish().await?;
    servers.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn people_connect_while_postgresql_is_restarted() -> anyhow::Result<()> {
    let servers = PrivateServers::start().await?;
    let app = start(&servers).await?;
    app.connect("first").await?;
    let crowd = Crowd::gather(&app, PEOPLE);
    // Fast: sessions are ended. Immediate: the server drops everything and recovers.
    for signal in ["INT", "QUIT"] {
        let before = crowd.done();
        eventually(|| async { Ok((crowd.done() > before + PEOPLE).then_some(())) }).await?;
        servers.signal(Server::Postgres, signal).await?;
        let away = app.http.get("/v1/workspaces").await?;
        assert_eq!((away.status, away.code().as_str()), (503, "UNAVAILABLE"), "{away:?}");
        servers.start_again(Server::Postgres).await?;
        let back = Instant::now();
        while app.http.get("/v1/workspaces").await?.status != 200 {
            assert!(back.elapsed() < Duration::from_secs(5), "the pool does not heal");
        }
    }
    app.connect("last").await?;
    let seen = crowd.stop().await?;
    let expected = BTreeSet::from([201, 303, 409, 503]);
    let errors =
        || logs().lines().filter(|line| line.contains("ERROR")).collect::<Vec<_>>().join("\n");
    assert!(seen.statuses.is_subset(&expected), "{:?}: {}", seen.statuses, errors());
    nothing_is_lost(&app, &seen.connects).await?;
    app.finish().await?;
    servers.close().await
}

/// The server ends sessions in the middle of a statement when it is shut down, or when an operator
/// does. To the caller that is the same as no server at all.
#[tokio::test(flavor = "multi_thread")]
async fn whose_session_is_ended_is_told_to_try_again() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let get = app.http.request(Method::GET, &app.path(""));
    let post = app.http.request(Method::POST, &app.path("/connects"));
    let requests = [
        // One statement by itself, and one in a transaction.
        (get, "workspaces IN ACCESS EXCLUSIVE MODE", "SELECT%workspaces%"),
        (post.json(&json!({"platform": "SANDBOX"})), "connects IN SHARE MODE", "INSERT%connects%"),
    ];
    for (request, table, statement) in requests {
        let mut lock = app.db()?.conn().await?;
        lock.batch_execute(&format!("BEGIN; LOCK TABLE {table}")).await?;
        let answer = tokio::spawn({
            let http = app.http.clone();
            async move { http.send(request).await }
        });
        let end = format!(
            "SELECT pg_terminate_backend(pid) AS ended FROM pg_stat_activity
             WHERE datname = current_database() AND wait_event_type = 'Lock'
               AND query LIKE '{statement}'"
        );
        // A sweep that reads the same table may be met first.
        eventually(|| async {
            app.row(&end).await.ok();
            Ok(answer.is_finished().then_some(()))
        })
        .await?;
        let answer = answer.await??;
        lock.batch_execute("ROLLBACK").await?;
        assert_eq!((answer.status, answer.code().as_str()), (503, "UNAVAILABLE"), "{answer:?}");
    }
    app.finish().await
}

/// The last step of a connect fails: whoever waits in front of the browser waits for the next try (3 s),
/// not for the end of the lease (25 s).
#[tokio::test(flavor = "multi_thread")]
async fn a_connect_that_failed_at_the_database_goes_on_within_seconds() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let started = app.start_connect(json!({})).await?;
    let mut lock = app.db()?.conn().await?;
    lock.batch_execute("BEGIN; LOCK TABLE accounts IN SHARE MODE").await?;
    app.approve(&started, &Person::new("sam")?).await?.expect(303)?;
    let end = "SELECT pg_terminate_backend(pid) AS ended FROM pg_stat_activity
               WHERE datname = current_database() AND wait_event_type = 'Lock'
                 AND query LIKE 'INSERT INTO \"accounts\"%'";
    eventually(|| async { Ok(app.row(end).await.ok()) }).await?;
    let failed = Instant::now();
    lock.batch_execute("ROLLBACK").await?;
    let ended = app.ended(started["connectId"].as_str().unwrap_or_default()).await?;
    assert_eq!(ended["status"], "connected", "{ended:#}");
    assert!(failed.elapsed() < Duration::from_secs(15), "after {:?}", failed.elapsed());
    app.finish().await
}

/// The end of a command is written down as soon as the database takes it again, not after the three minutes
/// that the command might have taken.
#[tokio::test(flavor = "multi_thread")]
async fn an_ending_that_the_database_refused_is_noted_within_seconds() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    app.refuse_updates(("outbox", "done_at"), "NEW.kind = 'callback_received'").await?;
    app.connect("sam").await?;
    app.refused(2).await?;
    app.allow_updates("outbox").await?;
    app.until_none("outbox WHERE done_at IS NULL").await?;
    app.finish().await
}
