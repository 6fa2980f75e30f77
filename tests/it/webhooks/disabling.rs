//! What takes an endpoint out of use, who hears of it, and how it comes back.

use chrono::TimeDelta;
use latchkey_tests::TestApp;
use latchkey_tests::app::{PATIENCE, eventually};
use serde_json::{Value, json};

use super::Endpoint;
use crate::strange::{Strange, says};

async fn until_disabled(app: &TestApp, endpoint: &Endpoint) -> anyhow::Result<Value> {
    eventually(|| async {
        let now = endpoint.get(app).await?;
        Ok((!now["disabledAt"].is_null()).then_some(now))
    })
    .await
}

/// What the other endpoint, that of the app's receiver, is told.
async fn told(app: &TestApp, endpoint: &Endpoint) -> anyhow::Result<Value> {
    let about = |event: &Value| {
        event["type"] == "webhook_endpoint.disabled"
            && event["data"]["endpointId"] == endpoint.id.as_str()
    };
    Ok(app.receiver.wait_for(|delivery| about(&delivery.event), PATIENCE).await?.event)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_gone_is_disabled_at_once() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let strange =
        Strange::start(vec![says(500, "", ""), says(410, "", "bye"), says(200, "", "")]).await?;
    let endpoint = Endpoint::make(&app, &strange.url(), &["account.connected"]).await?;
    let waiting = endpoint.test(&app).await?;
    endpoint.until_tried(&app, 1).await?;
    endpoint.test(&app).await?;
    let disabled = until_disabled(&app, &endpoint).await?;
    assert_eq!(disabled["disabledReason"], "gone");
    let event = told(&app, &endpoint).await?;
    assert_eq!(event["workspaceId"], Value::Null, "it heard the whole organisation");
    assert_eq!(event["data"]["reason"], "gone");
    assert_eq!(event["data"]["url"], strange.url());
    assert!(!event.to_string().contains("whsec_"));
    // What waited for it is given up.
    let given_up = eventually(|| async {
        let all = endpoint.deliveries(&app).await?;
        Ok(all.into_iter().find(|one| one["id"] == waiting.as_str() && one["status"] == "failed"))
    });
    assert_eq!(given_up.await?["error"], "the endpoint is disabled");

    let redeliver = format!("deliveries/{waiting}/redeliver");
    for (what, body) in
        [("test", json!({})), (&redeliver, json!({})), ("replay", json!({ "after": event["id"] }))]
    {
        let answer = app.http.post(&format!("{}/{what}", endpoint.path), &body).await?;
        assert_eq!((answer.status, answer.code()), (409, "ENDPOINT_DISABLED".to_owned()), "{what}");
    }
    let enabled =
        app.http.patch(&endpoint.path, &json!({ "disabled": false })).await?.expect(200)?;
    let enabled = enabled.json();
    for cleared in ["disabledAt", "disabledReason", "failingSince"] {
        assert!(enabled[cleared].is_null(), "{enabled}");
    }
    app.http.post(&format!("{}/{redeliver}", endpoint.path), &json!({})).await?.expect(202)?;
    strange.until_came(3).await?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn five_days_of_nothing_but_failure_are_enough() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let strange = Strange::start(vec![says(503, "", "")]).await?;
    let endpoint = Endpoint::make(&app, &strange.url(), &["account.connected"]).await?;
    endpoint.test(&app).await?;
    endpoint.until_tried(&app, 1).await?;
    let failing = endpoint.get(&app).await?;
    app.clock.advance(TimeDelta::days(5) - TimeDelta::minutes(10));
    endpoint.until_tried(&app, 2).await?;
    assert!(endpoint.get(&app).await?["disabledAt"].is_null(), "not yet");
    app.clock.advance(TimeDelta::minutes(20));
    let disabled = until_disabled(&app, &endpoint).await?;
    assert_eq!(disabled["disabledReason"], "failing");
    let event = told(&app, &endpoint).await?;
    assert_eq!(event["data"]["reason"], "failing");
    assert_eq!(event["data"]["failingSince"], failing["failingSince"]);
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn its_owner_can_take_it_out_of_use_and_move_it() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let (old, new) = (
        Strange::start(vec![says(500, "", "")]).await?,
        Strange::start(vec![says(200, "", "fine")]).await?,
    );
    let endpoint = Endpoint::make(&app, &old.url(), &["account.connected"]).await?;
    endpoint.test(&app).await?;
    endpoint.until_tried(&app, 1).await?;
    let change = json!({ "url": new.url(), "eventTypes": ["connect.started", "connect.started"] });
    let changed = app.http.patch(&endpoint.path, &change).await?.expect(200)?.json();
    assert_eq!(changed["eventTypes"], json!(["connect.started"]));
    assert!(changed["failingSince"].is_null(), "another receiver: {changed}");
    app.start_connect(json!({})).await?;
    new.until_came(1).await?;
    let off = app.http.patch(&endpoint.path, &json!({ "disabled": true })).await?.expect(200)?;
    assert_eq!(off.json()["disabledReason"], "requested");
    app.start_connect(json!({})).await?;
    app.event("connect.started", "con_").await?;
    assert!(endpoint.deliveries(&app).await?.len() <= 2, "nothing is written for it meanwhile");
    for (body, pointer) in [
        (json!({ "url": "http://10.0.0.1/" }), "/url"),
        (json!({ "eventTypes": ["account.sung"] }), "/eventTypes/0"),
    ] {
        let answer = app.http.patch(&endpoint.path, &body).await?.expect(400)?;
        assert!(answer.text.contains(pointer), "{}", answer.text);
    }
    app.finish().await
}
