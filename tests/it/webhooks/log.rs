//! The delivery log, tests, and what is delivered again by hand.

use latchkey_tests::TestApp;
use serde_json::json;

use super::Endpoint;
use crate::strange::{Strange, says};

#[tokio::test(flavor = "multi_thread")]
async fn a_test_goes_to_one_endpoint_alone_and_into_no_log() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let strange = Strange::start(vec![says(200, "", "hello")]).await?;
    let endpoint = Endpoint::make(&app, &strange.url(), &["account.connected"]).await?;
    let mut tap = app.tap("events").await?;
    endpoint.test(&app).await?;
    let delivery = endpoint.until(&app, |delivery| delivery["status"] == "delivered").await?;
    assert_eq!(delivery["eventType"], "webhook_endpoint.test");
    assert_eq!(delivery["attempts"][0]["answer"], "hello");
    assert_eq!(strange.came()[0].id, delivery["eventId"]);
    let events = app.http.get("/v1/events").await?.expect(200)?;
    assert!(!events.text.contains("webhook_endpoint.test"), "{}", events.text);
    assert!(tap.rest().await.is_empty(), "nothing is on RabbitMQ");
    assert!(app.receiver.deliveries().is_empty(), "and nobody else hears of it");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_read_newest_first_page_by_page() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let strange = Strange::start(vec![says(200, "", ""), says(400, "", "")]).await?;
    let endpoint = Endpoint::make(&app, &strange.url(), &["account.connected"]).await?;
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(endpoint.test(&app).await?);
        endpoint.until_tried(&app, 1).await?;
    }
    made.reverse();
    let path = format!("{}/deliveries", endpoint.path);
    let ids = |list: &serde_json::Value| {
        let rows = list["data"].as_array().cloned().unwrap_or_default();
        rows.iter().map(|row| row["id"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let first = app.http.get(&format!("{path}?limit=2")).await?.expect(200)?.json();
    assert_eq!(ids(&first), made[..2]);
    let cursor = first["nextCursor"].as_str().unwrap_or_default();
    let second = app.http.get(&format!("{path}?limit=2&cursor={cursor}")).await?.expect(200)?;
    assert_eq!(ids(&second.json()), made[2..]);
    let taken = app.http.get(&format!("{path}?status=delivered")).await?.expect(200)?.json();
    assert_eq!(ids(&taken), made[2..]);
    app.http.get(&format!("{path}?status=lost")).await?.expect(400)?;
    app.http.get(&format!("{path}?cursor=x")).await?.expect(400)?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_is_delivered_again_from_the_beginning_of_the_schedule() -> anyhow::Result<()>
{
    let app = TestApp::start().await?;
    let strange =
        Strange::start(vec![says(200, "", ""), says(500, "", ""), says(200, "", "")]).await?;
    let endpoint = Endpoint::make(&app, &strange.url(), &["connect.started"]).await?;
    let started = app.start_connect(json!({})).await?;
    let event = app.event("connect.started", started["connectId"].as_str().unwrap_or_default());
    let event = event.await?;
    let taken = endpoint.until(&app, |delivery| delivery["status"] == "delivered").await?;
    let path = format!("{}/deliveries/{}", endpoint.path, taken["id"].as_str().unwrap_or_default());
    let again = app.http.post(&format!("{path}/redeliver"), &json!({})).await?.expect(202)?.json();
    assert_eq!((&again["status"], &again["endedAt"]), (&json!("pending"), &json!(null)));
    endpoint.until_tried(&app, 2).await?;
    app.clock.advance(chrono::TimeDelta::seconds(6));
    let twice = endpoint.until_tried(&app, 3).await?;
    assert_eq!((&twice["status"], &twice["id"]), (&json!("delivered"), &taken["id"]));
    assert!(strange.came().iter().all(|came| came.id == event["id"]));
    let stranger = format!("{}/deliveries/dlv_01JCZ5M2V8Q4T6W8Y0A2B4C6D8/redeliver", endpoint.path);
    app.http.post(&stranger, &json!({})).await?.expect(404)?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organisation_has_two_hundred_endpoints_at_most() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    app.execute(
        "INSERT INTO webhook_endpoints (id, organisation_id, url, sealed_secret, created_at, disabled_at)
         SELECT 'whe_' || lpad(n::text, 26, '0'), o.id, 'https://example.com/', '', now(), now()
         FROM organisations o, generate_series(1, 198) n",
    )
    .await?;
    let body = json!({ "url": "https://example.com/", "eventTypes": ["account.connected"] });
    app.http.post("/v1/webhook-endpoints", &body).await?.expect(201)?;
    let refused = app.http.post("/v1/webhook-endpoints", &body).await?.expect(409)?;
    assert_eq!(refused.code(), "TOO_MANY_WEBHOOK_ENDPOINTS");
    app.finish().await
}
