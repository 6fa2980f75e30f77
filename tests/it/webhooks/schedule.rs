//! When a delivery is tried again.

use chrono::{DateTime, TimeDelta};
use latchkey_tests::TestApp;
use serde_json::Value;

use super::Endpoint;
use crate::strange::{Strange, says};

/// A tenth more than the schedule says, in seconds.
const WAITS: [i64; 9] = [6, 331, 1981, 7921, 19_801, 39_601, 55_441, 79_201, 95_041];

fn seconds_until_next(delivery: &Value) -> anyhow::Result<i64> {
    let attempts = delivery["attempts"].as_array().cloned().unwrap_or_default();
    let last = attempts.last().cloned().unwrap_or_default();
    let at = DateTime::parse_from_rfc3339(last["at"].as_str().unwrap_or_default())?;
    let next = delivery["nextAttemptAt"].as_str().unwrap_or_default();
    Ok((DateTime::parse_from_rfc3339(next)? - at).num_seconds())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schedule_is_walked_to_its_end_with_one_id() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let strange = Strange::start(vec![says(500, "", "no\x07 thanks\0")]).await?;
    let endpoint = Endpoint::make(&app, &strange.url(), &["account.connected"]).await?;
    endpoint.test(&app).await?;
    for (made, wait) in WAITS.iter().enumerate() {
        let delivery = endpoint.until_tried(&app, made + 1).await?;
        assert_eq!(delivery["status"], "pending");
        let planned = seconds_until_next(&delivery)?;
        let (least, most) = ((wait - 1) * 9 / 11 - 1, wait + 1);
        assert!((least..=most).contains(&planned), "{made}: {least} <= {planned} <= {most}");
        app.clock.advance(TimeDelta::seconds(*wait));
    }
    let delivery = endpoint.until_tried(&app, 10).await?;
    assert_eq!(delivery["status"], "failed");
    assert!(delivery["nextAttemptAt"].is_null() && !delivery["endedAt"].is_null(), "{delivery}");
    for (number, attempt) in delivery["attempts"].as_array().into_iter().flatten().enumerate() {
        assert_eq!(attempt["number"], number + 1);
        assert_eq!((attempt["status"].as_i64(), attempt["error"].is_null()), (Some(500), false));
        assert_eq!(attempt["answer"], "no\u{fffd} thanks\u{fffd}");
    }
    let came = strange.came();
    assert!(came.iter().all(|one| one.id == delivery["eventId"]), "{came:?}");
    assert!(came.windows(2).all(|two| two[0].timestamp < two[1].timestamp), "{came:?}");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_says_when_it_wants_to_be_asked() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let dated =
        "date: Sun, 06 Nov 1994 08:49:37 GMT\r\nretry-after: Sun, 06 Nov 1994 09:49:37 GMT\r\n";
    let strange = Strange::start(vec![
        says(429, "retry-after: 600\r\n", ""),
        says(503, dated, ""),
        says(500, "retry-after: 99999999999\r\n", ""),
        says(500, "retry-after: soon\r\n", ""),
        says(204, "", ""),
    ])
    .await?;
    let endpoint = Endpoint::make(&app, &strange.url(), &["account.connected"]).await?;
    endpoint.test(&app).await?;
    for (made, asked) in [600, 3600, 86_400].into_iter().enumerate() {
        let delivery = endpoint.until_tried(&app, made + 1).await?;
        let wait = seconds_until_next(&delivery)?;
        assert!((asked..asked + 20).contains(&wait), "{asked}: {wait}");
        app.clock.advance(TimeDelta::seconds(asked + 20));
    }
    let wait = seconds_until_next(&endpoint.until_tried(&app, 4).await?)?;
    assert!((6400..8000).contains(&wait), "nonsense is no wish: {wait}");
    assert!(!endpoint.get(&app).await?["failingSince"].is_null());
    app.clock.advance(TimeDelta::seconds(8000));
    assert_eq!(endpoint.until_tried(&app, 5).await?["status"], "delivered");
    assert!(endpoint.get(&app).await?["failingSince"].is_null(), "success clears it");
    app.finish().await
}
