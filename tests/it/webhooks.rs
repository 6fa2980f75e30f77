//! Webhooks as their receivers see them.

use axum::http::StatusCode;
use chrono::TimeDelta;
use latchkey_tests::TestApp;
use latchkey_tests::app::{PATIENCE, eventually};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn an_independent_implementation_verifies_the_signature() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let body = json!({ "url": app.receiver.url(), "eventTypes": ["account.connected"] });
    let endpoint = app.http.post("/v1/webhook-endpoints", &body).await?.expect(201)?.json();
    app.connect("sam").await?;
    let secret = endpoint["secret"].as_str().unwrap_or_default();
    let webhook = standardwebhooks::Webhook::new(secret)?;
    let delivery = app
        .receiver
        .wait_for(|delivery| webhook.verify(&delivery.body, &delivery.headers).is_ok(), PATIENCE)
        .await?;
    assert_eq!(delivery.event["type"], "account.connected");
    assert_eq!(delivery.event["id"], delivery.id.as_str(), "the webhook's id is the event's");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_delivery_is_tried_again_with_the_same_id() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    app.receiver.answer_next(StatusCode::INTERNAL_SERVER_ERROR, None);
    let started = app.start_connect(json!({})).await?;
    let id = started["connectId"].as_str().unwrap_or_default();
    let first = app.event("connect.started", id).await?;
    eventually(|| async {
        Ok((app.row("SELECT attempts FROM webhook_deliveries WHERE attempt_until IS NULL").await?
            ["attempts"]
            == 1)
            .then_some(()))
    })
    .await?;
    app.clock.advance(TimeDelta::seconds(6));
    eventually(|| async {
        let same =
            app.receiver.deliveries().iter().filter(|delivery| delivery.id == first["id"]).count();
        Ok((same == 2).then_some(()))
    })
    .await?;
    eventually(|| async {
        Ok((app.row("SELECT status FROM webhook_deliveries").await?["status"] == "delivered")
            .then_some(()))
    })
    .await?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_gone_is_disabled() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    app.receiver.answer_next(StatusCode::GONE, None);
    app.start_connect(json!({})).await?;
    eventually(|| async {
        let endpoints = app.http.get("/v1/webhook-endpoints").await?.expect(200)?.json();
        Ok((!endpoints["data"][0]["disabledAt"].is_null()).then_some(()))
    })
    .await?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_on_an_inner_network_is_refused() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    for url in [
        "http://10.0.0.1/",
        "https://169.254.169.254/latest",
        "https://user@example.com/",
        "ftp://example.com/",
        "nonsense",
    ] {
        let answer = app.http.post("/v1/webhook-endpoints", &json!({ "url": url })).await?;
        assert_eq!(answer.status, 400, "{url}: {}", answer.text);
        assert!(answer.json()["errors"].to_string().contains("/url"), "{}", answer.text);
    }
    app.finish().await
}
