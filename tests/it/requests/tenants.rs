//! What a producer may touch, and where its answers may go.

use latchkey_tests::TestApp;
use latchkey_tests::app::Options;
use serde_json::json;

use super::{about, connect, count, dead_letters, link, linked, text};

/// Queues that a producer might like to have us write to.
fn forbidden(app: &TestApp) -> Vec<String> {
    let ours = [
        "refresh",
        "connect",
        "revocation",
        "webhook",
        "requests",
        "dead",
        "replies",
        "replies.",
        "replies.another-producer",
    ];
    let others = [
        "",
        " ",
        "orders",
        "amq.rabbitmq.trace",
        "amq.rabbitmq.log",
        "amq.gen-",
        "other.replies.x",
        // RabbitMQ closes the connection that publishes to this one.
        "amq.rabbitmq.reply-to.g1h3",
    ];
    ours.iter().map(|queue| app.broker_name(queue)).chain(others.map(ToOwned::to_owned)).collect()
}

/// The promise of producers, in one test.
#[tokio::test(flavor = "multi_thread")]
async fn with_trust_off_a_linked_producer_cannot_touch_another_tenant_inject_or_connect_twice()
-> anyhow::Result<()> {
    // Nobody consumes the internal queues: what is written into one stays there to be seen.
    let pools = vec![latchkey_worker::settings::Pool::Requests];
    let mut app = TestApp::start_with(Options { pools, ..Options::default() }).await?;
    let mut producer = linked(&app, "admin").await?;
    let rival = app.another_tenant().await?;

    // No receiver: what waits in the queue of webhooks would be ours.
    let endpoints = app.http.get("/v1/webhook-endpoints").await?.expect(200)?.json();
    for endpoint in endpoints["data"].as_array().into_iter().flatten() {
        let path = format!("/v1/webhook-endpoints/{}", text(&endpoint["id"]));
        app.http.delete(&path).await?.expect(204)?;
    }

    // Another tenant.
    let body = json!({ "workspaceId": rival.workspace_id, "platform": "SANDBOX" });
    let told = producer.ask(&producer.request("connect.requested", &body)).await?;
    assert_eq!((told.kind.as_str(), text(&told.body["code"])), ("connect.rejected", "NOT_FOUND"));

    // An internal queue.
    let queues = forbidden(&app);
    for queue in &queues {
        let mut ask = connect(&app, &producer);
        ask.reply_to = Some(queue.clone());
        producer.publish(&ask).await?;
    }
    app.expect_dead_letters(queues.len());
    let reasons = dead_letters(&app, i64::try_from(queues.len())?).await?;
    assert!(reasons.iter().all(|reason| reason.starts_with("REPLY_TO_FORBIDDEN: ")), "{reasons:?}");
    assert_eq!(count(&app, "connects").await?, 0, "what cannot be answered so is not done");
    assert_eq!(app.waiting().await?, Vec::<String>::new(), "nothing came to any of our queues");

    // Twice.
    let ask = connect(&app, &producer);
    let first = producer.ask(&ask).await?;
    assert_eq!(first.kind, "connect.ready", "{first:?}");
    assert_eq!(producer.ask(&ask).await?.body, first.body);
    assert_eq!(count(&app, "connects").await?, 1);
    app.add_worker_with(&app.worker_settings(Options::default().pools, 4)).await?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_reaches_what_its_key_reaches() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let sam = app.connect("sam").await?;
    let other = json!({ "name": "Other" });
    let other = app.http.post("/v1/workspaces", &other).await?.expect(201)?.json();
    let mut producer = linked(&app, "admin").await?;

    // One's own account, under the name of another workspace of the same organisation.
    for kind in ["refresh.requested", "disconnect.requested"] {
        let body = json!({ "workspaceId": other["id"], "accountId": sam.account_id });
        let told = producer.ask(&producer.request(kind, &body)).await?;
        assert_eq!(text(&told.body["code"]), "NOT_FOUND", "{told:?}");
    }
    // A key that reaches one workspace alone reaches no other.
    let key = json!({ "name": "one", "role": "admin", "workspaceId": other["id"] });
    let key = link(&app, &key).await?;
    let told = producer.ask(&connect(&app, &producer)).await?;
    assert_eq!(text(&told.body["code"]), "NOT_FOUND", "{told:?}");
    let body = json!({ "workspaceId": other["id"], "platform": "SANDBOX" });
    let told = producer.ask(&producer.request("connect.requested", &body)).await?;
    assert_eq!(told.kind, "connect.ready", "{told:?}");

    // A key that is revoked is none.
    app.http.delete(&format!("/v1/api-keys/{key}")).await?.expect(204)?;
    let told = producer.ask(&producer.request("connect.requested", &body)).await?;
    assert_eq!(text(&told.body["code"]), "PRODUCER_UNKNOWN", "{told:?}");
    // And one that may only look cannot ask.
    link(&app, &json!({ "name": "looks", "role": "viewer" })).await?;
    let told =
        producer.ask(&about(&app, &producer, ("refresh.requested", &sam.account_id))).await?;
    assert_eq!(text(&told.body["code"]), "FORBIDDEN_ROLE", "{told:?}");
    assert_eq!(app.account(&sam.account_id).await?["status"], "connected");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_linked_is_nobody() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let mut producer = app.producer().await?;
    let told = producer.ask(&connect(&app, &producer)).await?;
    assert_eq!(
        (told.kind.as_str(), text(&told.body["code"])),
        ("connect.rejected", "PRODUCER_UNKNOWN")
    );
    assert!(text(&told.body["message"]).contains("latchkey-api producers link"), "{told:?}");
    link(&app, &json!({ "name": "producer", "role": "admin" })).await?;
    let mut nameless = connect(&app, &producer);
    nameless.user_id = None;
    let told = producer.ask(&nameless).await?;
    assert_eq!(text(&told.body["code"]), "PRODUCER_UNKNOWN", "{told:?}");
    // Nothing is kept of what nobody asked: the same message is done once it may be.
    assert_eq!(count(&app, "requests").await?, 0);
    let mut forged = connect(&app, &producer);
    forged.user_id = Some("somebody-else".to_owned());
    let refused = producer.publish(&forged).await.expect_err("RabbitMQ checks who it is");
    assert!(format!("{refused:?}").contains("user_id property set to"), "{refused:?}");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn with_trust_on_whoever_may_publish_may_ask_and_a_linked_user_keeps_to_its_key()
-> anyhow::Result<()> {
    let app = TestApp::start_with(Options { trust_producers: true, ..Options::default() }).await?;
    let rival = app.another_tenant().await?;
    let mut producer = app.producer().await?;
    let body = json!({ "workspaceId": rival.workspace_id, "platform": "SANDBOX" });
    let ask = producer.request("connect.requested", &body);
    let named = producer.ask(&ask).await?;
    assert_eq!(named.kind, "connect.ready", "{named:?}");
    // Without a user, message ids share one space: which is another one than any user's.
    let mut nameless = ask.clone();
    nameless.user_id = None;
    let told = producer.ask(&nameless).await?;
    assert_ne!(told.body["connectId"], named.body["connectId"]);
    assert_eq!(producer.ask(&nameless).await?.body, told.body);

    let key = link(&app, &json!({ "name": "producer", "role": "admin" })).await?;
    let told = producer.ask(&producer.request("connect.requested", &body)).await?;
    assert_eq!(text(&told.body["code"]), "NOT_FOUND", "{told:?}");
    assert_eq!(producer.ask(&connect(&app, &producer)).await?.kind, "connect.ready");
    app.http.delete(&format!("/v1/api-keys/{key}")).await?.expect(204)?;
    let told = producer.ask(&connect(&app, &producer)).await?;
    assert_eq!(text(&told.body["code"]), "PRODUCER_UNKNOWN", "{told:?}");
    app.finish().await
}
