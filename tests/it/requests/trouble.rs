//! Requests while something is away, and requests that bring their worker down.

use chrono::TimeDelta;
use latchkey_tests::TestApp;
use latchkey_tests::app::{Options, PrivateServers, Server, eventually, logs};
use latchkey_worker::settings::Pool;

use super::{connect, count, linked, text};

fn options(servers: &PrivateServers) -> anyhow::Result<Options> {
    let urls = (servers.url(Server::Postgres)?, servers.url(Server::RabbitMq)?);
    Ok(Options { servers: Some(urls), ..Options::default() })
}

/// First the one is away, then the other: the worker that holds the request does it meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_for_the_database_and_its_answer_for_the_broker() -> anyhow::Result<()> {
    let servers = PrivateServers::start().await?;
    let app = TestApp::start_with(options(&servers)?).await?;
    let user = linked(&app, "admin").await?.user;
    let queue = app.broker_name(&format!("replies.{user}.shop"));
    let producer = app.producer_with_queue(&queue).await?;
    servers.stop(Server::Postgres).await?;
    let ask = connect(&app, &producer);
    producer.publish(&ask).await?;
    eventually(|| async { Ok(logs().contains("a request is held").then_some(())) }).await?;
    servers.stop(Server::RabbitMq).await?;
    servers.start_again(Server::Postgres).await?;
    // The pools find out one connection at a time that the server was away.
    let connects = || async { Ok(count(&app, "connects").await.ok().filter(|n| *n == 1)) };
    eventually(connects).await?;
    let waits = "outbox WHERE kind = 'reply' AND done_at IS NULL";
    assert_eq!(count(&app, waits).await?, 1, "its answer waits");
    servers.start_again(Server::RabbitMq).await?;
    let mut producer = app.producer_with_queue(&queue).await?;
    let ready = producer.told().await?;
    assert_eq!(ready.kind, "connect.ready", "{ready:?}");
    assert_eq!(ready.correlation_id, ask.message_id);
    assert_eq!(producer.ask(&ask).await?.body, ready.body);
    assert_eq!(count(&app, "connects").await?, 1);
    app.finish().await?;
    servers.close().await
}

/// The worker dies with the request three times; somebody else's requests are done meanwhile, and in the
/// end it is done, too, once.
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_ends_its_own_request_alone() -> anyhow::Result<()> {
    let pools = vec![Pool::Connect, Pool::Webhook, Pool::Sweeps];
    let app = TestApp::start_with(Options { pools, ..Options::default() }).await?;
    let fail = [("LATCHKEY_TEST_FAILPOINTS", "request_begun[poison]:panic")];
    let worker = app.spawn_worker_with("requests", &fail).await?;
    let mut producer = linked(&app, "admin").await?;
    let mut poison = connect(&app, &producer);
    poison.message_id = Some("poison".to_owned());
    producer.publish(&poison).await?;
    worker.says("failpoint request_begun").await?;
    assert_eq!(producer.ask(&connect(&app, &producer)).await?.kind, "connect.ready");
    let told = producer.told().await?;
    assert_eq!(told.correlation_id.as_deref(), Some("poison"));
    assert_eq!((told.kind.as_str(), text(&told.body["code"])), ("connect.rejected", "INTERNAL"));
    assert_eq!(count(&app, "requests").await?, 1, "it may be sent again");
    worker.terminate().await?;
    let _another = app.spawn_worker("requests").await?;
    assert_eq!(producer.ask(&poison).await?.kind, "connect.ready");
    app.finish().await
}

/// More waits than is good: requests wait at the broker instead.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_outbox_holds_requests_back() -> anyhow::Result<()> {
    let mut app = TestApp::start_with(Options { worker: false, ..Options::default() }).await?;
    app.execute(
        "INSERT INTO outbox (id, kind, routing_key, body, available_at, created_at)
         SELECT 'msg_held_' || n, 'refresh_due', 'refresh_due', '{}', now() + interval '1 d', now()
         FROM generate_series(1, 3) n",
    )
    .await?;
    let mut settings = app.worker_settings(vec![Pool::Requests], 4);
    settings.common.outbox_max = 2;
    app.add_worker_with(&settings).await?;
    let mut producer = linked(&app, "admin").await?;
    producer.publish(&connect(&app, &producer)).await?;
    let held = || async { Ok(logs().contains("too many messages wait").then_some(())) };
    eventually(held).await?;
    assert_eq!(count(&app, "connects").await?, 0);
    app.execute("UPDATE outbox SET done_at = now() WHERE id LIKE 'msg_held_%'").await?;
    assert_eq!(producer.told().await?.kind, "connect.ready");
    app.clock.advance(TimeDelta::seconds(1));
    app.add_worker_with(&app.worker_settings(Options::default().pools, 4)).await?;
    app.finish().await
}
