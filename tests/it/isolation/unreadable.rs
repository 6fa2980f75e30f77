//! A producer writes what the client library cannot parse.

use std::time::Duration;

use futures_util::future::try_join_all;
use latchkey_tests::TestApp;
use latchkey_tests::app::{eventually, logs};
use tokio::time::Instant;

use super::raw_amqp::{RawProducer, RawProperties};
use crate::requests::{connect, linked};

/// Neither those who asked at the same time nor the commands of anybody share the fate of such a message, and
/// it is set aside after the broker's own limit.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_cannot_be_parsed_stops_nobody() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let mut victim = linked(&app, "admin").await?;
    let person = app.connect("sam").await?;
    let alone = Instant::now();
    victim.ask(&connect(&app, &victim)).await?;
    let alone = alone.elapsed();

    let mut attacker = RawProducer::connect(app.amqp_url()).await?;
    let exchange = app.broker_name("requests");
    let poison = [RawProperties::message_id(b"\xff\xfe"), RawProperties::header(b"\xff\xfe")];
    let begun = Instant::now();
    for properties in &poison {
        attacker.publish(&exchange, properties).await?;
    }
    let asks: Vec<_> = (0..40).map(|_| connect(&app, &victim)).collect();
    try_join_all(asks.iter().map(|ask| victim.publish(ask))).await?;
    // Commands go on meanwhile.
    let refreshed = Instant::now();
    let path = app.path(&format!("/accounts/{}/refresh", person.account_id));
    app.http.post(&path, &serde_json::json!({})).await?.expect(202)?;
    app.account_until(&person.account_id, |shown| shown["tokenGeneration"] == 2).await?;
    let refreshed = refreshed.elapsed();
    for _ in &asks {
        assert_eq!(victim.told().await?.kind, "connect.ready");
    }
    eprintln!(
        "a request alone {alone:?}, 40 behind two such messages {:?}, a refresh meanwhile {refreshed:?}",
        begun.elapsed()
    );
    let set_aside = || async {
        let waiting = app.waiting().await?;
        Ok(waiting.iter().any(|queue| queue.ends_with(".unreadable: 2")).then_some(()))
    };
    eventually(set_aside).await?;
    let kept = app.row("SELECT count(*) AS n FROM dead_letters").await?;
    assert_eq!(kept["n"], 0, "no innocent one ran over its limit");
    let lines = |what: &str| logs().lines().filter(|line| line.contains(what)).count();
    assert_eq!(lines("taking one at a time"), 2, "one line for each queue");
    // At two queues, each message as often as the broker's limit says: nobody turns on a connection that is gone.
    let deaths = lines("consumer ended with its connection");
    assert!((2..=100).contains(&deaths), "{deaths}");
    assert!(
        !logs().lines().any(|line| line.contains("consume") && line.contains("lost the broker"))
    );
    assert!(refreshed < Duration::from_secs(10), "{refreshed:?}");
    app.purge("unreadable").await?;
    app.finish().await
}
