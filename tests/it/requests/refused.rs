//! What cannot be done is told with its code, or where nobody listens kept for a person.

use latchkey_tests::TestApp;
use latchkey_tests::app::Options;
use serde_json::{Value, json};

use super::{about, connect, count, dead_letters, link, linked, text};

/// A provider whose issuer does not answer.
const MUTE: &str = "[platforms.MUTE]\nname = \"Mute\"\nissuer = \"http://127.0.0.1:1\"\nscopes = []\n\
    client_id = \"c\"\nclient_secret = { value = \"s\" }\n";

const NOBODY: &str = "01JCZ5M2V8Q4T6W8Y0A2B4C6D8";

/// Bodies of a connect that is refused, with the code.
fn bad_connects(app: &TestApp) -> Vec<(Value, &'static str)> {
    let with = |more: Value| {
        let mut body = json!({ "workspaceId": app.owner.workspace_id, "platform": "SANDBOX" });
        for (name, value) in more.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        body
    };
    vec![
        (json!({}), "VALIDATION_FAILED"),
        (json!([]), "VALIDATION_FAILED"),
        (with(json!({ "colour": "red" })), "VALIDATION_FAILED"),
        (with(json!({ "workspaceId": "ws_1" })), "VALIDATION_FAILED"),
        (with(json!({ "scopes": ["two words"] })), "VALIDATION_FAILED"),
        (with(json!({ "metadata": { "a": "x".repeat(5000) } })), "VALIDATION_FAILED"),
        (with(json!({ "binding": "claim" })), "VALIDATION_FAILED"),
        (
            with(json!({ "credentials": { "identifier": "a", "password": "b" } })),
            "VALIDATION_FAILED",
        ),
        (with(json!({ "platform": "NOWHERE" })), "PLATFORM_UNKNOWN"),
        (with(json!({ "platform": "X" })), "PLATFORM_NOT_CONFIGURED"),
        (with(json!({ "redirectUrl": "http://app.example/" })), "REDIRECT_NOT_ALLOWED"),
        (with(json!({ "workspaceId": format!("ws_{NOBODY}") })), "NOT_FOUND"),
        (with(json!({ "profileId": format!("prof_{NOBODY}") })), "PROFILE_NOT_FOUND"),
        (with(json!({ "appId": format!("app_{NOBODY}") })), "APP_NOT_FOUND"),
        (with(json!({ "accountId": format!("acc_{NOBODY}") })), "ACCOUNT_NOT_FOUND"),
        (with(json!({ "metadata": { "a": "x".repeat(70_000) } })), "BODY_TOO_LARGE"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connect_is_refused_in_the_words_of_the_http_api() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let mut producer = linked(&app, "admin").await?;
    for (body, code) in bad_connects(&app) {
        let told = producer.ask(&producer.request("connect.requested", &body)).await?;
        assert_eq!(
            (told.kind.as_str(), text(&told.body["code"])),
            ("connect.rejected", code),
            "{body}"
        );
        assert!(text(&told.body["message"]).len() > 20, "{told:?}");
        if code == "VALIDATION_FAILED" {
            assert!(told.body["errors"][0]["message"].is_string(), "{told:?}");
        }
    }
    let mut ask = connect(&app, &producer);
    for body in ["", "{", "not json", "\u{0}\u{1}", "{\"workspaceId\":"] {
        ask.body = body.into();
        ask.message_id = Some(format!("bad-{}", hex::encode(body)));
        let told = producer.ask(&ask).await?;
        assert_eq!(text(&told.body["code"]), "INVALID_JSON", "{body}");
    }
    assert_eq!(count(&app, "connects").await?, 0);
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_says_too_little_of_itself_is_refused() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let mut producer = linked(&app, "admin").await?;
    for id in [None, Some(""), Some("two words"), Some("ümlaut"), Some("tab\t")] {
        let mut ask = connect(&app, &producer);
        ask.message_id = id.map(ToOwned::to_owned);
        ask.correlation_id = Some("order-7".to_owned());
        let told = producer.ask(&ask).await?;
        assert_eq!(text(&told.body["code"]), "MESSAGE_ID_REQUIRED", "{id:?}");
        assert_eq!(told.correlation_id.as_deref(), Some("order-7"));
    }
    for (kind, key) in
        [(Some("connect.request"), "connect.requested"), (None, "sing"), (Some(""), "")]
    {
        let mut ask = connect(&app, &producer);
        ask.kind = kind.map(ToOwned::to_owned);
        ask.routing_key = key.to_owned();
        let told = producer.ask(&ask).await?;
        let what = (told.kind.as_str(), text(&told.body["code"]));
        assert_eq!(what, ("request.rejected", "REQUEST_UNKNOWN"), "{kind:?} {key}");
        assert!(text(&told.body["message"]).contains("connect.requested"), "{told:?}");
    }
    assert_eq!(count(&app, "connects").await?, 0);
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_about_accounts_are_refused_in_the_words_of_the_http_api() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let mut producer = linked(&app, "admin").await?;
    let sam = app.connect("sam").await?;
    let gone = app.connect("tom").await?;
    app.http.delete(&app.path(&format!("/accounts/{}", gone.account_id))).await?.expect(202)?;
    let nobody = format!("acc_{NOBODY}");
    for (kind, account, code) in [
        ("refresh.requested", nobody.as_str(), "NOT_FOUND"),
        ("refresh.requested", &gone.account_id, "ACCOUNT_NOT_CONNECTED"),
        ("refresh.requested", "sam", "VALIDATION_FAILED"),
        ("disconnect.requested", &nobody, "NOT_FOUND"),
        ("disconnect.requested", "sam", "VALIDATION_FAILED"),
    ] {
        let told = producer.ask(&about(&app, &producer, (kind, account))).await?;
        let rejected = kind.replace("requested", "rejected");
        assert_eq!((told.kind, text(&told.body["code"])), (rejected, code), "{kind} {account}");
    }
    app.execute("UPDATE grants SET renewable = false").await?;
    let told =
        producer.ask(&about(&app, &producer, ("refresh.requested", &sam.account_id))).await?;
    assert_eq!(text(&told.body["code"]), "NOTHING_TO_REFRESH", "{told:?}");
    app.finish().await
}

/// What may go otherwise in a minute is kept nowhere: the same message may be sent again then.
#[tokio::test(flavor = "multi_thread")]
async fn a_platform_that_is_unavailable_is_no_final_answer() -> anyhow::Result<()> {
    let platforms = MUTE.to_owned();
    let mut app = TestApp::start_with(Options { platforms, ..Options::default() }).await?;
    let mut producer = linked(&app, "admin").await?;
    let body = json!({ "workspaceId": app.owner.workspace_id, "platform": "MUTE" });
    let mut ask = producer.request("connect.requested", &body);
    let told = producer.ask(&ask).await?;
    assert_eq!(text(&told.body["code"]), "PLATFORM_UNAVAILABLE", "{told:?}");
    assert_eq!(count(&app, "requests").await?, 0);
    ask.reply_to = None;
    producer.publish(&ask).await?;
    app.expect_dead_letters(1);
    let reasons = dead_letters(&app, 1).await?;
    assert!(reasons[0].starts_with("PLATFORM_UNAVAILABLE: "), "{reasons:?}");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_open_connects_are_refused() -> anyhow::Result<()> {
    let serve = |config: &mut latchkey_api::ServeConfig| config.common.max_open_connects = 1;
    let mut app =
        TestApp::start_with(Options { serve, worker: false, ..Options::default() }).await?;
    let mut settings = app.worker_settings(Options::default().pools, 4);
    settings.common.max_open_connects = 1;
    app.add_worker_with(&settings).await?;
    let mut producer = linked(&app, "admin").await?;
    assert_eq!(producer.ask(&connect(&app, &producer)).await?.kind, "connect.ready");
    let told = producer.ask(&connect(&app, &producer)).await?;
    assert_eq!(text(&told.body["code"]), "TOO_MANY_OPEN_CONNECTS", "{told:?}");
    app.finish().await
}

/// A queue that a library named (`amq_…`) could be another tenant's: nothing is written there, and the producer's people
/// learn it from their own log.
#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_be_answered_is_told_by_an_event() -> anyhow::Result<()> {
    let mut app = TestApp::start().await?;
    let producer = linked(&app, "admin").await?;
    let mut asks = Vec::new();
    for (queue, body, code) in [
        (Some("amq_0a1b2c3d4e5f"), None, "REPLY_TO_FORBIDDEN"),
        (None, Some("{}"), "VALIDATION_FAILED"),
    ] {
        let mut ask = connect(&app, &producer);
        ask.reply_to = queue.map(ToOwned::to_owned);
        if let Some(body) = body {
            ask.body = body.into();
        }
        producer.publish(&ask).await?;
        asks.push((ask, code));
    }
    for (ask, code) in &asks {
        let id = ask.message_id.clone().unwrap_or_default();
        let told = app.event("request.rejected", &id).await?;
        assert_eq!(told["data"]["messageId"], id);
        let data = &told["data"];
        assert_eq!((text(&data["code"]), text(&data["producer"])), (*code, &*producer.user));
        assert_eq!(text(&data["request"]), "connect.requested");
        assert!(text(&data["message"]).len() > 10, "{data}");
    }
    let named = app.event("request.rejected", "REPLY_TO_FORBIDDEN").await?;
    assert_eq!(named["workspaceId"], json!(app.owner.workspace_id), "the body names it");
    app.expect_dead_letters(2);
    // Another tenant's workspace in the body tells nothing there.
    let rival = app.another_tenant().await?;
    let body = json!({ "workspaceId": rival.workspace_id, "platform": "SANDBOX" });
    let mut ask = producer.request("connect.requested", &body);
    ask.reply_to = Some("amq_0a1b2c3d4e5f".to_owned());
    producer.publish(&ask).await?;
    let told = app.event("request.rejected", &ask.message_id.unwrap_or_default()).await?;
    assert_eq!(told["workspaceId"], Value::Null, "to the producer's organisation");
    app.expect_dead_letters(3);
    app.finish().await
}

/// Nobody can be told: a person finds it with the reason.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_and_cannot_be_answered_is_a_dead_letter() -> anyhow::Result<()> {
    let mut app = TestApp::start().await?;
    let producer = app.producer().await?;
    let unanswered = |body: &str| {
        let mut ask = connect(&app, &producer);
        (ask.reply_to, ask.body) = (None, body.into());
        ask
    };
    let mut wanted = vec!["PRODUCER_UNKNOWN: "];
    producer.publish(&unanswered("{}")).await?;
    dead_letters(&app, 1).await?;
    link(&app, &json!({ "name": "producer", "role": "admin" })).await?;
    let mut nameless = unanswered("{}");
    nameless.message_id = None;
    let mut unknown = unanswered("{}");
    unknown.kind = Some("connect.request".to_owned());
    for (ask, reason) in [
        (nameless, "MESSAGE_ID_REQUIRED: "),
        (unknown, "REQUEST_UNKNOWN: "),
        (unanswered("{"), "INVALID_JSON: "),
        (unanswered("{}"), "VALIDATION_FAILED: workspaceId: missing field"),
    ] {
        producer.publish(&ask).await?;
        wanted.push(reason);
        dead_letters(&app, i64::try_from(wanted.len())?).await?;
    }
    app.expect_dead_letters(wanted.len());
    let reasons = dead_letters(&app, i64::try_from(wanted.len())?).await?;
    for (reason, wanted) in reasons.iter().zip(wanted) {
        assert!(reason.starts_with(wanted), "{reasons:?}");
    }
    let letter =
        app.row("SELECT queue, type, headers FROM dead_letters ORDER BY id LIMIT 1").await?;
    assert_eq!(letter["queue"], app.broker_name("requests"));
    assert_eq!(letter["type"], "connect.requested");
    assert_eq!(letter["headers"]["user_id"], producer.user);
    app.finish().await
}
