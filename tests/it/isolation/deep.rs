//! A tenant stores what is nested very deep, or a row that cannot be read stands among those of others.

use latchkey_tests::TestApp;
use latchkey_tests::app::Options;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::requests::{connect, linked};

const JSON: &str = "application/json";

fn nested(depth: usize) -> String {
    format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth))
}

/// Whichever way it comes, it is refused, and nothing of it is stored.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_nested_very_deep_is_refused_at_every_door() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let metadata = nested(126);
    for (path, rest) in [
        (app.path("/connects"), r#""platform": "SANDBOX""#),
        (app.path("/profiles"), r#""name": "deep""#),
    ] {
        let body = format!(r#"{{{rest}, "metadata": {metadata}}}"#);
        let request = app.http.request(Method::POST, &path);
        let answer = app.http.send(request.header(CONTENT_TYPE, JSON).body(body)).await?;
        assert_eq!((answer.status, answer.code().as_str()), (400, "INVALID_JSON"), "{path}");
        assert!(answer.json()["detail"].to_string().contains("at most 32 deep"), "{}", answer.text);
    }
    let mut producer = linked(&app, "admin").await?;
    let mut ask = connect(&app, &producer);
    let workspace = &app.owner.workspace_id;
    ask.body = format!(
        r#"{{"workspaceId": "{workspace}", "platform": "SANDBOX", "metadata": {metadata}}}"#
    )
    .into_bytes();
    let told = producer.ask(&ask).await?;
    assert_eq!(
        (told.kind.as_str(), &told.body["code"]),
        ("connect.rejected", &json!("INVALID_JSON"))
    );
    assert_eq!(app.row("SELECT count(*) AS n FROM connects").await?["n"], 0);
    // As deep as is allowed it goes all the way: to the event, the queue and the webhook.
    let deep: Value = serde_json::from_str(&nested(31))?;
    let started = app.start_connect(json!({ "metadata": deep })).await?;
    let id = started["connectId"].as_str().unwrap_or_default();
    assert_eq!(app.event("connect.started", id).await?["data"]["metadata"], deep);
    app.finish().await
}

/// An earlier version stored it, or somebody's hand did: the relay passes on what can be passed on.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cannot_be_read_holds_no_other_back() -> anyhow::Result<()> {
    let mut app = TestApp::start_with(Options { worker: false, ..Options::default() }).await?;
    let mut seen = app.tap("events").await?;
    let rows = [
        ("evt_deep", format!(r#"{{"type": "connect.started", "data": {}}}"#, nested(500))),
        ("evt_typeless", r#"{"data": 1}"#.to_owned()),
        ("evt_innocent", r#"{"type": "connect.started", "data": 2}"#.to_owned()),
    ];
    for (id, body) in &rows {
        app.execute(&format!(
            "INSERT INTO outbox (id, kind, routing_key, body, available_at, created_at)
             VALUES ('{id}', 'event', 'ws.connect.started', '{body}', now() - interval '1 min', now())"
        ))
        .await?;
    }
    app.execute(
        "INSERT INTO outbox (id, kind, routing_key, body, available_at, created_at)
         VALUES ('msg_reply', 'reply', 'nowhere', '[]', now() - interval '1 min', now())",
    )
    .await?;
    app.add_worker_with(&app.worker_settings(Options::default().pools, 4)).await?;
    app.until_none("outbox WHERE done_at IS NULL").await?;
    let passed = [seen.next().await?.1, seen.next().await?.1];
    assert!(passed.iter().any(|body| body.len() > 2500), "the deep one, as it stood");
    let aside = "SELECT json_agg(message_id ORDER BY message_id) AS ids FROM dead_letters WHERE reason = 'unreadable'";
    assert_eq!(app.row(aside).await?["ids"], json!(["evt_typeless", "msg_reply"]));
    app.expect_dead_letters(2);
    app.finish().await
}
