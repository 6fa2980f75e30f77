//! A subscriber or a producer has a queue that refuses whatever comes.

use chrono::TimeDelta;
use latchkey_tests::TestApp;
use latchkey_tests::app::{Options, eventually};
use serde_json::json;
use tokio::time::Instant;

use crate::requests::{connect, linked};

/// More than the relay ever waits between two tries.
const NEXT_TRY: TimeDelta = TimeDelta::minutes(6);

async fn publications(app: &TestApp, id: &str) -> anyhow::Result<(i64, Option<String>)> {
    let row = app
        .row(&format!("SELECT publications, ending, last_error FROM outbox WHERE id = '{id}'"))
        .await?;
    let ending = row["ending"].as_str().map(ToOwned::to_owned);
    Ok((row["publications"].as_i64().unwrap_or_default(), ending))
}

/// The event is in the log and with the webhook all the same; the queue is not waited for for ever.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_a_queue_refuses_is_done_after_a_while() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let queue = app.broker_name("subscribers.full");
    app.make_full_queue(&queue, Some("#")).await?;
    let started = app.start_connect(json!({})).await?;
    let id = started["connectId"].as_str().unwrap_or_default();
    let event = app.event("connect.started", id).await?;
    let event = event["id"].as_str().unwrap_or_default();
    let mut tries = 0;
    loop {
        let (published, ending) = eventually(|| async {
            let (published, ending) = publications(&app, event).await?;
            Ok((published > tries || ending.is_some()).then_some((published, ending)))
        })
        .await?;
        if let Some(ending) = ending {
            assert_eq!((ending.as_str(), published), ("refused", 12));
            break;
        }
        tries = published;
        app.clock.advance(NEXT_TRY);
    }
    app.delete_queue(&queue).await?;
    app.clock.advance(NEXT_TRY);
    app.finish().await
}

/// The producer can ask again within 7 days; its reply takes up no room meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_its_queue_refuses_is_done_after_ten_minutes() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let producer = linked(&app, "admin").await?;
    let queue = app.broker_name(&format!("replies.{}", producer.user));
    app.make_full_queue(&queue, None).await?;
    let mut ask = connect(&app, &producer);
    ask.reply_to = Some(queue.clone());
    producer.publish(&ask).await?;
    let refused =
        "SELECT count(*) AS n FROM outbox WHERE kind = 'reply' AND last_error LIKE '%refused%'";
    eventually(|| async { Ok((app.row(refused).await?["n"] == 1).then_some(())) }).await?;
    app.clock.advance(TimeDelta::minutes(11));
    let ended = "SELECT count(*) AS n FROM outbox WHERE kind = 'reply' AND ending = 'refused'";
    eventually(|| async { Ok((app.row(ended).await?["n"] == 1).then_some(())) }).await?;
    app.delete_queue(&queue).await?;
    app.finish().await
}

/// An organisation whose queues refuse its events fills a part of the outbox, and the others work on.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_takes_the_room_of_its_own_organisation() -> anyhow::Result<()> {
    let app = TestApp::start_with(Options { outbox_max: 40, ..Options::default() }).await?;
    let victim = app.another_tenant().await?;
    let mut producer = linked(&app, "admin").await?;
    let others = app.http.with_key(victim.expose_key());
    let path = format!("/v1/workspaces/{}/connects", victim.workspace_id);
    let body = json!({ "platform": "SANDBOX" });
    let begun = Instant::now();
    others.post(&path, &body).await?.expect(201)?;
    let alone = begun.elapsed();

    let queue = app.broker_name("subscribers.full");
    app.make_full_queue(&queue, Some(&format!("{}.#", app.owner.workspace_id))).await?;
    let refused = eventually(|| async {
        let answer = app.http.post(&app.path("/connects"), &body).await?;
        Ok((answer.status != 201).then_some(answer))
    })
    .await?;
    assert_eq!((refused.status, refused.code().as_str()), (503, "OUTBOX_FULL"), "{}", refused.text);
    assert!(refused.text.contains("of this organisation"), "{}", refused.text);
    let open = app.row("SELECT count(*) AS n FROM outbox WHERE done_at IS NULL").await?;
    assert!(open["n"].as_i64() < Some(40), "the others' room is free: {open}");
    let begun = Instant::now();
    others.post(&path, &body).await?.expect(201)?;
    eprintln!("a victim's POST alone {alone:?}, beside the full queue {:?}", begun.elapsed());
    let told = producer.ask(&connect(&app, &producer)).await?;
    assert_eq!(told.body["code"], "OUTBOX_FULL", "a producer hears the same");
    app.delete_queue(&queue).await?;
    app.clock.advance(NEXT_TRY);
    app.finish().await
}
