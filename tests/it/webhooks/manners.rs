//! Receivers that answer in ways which cost time, memory or certainty.

use chrono::TimeDelta;
use latchkey_tests::TestApp;
use serde_json::Value;

use super::Endpoint;
use crate::strange::{Manner, Strange, says};

const FLOOD: usize = 256 * 1024 * 1024;

async fn receiver(app: &TestApp, manners: Vec<Manner>) -> anyhow::Result<(Strange, Endpoint)> {
    let strange = Strange::start(manners).await?;
    let endpoint = Endpoint::make(app, &strange.url(), &["account.connected"]).await?;
    endpoint.test(app).await?;
    Ok((strange, endpoint))
}

fn took(delivery: &Value) -> i64 {
    delivery["attempts"][0]["durationMs"].as_i64().unwrap_or(i64::MAX)
}

/// All at once, since some of them take 15 s.
#[tokio::test(flavor = "multi_thread")]
async fn each_costs_its_own_endpoint_alone_and_no_more_than_15_seconds() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let (_silent, silent) = receiver(&app, vec![Manner::Silent]).await?;
    let (_drips, drips) = receiver(&app, vec![Manner::Drips]).await?;
    let (floods, flooded) = receiver(&app, vec![Manner::Floods(FLOOD)]).await?;
    let (hangs, hung) = receiver(&app, vec![Manner::HangsUp, says(204, "", "")]).await?;
    let (moved, led) = receiver(&app, vec![says(302, "location: /elsewhere\r\n", "")]).await?;
    let plain = Strange::start(vec![says(200, "", "")]).await?;
    let tls = format!("https://127.0.0.1:{}/", plain.port());
    let tls = Endpoint::make(&app, &tls, &["account.connected"]).await?;
    tls.test(&app).await?;

    let redirect = led.until_tried(&app, 1).await?;
    assert_eq!(redirect["attempts"][0]["status"], 302);
    assert_eq!(redirect["status"], "pending", "3xx is a failure");
    assert_eq!(moved.connections(), 1, "and is not followed");
    let flood = flooded.until_tried(&app, 1).await?;
    assert_eq!(flood["status"], "delivered");
    assert!(floods.written() < FLOOD / 4, "it was not read to its end: {}", floods.written());
    assert_eq!(flood["attempts"][0]["answer"].as_str().map(str::len), Some(1024));
    let refused = tls.until_tried(&app, 1).await?;
    assert!(refused["attempts"][0]["status"].is_null() && !refused["error"].is_null());
    assert!(plain.came().is_empty(), "nothing was said in plain");

    // Meanwhile it may have been tried again.
    let cut = hung.until(&app, |delivery| delivery["attempts"][0]["durationMs"].is_i64()).await?;
    assert!(cut["attempts"][0]["status"].is_null(), "{cut}");
    app.clock.advance(TimeDelta::seconds(6));
    assert_eq!(hung.until_tried(&app, 2).await?["status"], "delivered");
    let came = hangs.came();
    assert_eq!(came[0].id, came[1].id, "what was perhaps received comes with the same id");

    let endless = drips.until(&app, |delivery| delivery["status"] == "delivered").await?;
    assert!(took(&endless) < 17_000, "{endless}");
    let timed_out = silent.until(&app, |delivery| delivery["attempts"][0]["durationMs"].is_i64());
    let timed_out = timed_out.await?;
    assert!((14_000..17_000).contains(&took(&timed_out)), "{timed_out}");
    let paces = format!(
        "SELECT (SELECT pace FROM webhook_endpoints WHERE id = '{}') AS silent,
                (SELECT pace FROM webhook_endpoints WHERE id = '{}') AS slow",
        silent.id, drips.id
    );
    let paces = app.row(&paces).await?;
    assert_eq!((paces["silent"].as_str(), paces["slow"].as_str()), (Some("silent"), Some("slow")));
    app.finish().await
}

/// The worker was gone after it had sent, and before it wrote down what came of it.
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_nobody_ended_is_told_of_and_made_again() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let strange = Strange::start(vec![says(500, "", ""), says(200, "", "")]).await?;
    let endpoint = Endpoint::make(&app, &strange.url(), &["account.connected"]).await?;
    endpoint.test(&app).await?;
    endpoint.until_tried(&app, 1).await?;
    app.execute(
        "UPDATE webhook_attempts SET duration_ms = NULL, http_status = NULL, error = NULL, answer = NULL;
         UPDATE webhook_deliveries SET attempt_until = next_attempt_at WHERE status = 'pending'",
    )
    .await?;
    app.clock.advance(TimeDelta::seconds(31));
    let delivered = endpoint.until(&app, |delivery| delivery["status"] == "delivered").await?;
    let first = delivered["attempts"][0]["error"].as_str().unwrap_or_default();
    assert!(first.contains("the worker was gone"), "{delivered}");
    assert_eq!(delivered["attempts"][1]["status"], 200);
    app.finish().await
}
