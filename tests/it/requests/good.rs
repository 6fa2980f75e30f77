//! What a producer asks for is done.

use latchkey_tests::app::{Options, worn};
use latchkey_tests::{Person, TestApp};
use serde_json::{Value, json};

use super::{about, connect, linked, text};

/// The whole life of an account, without a single request over HTTP by the application.
#[tokio::test(flavor = "multi_thread")]
async fn a_producer_connects_refreshes_and_disconnects() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let mut producer = linked(&app, "admin").await?;
    let ask = connect(&app, &producer);
    let ready = producer.ask(&ask).await?;
    assert_eq!(ready.kind, "connect.ready", "{ready:?}");
    assert_eq!(ready.correlation_id, ask.message_id, "what it answers is known by its message id");
    assert_eq!(ready.content_type.as_deref(), Some("application/json"));
    assert!(ready.timestamp.is_some() && ready.message_id.is_some(), "{ready:?}");
    let members: Vec<&String> = ready.body.as_object().into_iter().flatten().map(|m| m.0).collect();
    assert_eq!(members, ["authorizeUrl", "connectId", "connectUrl", "expiresAt", "state"]);
    assert!(text(&ready.body["connectUrl"]).starts_with(app.http.base()), "{ready:?}");

    app.approve(&ready.body, &Person::new("sam")?).await?.expect(303)?;
    let connected = app.ended(text(&ready.body["connectId"])).await?;
    let account = text(&connected["accountIds"][0]).to_owned();

    let refreshed = producer.ask(&about(&app, &producer, ("refresh.requested", &account))).await?;
    assert_eq!(refreshed.kind, "refresh.accepted", "{refreshed:?}");
    assert_eq!(refreshed.body, json!({ "accountId": account, "status": "connected" }));
    app.account_until(&account, |account| account["tokenGeneration"] == 2).await?;

    let gone = producer.ask(&about(&app, &producer, ("disconnect.requested", &account))).await?;
    assert_eq!(gone.kind, "disconnect.accepted", "{gone:?}");
    assert_eq!(gone.body, json!({ "accountId": account, "status": "disconnected" }));
    let event = app.event("account.disconnected", &account).await?;
    assert_eq!(event["data"]["by"], "producer", "{event:#}");
    // Whoever asks for what is so already is told that it is so.
    let again = producer.ask(&about(&app, &producer, ("disconnect.requested", &account))).await?;
    assert_eq!(again.body, gone.body);
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_come_to_every_queue_that_is_made_for_them() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let user = linked(&app, "admin").await?.user;
    for queue in ["", &app.broker_name(&format!("replies.{user}.shop"))] {
        let mut producer = app.producer_with_queue(queue).await?;
        let mut ask = connect(&app, &producer);
        ask.correlation_id = Some("order-7".to_owned());
        let ready = producer.ask(&ask).await?;
        assert_eq!(ready.kind, "connect.ready", "{}: {ready:?}", producer.reply_to);
        assert_eq!(ready.correlation_id.as_deref(), Some("order-7"));
        producer.delete_queue().await?;
    }
    app.finish().await
}

/// The routing key says what the type left unsaid; and all that a connect can be told over HTTP, but a
/// password, it can be told here.
#[tokio::test(flavor = "multi_thread")]
async fn a_connect_is_told_as_much_as_over_http() -> anyhow::Result<()> {
    let app = TestApp::start_with(Options { platforms: worn(&["BLUESKY"]), ..Options::default() });
    let app = app.await?;
    let mut producer = linked(&app, "owner").await?;
    let profile = json!({ "name": "Sam" });
    let profile = app.http.post(&app.path("/profiles"), &profile).await?.expect(201)?.json();
    let body = json!({
        "workspaceId": app.owner.workspace_id, "platform": "SANDBOX", "binding": "browser",
        "redirectUrl": "https://app.example/done", "profileId": profile["id"],
        "scopes": ["profile"], "metadata": { "order": 7 },
    });
    let mut ask = producer.request("connect.requested", &body);
    ask.kind = None;
    let ready = producer.ask(&ask).await?;
    assert_eq!(ready.kind, "connect.ready", "{ready:?}");
    let bound = (&ready.body["authorizeUrl"], &ready.body["state"]);
    assert_eq!(bound, (&Value::Null, &Value::Null), "it is bound to a browser");
    let path = app.path(&format!("/connects/{}", text(&ready.body["connectId"])));
    let told = app.http.get(&path).await?.expect(200)?.json();
    for field in ["platform", "redirectUrl", "profileId", "metadata", "binding"] {
        assert_eq!(told[field], body[field], "{field} of {told:#}");
    }

    let body = json!({ "workspaceId": app.owner.workspace_id, "platform": "BLUESKY" });
    let ready = producer.ask(&producer.request("connect.requested", &body)).await?;
    assert_eq!(ready.body["authorizeUrl"], ready.body["connectUrl"], "it is a form of ours");
    app.finish().await
}

/// Nobody waits for the answer: it is the event.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_reply_to_is_answered_by_the_event() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let producer = linked(&app, "admin").await?;
    let mut events = app.tap("events").await?;
    let mut ask = connect(&app, &producer);
    ask.reply_to = None;
    producer.publish(&ask).await?;
    let started = events.next_of_each(&["connect.started"]).await?;
    assert_eq!(started[0]["workspaceId"], json!(app.owner.workspace_id));
    let replies = app.row("SELECT count(*) AS n FROM outbox WHERE kind = 'reply'").await?;
    assert_eq!(replies["n"], 0);
    app.finish().await
}
