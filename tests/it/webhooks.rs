//! Webhooks as their receivers see them.

mod disabling;
mod isolation;
mod log;
mod manners;
mod replay;
mod schedule;
mod signing;

use axum::http::StatusCode;
use chrono::TimeDelta;
use latchkey_tests::TestApp;
use latchkey_tests::app::{PATIENCE, eventually};
use serde_json::{Value, json};

/// An endpoint of its own, beside the one that the app's receiver has.
struct Endpoint {
    path: String,
    id: String,
}

impl Endpoint {
    async fn make(app: &TestApp, url: &str, types: &[&str]) -> anyhow::Result<Self> {
        let body = json!({ "url": url, "eventTypes": types });
        let made = app.http.post("/v1/webhook-endpoints", &body).await?.expect(201)?.json();
        let id = made["id"].as_str().unwrap_or_default().to_owned();
        Ok(Self { path: format!("/v1/webhook-endpoints/{id}"), id })
    }

    async fn get(&self, app: &TestApp) -> anyhow::Result<Value> {
        Ok(app.http.get(&self.path).await?.expect(200)?.json())
    }

    /// Sends a test; answers the delivery's id.
    async fn test(&self, app: &TestApp) -> anyhow::Result<String> {
        let path = format!("{}/test", self.path);
        let delivery = app.http.post(&path, &json!({})).await?.expect(202)?.json();
        Ok(delivery["id"].as_str().unwrap_or_default().to_owned())
    }

    async fn deliveries(&self, app: &TestApp) -> anyhow::Result<Vec<Value>> {
        let path = format!("{}/deliveries", self.path);
        let list = app.http.get(&path).await?.expect(200)?.json();
        Ok(list["data"].as_array().cloned().unwrap_or_default())
    }

    /// Waits until its newest delivery is as wanted.
    async fn until(
        &self,
        app: &TestApp,
        is_wanted: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let found = eventually(|| async {
            let newest = self.deliveries(app).await?.into_iter().next().unwrap_or_default();
            Ok(is_wanted(&newest).then_some(newest))
        });
        match found.await {
            Ok(found) => Ok(found),
            Err(error) => Err(error.context(format!("{:#?}", self.deliveries(app).await?))),
        }
    }

    /// Waits until so many attempts of the newest delivery have ended.
    async fn until_tried(&self, app: &TestApp, times: usize) -> anyhow::Result<Value> {
        let ended = |attempt: &Value| !attempt["durationMs"].is_null();
        self.until(app, |delivery| {
            let attempts = delivery["attempts"].as_array();
            attempts.is_some_and(|all| all.len() == times && all.iter().all(ended))
        })
        .await
    }
}

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
    // The receiver has answered before the worker has noted the attempt.
    app.until_none("webhook_deliveries WHERE attempts <> 1 OR attempt_until IS NOT NULL").await?;
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
