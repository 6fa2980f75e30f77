//! What can happen to messages in RabbitMQ: no route, no room, no queue, no connection.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::TimeDelta;
use lapin::options::QueueDeleteOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use latchkey_tests::TestApp;
use latchkey_tests::app::{Crowd, Options, PrivateServers, Server, eventually};
use latchkey_tests::sandbox::{Endpoint, Fault, FaultRule, Kind};
use latchkey_worker::settings::Pool;
use secrecy::ExposeSecret as _;
use serde_json::json;

async fn channel(app: &TestApp) -> anyhow::Result<(Connection, Channel)> {
    let url = app.common().amqp_url.expose_secret();
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    Ok((connection, channel))
}

async fn refresh_now(app: &TestApp, account: &str) -> anyhow::Result<()> {
    let path = app.path(&format!("/accounts/{account}/refresh"));
    app.http.post(&path, &json!({})).await?.expect(202).map(drop)
}

/// Waits until publishing failed for this reason, which the message's row says.
async fn until_refused(app: &TestApp, why: &str) -> anyhow::Result<()> {
    let query = format!("SELECT count(*) AS n FROM outbox WHERE last_error LIKE '%{why}%'");
    eventually(|| async { Ok((app.row(&query).await?["n"] != 0).then_some(())) }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_without_a_route_is_noticed_and_published_again() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let sam = app.connect("sam").await?;
    let (connection, channel) = channel(&app).await?;
    let prefix = &app.common().broker_prefix;
    let (queue, exchange) = (format!("{prefix}.refresh"), format!("{prefix}.commands"));
    channel
        .queue_unbind(queue.into(), exchange.into(), "refresh_due".into(), FieldTable::default())
        .await?;
    refresh_now(&app, &sam.account_id).await?;
    until_refused(&app, "no queue is bound").await?;
    // Until the relay's turn.
    app.clock.advance(TimeDelta::seconds(10));
    app.account_until(&sam.account_id, |account| account["tokenGeneration"] == 2).await?;
    connection.close(200, "done".into()).await?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_deleted_under_its_consumer_comes_back() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let sam = app.connect("sam").await?;
    let (connection, channel) = channel(&app).await?;
    let prefix = &app.common().broker_prefix;
    for queue in ["refresh", "connect", "revocation", "webhook", "dead"] {
        let queue = format!("{prefix}.{queue}");
        channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
    }
    refresh_now(&app, &sam.account_id).await?;
    app.connect("kim").await?;
    app.clock.advance(TimeDelta::seconds(10));
    app.account_until(&sam.account_id, |account| account["tokenGeneration"] == 2).await?;
    connection.close(200, "done".into()).await?;
    // What went with a queue is published again then.
    app.clock.advance(TimeDelta::minutes(2));
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_and_every_connection_breaks_and_nothing_is_lost() -> anyhow::Result<()>
{
    let servers = PrivateServers::start().await?;
    let urls = (servers.url(Server::Postgres)?, servers.url(Server::RabbitMq)?);
    let mut app = TestApp::start_with(Options {
        servers: Some(urls),
        pools: vec![Pool::Connect, Pool::Webhook, Pool::Revocation, Pool::Sweeps],
        callback_wait: Duration::from_secs(1),
        ..Options::default()
    })
    .await?;
    a_full_queue_refuses(&mut app, &servers).await?;
    every_connection_breaks(&app, &servers).await?;
    app.finish().await?;
    servers.close().await
}

/// Nobody consumes, and the queue takes one message: the others are refused, and wait.
async fn a_full_queue_refuses(app: &mut TestApp, servers: &PrivateServers) -> anyhow::Result<()> {
    let mut accounts = Vec::new();
    for name in ["ann", "ben", "cid", "dan", "eve"] {
        accounts.push(app.connect(name).await?.account_id);
    }
    let queue = format!("^{}\\.refresh$", app.common().broker_prefix);
    let full = ["set_policy", "full", &queue, "{\"max-length\":1}", "--apply-to", "queues"];
    servers.rabbitmqctl(&full).await?;
    for account in &accounts {
        refresh_now(app, account).await?;
    }
    until_refused(app, "refused the message").await?;
    servers.rabbitmqctl(&["clear_policy", "full"]).await?;
    let settings = app.worker_settings(vec![Pool::Refresh], 8);
    app.add_worker_with(&settings).await?;
    app.clock.advance(TimeDelta::seconds(10));
    for account in &accounts {
        app.account_until(account, |account| account["tokenGeneration"] == 2).await?;
    }
    Ok(())
}

/// For 30 s, every second, while people connect.
async fn every_connection_breaks(app: &TestApp, servers: &PrivateServers) -> anyhow::Result<()> {
    let slow = app.connect("slow").await?.account_id;
    app.sandbox.inject(FaultRule::new(Endpoint::Revoke, Fault::Delay { ms: 12_000 }));
    app.http.delete(&app.path(&format!("/accounts/{slow}"))).await?.expect(202)?;
    let crowd = Crowd::gather(app, 4);
    let close_all = "lists:sum([begin timer:sleep(1000), All = rabbit_networking:connections(), \
         [rabbit_networking:close_connection(C, \"closed by the test\") || C <- All], length(All) end \
         || _ <- lists:seq(1, 30)]).";
    let closed = servers.rabbitmqctl(&["--timeout", "60", "eval", close_all]).await?;
    assert!(closed.trim().parse::<u32>()? >= 30, "connections were there to be closed: {closed}");
    let seen = crowd.stop().await?;
    assert_eq!(seen.statuses, BTreeSet::from([201, 303]), "nobody at the API noticed");
    for connect in &seen.connects {
        assert_eq!(app.ended(connect).await?["status"], "connected");
    }
    // Delivered again and again while it is under way, it is done once and not given up.
    app.account_until(&slow, |account| account["revocation"]["status"] == "revoked").await?;
    let calls = app.sandbox.ledger().into_iter().filter(|entry| entry.kind == Kind::Revoked);
    assert_eq!(calls.count(), 1);
    app.clock.advance(TimeDelta::minutes(3));
    app.until_none("webhook_deliveries WHERE status <> 'delivered'").await
}
