//! The event log as its readers see it.

use anyhow::{Context as _, ensure};
use diesel_async::SimpleAsyncConnection as _;
use latchkey_tests::TestApp;
use latchkey_tests::app::Options;
use serde_json::{Value, json};

async fn read(app: &TestApp, query: &str) -> anyhow::Result<Value> {
    Ok(app.http.get(&format!("/v1/events?{query}")).await?.expect(200)?.json())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn types(page: &Value) -> Vec<&str> {
    page["data"].as_array().into_iter().flatten().map(|event| text(&event["type"])).collect()
}

/// Reads on until there are so many: an event is shown when all that began before it has ended, in other
/// tests' databases, too.
async fn read_on(app: &TestApp, query: &str, wanted: usize) -> anyhow::Result<Value> {
    let (mut events, mut query) = (Vec::new(), query.to_owned());
    loop {
        let page = read(app, &format!("wait=20&{query}")).await?;
        let some = page["data"].as_array().context("a page has data")?;
        ensure!(!some.is_empty(), "{} of {wanted} came: {events:?}", events.len());
        events.extend(some.iter().cloned());
        if events.len() >= wanted {
            return Ok(json!({ "data": events, "nextCursor": page["nextCursor"] }));
        }
        let filter = query.split("after=").next().unwrap_or_default().trim_end_matches('&');
        query = format!("{filter}&after={}", text(&page["nextCursor"]));
    }
}

async fn start(app: &TestApp) -> anyhow::Result<String> {
    Ok(text(&app.start_connect(json!({})).await?["connectId"]).to_owned())
}

/// A transaction that began first and commits last is no longer overtaken: what came behind it waits
/// until it has ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_commit_is_not_skipped() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let first = start(&app).await?;
    let page = read_on(&app, "", 1).await?;
    assert_eq!(page["data"][0]["data"]["connectId"], first);

    let db = app.db()?;
    let mut late = db.conn().await?;
    let insert = format!(
        "BEGIN; INSERT INTO events (id, organisation_id, workspace_id, type, data, created_at)
         SELECT 'evt_01JCZ5M2V8Q4T6W8Y0A2B4C6D8', organisation_id, id, 'connect.started',
                (SELECT jsonb_set(data, '{{connectId}}', '\"con_late\"') FROM events LIMIT 1), now()
         FROM workspaces WHERE id = '{}'",
        app.owner.workspace_id
    );
    late.batch_execute(&insert).await?;
    let second = start(&app).await?;
    let cursor = text(&page["nextCursor"]).to_owned();
    let waiting = read(&app, &format!("after={cursor}")).await?;
    assert_eq!(waiting["data"], json!([]), "what is behind the late one is not shown yet");
    late.batch_execute("COMMIT").await?;
    let both = read_on(&app, &format!("after={}", text(&waiting["nextCursor"])), 2).await?;
    let connects: Vec<&str> = both["data"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|event| text(&event["data"]["connectId"]))
        .collect();
    assert_eq!(connects, ["con_late", second.as_str()]);
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_is_answered_as_soon_as_there_is_something() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    start(&app).await?;
    read_on(&app, "", 1).await?;
    let now = read(&app, "after=now").await?;
    assert_eq!(now["data"], json!([]), "all that was before is passed over");
    let path = format!("/v1/events?wait=30&after={}", text(&now["nextCursor"]));
    let http = app.http.clone();
    let reader = tokio::spawn(async move { http.get(&path).await });
    let second = start(&app).await?;
    let page = reader.await??.expect(200)?.json();
    assert_eq!(page["data"][0]["data"]["connectId"], second.as_str());
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_sees_what_it_asks_for_and_may_see() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let (ann, ben) = (app.connect("ann").await?, app.connect("ben").await?);
    let other = json!({ "name": "other" });
    let other = app.http.post("/v1/workspaces", &other).await?.expect(201)?.json();
    let other = text(&other["id"]);
    let path = format!("/v1/workspaces/{other}/connects");
    app.http.post(&path, &json!({ "platform": "SANDBOX" })).await?.expect(201)?;

    let of_ann = read_on(&app, &format!("accountId={}", ann.account_id), 1).await?;
    assert_eq!(types(&of_ann), ["account.connected"]);
    assert_eq!(of_ann["data"][0]["data"]["accountId"], ann.account_id);
    let of_both = read_on(&app, "types=account.connected", 2).await?;
    assert_eq!(types(&of_both).len(), 2, "{ben:?}");
    let there = read_on(&app, &format!("workspaceId={other}"), 1).await?;
    assert_eq!(types(&there), ["connect.started"]);
    assert_eq!(there["data"][0]["workspaceId"], other);

    let limited = json!({ "name": "limited", "role": "viewer", "workspaceId": other });
    let limited = app.http.post("/v1/api-keys", &limited).await?.expect(201)?.json();
    let limited = app.http.with_key(text(&limited["key"]));
    let seen = limited.get("/v1/events").await?.expect(200)?.json();
    assert_eq!(types(&seen), ["connect.started"]);
    let foreign = format!("/v1/events?workspaceId={}", app.owner.workspace_id);
    limited.get(&foreign).await?.expect(404)?;
    for wrong in ["after=nonsense", "types=account.sung", "accountId=con_1", "wait=31", "limit=0"] {
        app.http.get(&format!("/v1/events?{wrong}")).await?.expect(400)?;
    }
    app.finish().await
}

/// A dump that is restored into another server brings events with transaction ids that the new server
/// reaches in years, if ever. A cursor from before goes on without missing what comes now.
#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_outlives_the_restoration_of_a_dump() -> anyhow::Result<()> {
    let mut app = TestApp::start().await?;
    let first = start(&app).await?;
    let (db, elsewhere) = (app.db()?, "UPDATE event_epochs SET cluster = 'another/1'");
    db.conn().await?.batch_execute(elsewhere).await?;
    db.conn().await?.batch_execute("UPDATE events SET xid = xid + 1000000000").await?;
    app.add_worker().await?;

    let old = read_on(&app, "", 1).await?;
    assert_eq!(old["data"][0]["data"]["connectId"], first, "what was there is still read");
    let second = start(&app).await?;
    let next = read(&app, &format!("wait=10&after={}", text(&old["nextCursor"]))).await?;
    assert_eq!(next["data"][0]["data"]["connectId"], second);
    let epochs = app.row("SELECT count(*) AS n, max(epoch) AS last FROM event_epochs").await?;
    assert_eq!((&epochs["n"], &epochs["last"]), (&json!(2), &json!(1)));
    app.add_worker().await?;
    let epochs = app.row("SELECT count(*) AS n FROM event_epochs").await?;
    assert_eq!(epochs["n"], 2, "the server is known now");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_about_an_account_is_told() -> anyhow::Result<()> {
    let app = TestApp::start_with(Options { refreshed_events: true, ..Options::default() }).await?;
    let sam = app.connect("sam").await?;
    let refresh = app.path(&format!("/accounts/{}/refresh", sam.account_id));
    app.http.post(&refresh, &json!({})).await?.expect(202)?;
    let refreshed = app.event("account.refreshed", &sam.account_id).await?;
    assert_eq!(refreshed["data"]["tokenGeneration"], 2);
    assert_eq!(refreshed["sequence"], 2);

    let profile = json!({ "externalId": "user-42", "name": "Sam" });
    let profile = app.http.post(&app.path("/profiles"), &profile).await?.expect(201)?.json();
    let again = app.start_connect(json!({ "profileId": profile["id"] })).await?;
    app.approve(&again, &latchkey_tests::Person::new("sam")?).await?.expect(303)?;
    let updated = app.event("account.updated", &sam.account_id).await?;
    assert_eq!(updated["data"]["changed"], json!(["profileId"]));
    assert_eq!(updated["data"]["profileId"], profile["id"]);
    assert_eq!(updated["data"]["previousProfileId"], Value::Null);
    let history = app.path(&format!("/accounts/{}/history", sam.account_id));
    let history = app.http.get(&history).await?.expect(200)?.json();
    let told = ["account.updated", "account.connected", "refresh.succeeded", "account.connected"];
    assert_eq!(types(&history), told, "a refresh stands there once");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_of_messages_is_served() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let served = app.http.get("/asyncapi.json").await?.expect(200)?.json();
    assert_eq!(served, latchkey_api::asyncapi_document());
    assert_eq!(served["asyncapi"], "3.0.0");
    app.finish().await
}
