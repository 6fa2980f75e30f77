//! Asked twice, done once.

use latchkey_shared::broker::consumer::Received;
use latchkey_shared::failpoint;
use latchkey_tests::TestApp;
use latchkey_tests::app::{Options, eventually};
use latchkey_worker::requests::{Desk, Terms};
use latchkey_worker::settings::Pool;
use serde_json::json;

use super::{connect, count, linked, text};

#[tokio::test(flavor = "multi_thread")]
async fn the_same_message_twice_is_one_connect_with_one_url() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let mut producer = linked(&app, "admin").await?;
    let ask = connect(&app, &producer);
    let first = producer.ask(&ask).await?;
    let second = producer.ask(&ask).await?;
    assert_eq!((&first.kind, &first.body), (&second.kind, &second.body));
    assert_ne!(first.message_id, second.message_id, "each answer is a message of its own");
    assert_eq!(count(&app, "connects").await?, 1);

    // The same name for something else is neither done nor forgotten.
    let mut other = connect(&app, &producer);
    other.message_id.clone_from(&ask.message_id);
    other.body =
        json!({ "workspaceId": app.owner.workspace_id, "platform": "X" }).to_string().into();
    let told = producer.ask(&other).await?;
    assert_eq!(
        (told.kind.as_str(), text(&told.body["code"])),
        ("connect.rejected", "IDEMPOTENCY_KEY_REUSED")
    );
    let mut other = ask.clone();
    other.kind = Some("refresh.requested".to_owned());
    let told = producer.ask(&other).await?;
    assert_eq!(
        (told.kind.as_str(), text(&told.body["code"])),
        ("refresh.rejected", "IDEMPOTENCY_KEY_REUSED")
    );
    let third = producer.ask(&ask).await?;
    assert_eq!(third.body, first.body);
    assert_eq!(count(&app, "connects").await?, 1);

    // A week later it is forgotten.
    app.clock.advance(chrono::TimeDelta::days(7) + chrono::TimeDelta::minutes(1));
    let prune = latchkey_worker::sweeps::Sweep::Prune;
    prune.run(app.worker_context()).await?;
    assert_eq!(count(&app, "requests").await?, 0);
    let later = producer.ask(&ask).await?;
    assert_ne!(later.body["connectId"], first.body["connectId"]);
    app.finish().await
}

/// Its worker is gone at whatever step, and the broker delivers again.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_cut_at_any_step_is_done_once() -> anyhow::Result<()> {
    let pools = vec![Pool::Connect, Pool::Refresh, Pool::Revocation, Pool::Webhook, Pool::Sweeps];
    let app = TestApp::start_with(Options { pools, ..Options::default() }).await?;
    let producer = linked(&app, "admin").await?;
    let desk = Desk::new(app.worker_context().clone(), Terms::new(app.common(), false)?);
    let mut connects = 0;
    for step in 1.. {
        let ask = connect(&app, &producer);
        let delivery = Received {
            message_id: Some(format!("cut-{step}")),
            kind: ask.kind,
            user_id: ask.user_id,
            reply_to: Some("amq.gen-nobody".to_owned()),
            correlation_id: None,
            redelivered: false,
            routing_key: ask.routing_key,
            death: None,
            size: ask.body.len(),
            body: ask.body,
        };
        let ended = failpoint::cut_at(step, desk.deal_with(&delivery)).await;
        assert!(desk.deal_with(&delivery).await, "step {step}");
        connects += 1;
        assert_eq!(count(&app, "connects").await?, connects, "step {step}");
        assert_eq!(count(&app, "requests").await?, connects, "step {step}");
        if ended.is_some() {
            assert!(step > 5, "there are steps to be cut at");
            return app.finish().await;
        }
    }
    Ok(())
}

/// Several workers have the same message at once; all but one find that it was done.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_message_many_times_at_once_is_one_connect() -> anyhow::Result<()> {
    const TIMES: usize = 12;
    let mut app = TestApp::start().await?;
    let settings = app.worker_settings(vec![Pool::Requests], 8);
    app.add_worker_with(&settings).await?;
    let mut producer = linked(&app, "admin").await?;
    let ask = connect(&app, &producer);
    for _ in 0..TIMES {
        producer.publish(&ask).await?;
    }
    let first = producer.told().await?;
    for _ in 1..TIMES {
        assert_eq!(producer.told().await?.body, first.body);
    }
    assert_eq!(count(&app, "connects").await?, 1);
    assert_eq!(count(&app, "events WHERE type = 'connect.started'").await?, 1);
    app.finish().await
}

/// What was refused is refused again, though it could be done by now: whoever asks must know that an answer
/// they missed is the answer they get.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_as_final_as_a_connect() -> anyhow::Result<()> {
    let options = Options { serve: |_| {}, ..Options::default() };
    let app = TestApp::start_with(options).await?;
    let mut producer = linked(&app, "admin").await?;
    let profile = json!({ "name": "Sam" });
    let profile = app.http.post(&app.path("/profiles"), &profile).await?.expect(201)?.json();
    let path = app.path(&format!("/profiles/{}", text(&profile["id"])));
    app.http.delete(&path).await?.expect(204)?;
    let body = json!({
        "workspaceId": app.owner.workspace_id, "platform": "SANDBOX", "profileId": profile["id"],
    });
    let ask = producer.request("connect.requested", &body);
    let first = producer.ask(&ask).await?;
    assert_eq!(text(&first.body["code"]), "PROFILE_NOT_FOUND", "{first:?}");
    let again = producer.ask(&ask).await?;
    assert_eq!((again.kind, again.body), (first.kind, first.body));
    assert_eq!(count(&app, "requests WHERE refusal IS NOT NULL").await?, 1);
    app.finish().await
}

/// The worker is gone between its commit and its ack: the broker brings the request to another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_after_its_commit_leaves_one_connect_and_its_url() -> anyhow::Result<()> {
    let pools = vec![Pool::Connect, Pool::Webhook, Pool::Sweeps];
    let mut app = TestApp::start_with(Options { pools, ..Options::default() }).await?;
    let hang = [("LATCHKEY_TEST_FAILPOINTS", "request_committed:hang")];
    let worker = app.spawn_worker_with("requests", &hang).await?;
    let mut producer = linked(&app, "admin").await?;
    let ask = connect(&app, &producer);
    let first = producer.ask(&ask).await?;
    worker.says("failpoint request_committed").await?;
    worker.kill().await?;
    let settings = app.worker_settings(vec![Pool::Requests], 4);
    app.add_worker_with(&settings).await?;
    let second = producer.told().await?;
    assert_eq!((&first.kind, &first.body), (&second.kind, &second.body));
    assert_eq!(count(&app, "connects").await?, 1);
    assert_eq!(count(&app, "requests").await?, 1);
    app.finish().await
}

/// Nothing of the reply stands in the outbox, and it can be sent from there all the same: by the relay, as
/// after a crash or while the broker was away.
#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_was_not_sent_is_sent_by_the_relay() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let mut producer = linked(&app, "admin").await?;
    let ask = connect(&app, &producer);
    let first = producer.ask(&ask).await?;
    let open = "outbox WHERE done_at IS NULL";
    eventually(|| async { Ok((count(&app, open).await? == 0).then_some(())) }).await?;
    let row = app.row("SELECT body, routing_key FROM outbox WHERE kind = 'reply'").await?;
    let id = ask.message_id.as_deref();
    let expected = json!({ "producer": producer.user, "messageId": id, "correlationId": id });
    assert_eq!(row["body"], expected, "ids alone");
    app.execute("UPDATE outbox SET done_at = NULL, available_at = app_now() - interval '1 h' WHERE kind = 'reply'")
        .await?;
    let second = producer.told().await?;
    assert_eq!((second.message_id, second.body), (first.message_id, first.body));
    app.finish().await
}
