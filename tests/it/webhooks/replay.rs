//! What an endpoint missed is delivered again.

use std::collections::BTreeMap;

use latchkey_shared::failpoint::cut_at;
use latchkey_shared::ids::EventId;
use latchkey_tests::TestApp;
use latchkey_tests::app::{Options, eventually};
use latchkey_worker::settings::Pool;
use latchkey_worker::sweeps::Sweep;
use serde_json::json;

use super::Endpoint;
use crate::strange::{Strange, says};

/// How often each event came.
fn times(strange: &Strange) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    for came in strange.came() {
        *times.entry(came.id).or_default() += 1;
    }
    times
}

async fn started(app: &TestApp) -> anyhow::Result<String> {
    let connect = app.start_connect(json!({})).await?;
    let id = connect["connectId"].as_str().unwrap_or_default().to_owned();
    let event = app.event("connect.started", &id).await?;
    Ok(event["id"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_behind_a_place_in_the_log_comes_again_and_what_is_later_comes_once()
-> anyhow::Result<()> {
    // The sweeps run when this test wants them to.
    let pools = vec![Pool::Connect, Pool::Webhook];
    let app = TestApp::start_with(Options { pools, ..Options::default() }).await?;
    let strange = Strange::start(vec![says(200, "", "")]).await?;
    let endpoint = Endpoint::make(&app, &strange.url(), &["connect.started"]).await?;
    let mut events = Vec::new();
    for _ in 0..3 {
        events.push(started(&app).await?);
    }
    strange.until_came(3).await?;
    let path = format!("{}/replay", endpoint.path);
    for after in ["nonsense", "evt_01JCZ5M2V8Q4T6W8Y0A2B4C6D8", ""] {
        let answer = app.http.post(&path, &json!({ "after": after })).await?.expect(400)?;
        assert!(answer.text.contains("/after"), "{}", answer.text);
    }
    let asked = app.http.post(&path, &json!({ "after": events[0] })).await?.expect(202)?.json();
    assert!(!asked["replayingSince"].is_null(), "{asked}");
    let second = app.http.post(&path, &json!({ "after": events[0] })).await?.expect(409)?;
    assert_eq!(second.code(), "REPLAY_RUNNING");
    let later = started(&app).await?;
    strange.until_came(4).await?;

    Sweep::Replays.run(app.worker_context()).await?;
    assert!(endpoint.get(&app).await?["replayingSince"].is_null(), "it is through");
    Sweep::DueDeliveries.run(app.worker_context()).await?;
    strange.until_came(6).await?;
    let expected = [(&events[0], 1), (&events[1], 2), (&events[2], 2), (&later, 1)];
    let expected: BTreeMap<String, usize> =
        expected.into_iter().map(|(id, times)| (id.clone(), times)).collect();
    assert_eq!(times(&strange), expected);

    // By a cursor of the log: what is behind the first page of one event.
    let page =
        app.http.get("/v1/events?types=connect.started&limit=1&wait=20").await?.expect(200)?.json();
    app.http.post(&path, &json!({ "after": page["nextCursor"] })).await?.expect(202)?;
    Sweep::Replays.run(app.worker_context()).await?;
    Sweep::DueDeliveries.run(app.worker_context()).await?;
    strange.until_came(9).await?;
    assert_eq!(times(&strange)[&events[0]], 1);
    app.finish().await
}

/// More events than a batch has, and a sweep that is cut at every step.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_is_killed_in_the_middle_goes_on_where_it_was() -> anyhow::Result<()> {
    let pools = vec![Pool::Connect];
    let app = TestApp::start_with(Options { pools, ..Options::default() }).await?;
    let endpoint = Endpoint::make(&app, "https://example.com/", &["connect.expired"]).await?;
    // The beginning of an id says when it was made.
    let now = EventId::new(&app.clock);
    let now = now.as_str().split_at("evt_".len() + 10).0;
    app.execute(&format!(
        "INSERT INTO events (id, organisation_id, workspace_id, type, data, created_at)
         SELECT '{now}' || lpad(n::text, 16, '0'), w.organisation_id, w.id,
             CASE n WHEN 1 THEN 'connect.started' ELSE 'connect.expired' END,
             jsonb_build_object('connectId', 'con_x', 'platform', 'SANDBOX', 'metadata', '{{}}'::jsonb), now()
         FROM workspaces w, generate_series(1, 1201) n"
    ))
    .await?;
    let first = format!("{now}{:016}", 1);
    let path = format!("{}/replay", endpoint.path);
    app.http.post(&path, &json!({ "after": first })).await?.expect(202)?;
    let context = app.worker_context();
    for step in 1..=4 {
        drop(cut_at(step, Sweep::Replays.run(context)).await);
    }
    let open = "SELECT count(*) AS n FROM webhook_replays";
    eventually(|| async {
        Sweep::Replays.run(context).await?;
        // The endpoint would have to take them first: here somebody else does.
        app.execute("UPDATE webhook_deliveries SET next_attempt_at = next_attempt_at + interval '1 day'").await?;
        let far = "SELECT count(*) AS n FROM webhook_deliveries WHERE status = 'pending'";
        if app.row(far).await?["n"].as_i64() >= Some(1000) {
            app.execute(
                "UPDATE webhook_deliveries SET status = 'delivered', next_attempt_at = NULL, ended_at = now()",
            )
            .await?;
        }
        Ok((app.row(open).await?["n"] == 0).then_some(()))
    })
    .await?;
    let all = app
        .row("SELECT count(*) AS n, count(DISTINCT event_id) AS events, max(round_start) AS rounds FROM webhook_deliveries")
        .await?;
    assert_eq!((all["n"].as_i64(), all["events"].as_i64()), (Some(1200), Some(1200)), "{all}");
    assert_eq!(all["rounds"], 0, "none was put on its way twice");
    app.finish().await
}

/// An endpoint of one workspace is replayed what happened there.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_stays_in_the_endpoint_s_workspace() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let strange = Strange::start(vec![says(200, "", "")]).await?;
    let other = app.http.post("/v1/workspaces", &json!({ "name": "Other" })).await?.expect(201)?;
    let other = other.json();
    let body = json!({ "url": strange.url(), "workspaceId": other["id"] });
    let made = app.http.post("/v1/webhook-endpoints", &body).await?.expect(201)?.json();
    let first = started(&app).await?;
    started(&app).await?;
    let path = format!("/v1/workspaces/{}/connects", other["id"].as_str().unwrap_or_default());
    app.http.post(&path, &json!({ "platform": "SANDBOX" })).await?.expect(201)?;
    strange.until_came(1).await?;
    let path = format!("/v1/webhook-endpoints/{}/replay", made["id"].as_str().unwrap_or_default());
    app.http.post(&path, &json!({ "after": first })).await?.expect(202)?;
    strange.until_came(2).await?;
    let came = strange.came();
    assert_eq!(came[0].id, came[1].id, "{came:?}");
    // A key of that workspace does not reach the event that happened elsewhere.
    let key = json!({ "name": "k", "role": "admin", "workspaceId": other["id"] });
    let key = app.http.post("/v1/api-keys", &key).await?.expect(201)?.json();
    let http = app.http.with_key(key["key"].as_str().unwrap_or_default());
    http.post(&path, &json!({ "after": first })).await?.expect(400)?;
    app.finish().await
}
