//! The main job: connect, stay alive, disconnect.

use chrono::TimeDelta;
use latchkey_tests::app::Options;
use latchkey_tests::sandbox::Kind;
use latchkey_tests::{Person, TestApp};
use latchkey_worker::settings::WorkerSettings;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn an_account_connects_refreshes_twice_and_is_revoked() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let connected = app.connect("sam").await?;
    let event = app.event("account.connected", &connected.account_id).await?;
    assert_eq!(event["data"]["connectId"], connected.connect_id);
    assert_eq!(event["data"]["username"], "sam");
    assert_eq!(event["data"]["firstTime"], true);
    assert_eq!(event["sequence"], 1);
    assert_eq!(event["workspaceId"], app.owner.workspace_id.as_str());

    for generation in [2, 3] {
        app.clock.advance(TimeDelta::minutes(58));
        let account = app
            .account_until(&connected.account_id, |account| {
                account["tokenGeneration"] == generation
            })
            .await?;
        assert_eq!(account["status"], "connected");
    }
    let refreshes: Vec<_> =
        app.sandbox.ledger().into_iter().filter(|entry| entry.kind == Kind::Refreshed).collect();
    assert_eq!(refreshes.len(), 2);
    assert!(refreshes.iter().all(|entry| entry.open_calls == 1));

    let path = app.path(&format!("/accounts/{}", connected.account_id));
    let disconnected = app.http.delete(&path).await?.expect(202)?.json();
    assert_eq!(disconnected["status"], "disconnected");
    let account = app
        .account_until(&connected.account_id, |account| {
            account["revocation"]["status"] == "revoked"
        })
        .await?;
    assert_eq!(account["revocation"]["platformAnswer"]["httpStatus"], 200);
    assert!(app.sandbox.families().iter().all(|family| !family.alive));
    app.event("account.disconnected", &connected.account_id).await?;
    let revoked = app.event("account.revoked", &connected.account_id).await?;
    assert_eq!(revoked["sequence"], 3);
    assert_eq!(
        app.row("SELECT count(sealed_tokens) AS n FROM grants").await?["n"],
        0,
        "the tokens are destroyed"
    );
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connect_keeps_a_timeline_and_forgets_its_secrets() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let connected = app.connect("sam").await?;
    let connect = app.ended(&connected.connect_id).await?;
    let steps: Vec<_> =
        connect["timeline"].as_array().unwrap().iter().map(|step| step["status"].clone()).collect();
    assert_eq!(steps, ["pending", "authorized", "exchanging", "connected"]);
    let row = app.row("SELECT sealed_code, sealed_verifier FROM connects").await?;
    assert!(row["sealed_code"].is_null() && row["sealed_verifier"].is_null());
    app.event("connect.started", &connected.connect_id).await?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn connecting_again_keeps_the_account_and_ends_the_old_consent() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let first = app.connect("sam").await?;
    let second = app.connect("sam").await?;
    assert_eq!(first.account_id, second.account_id);
    let event = app.event("account.connected", &second.connect_id).await?;
    assert_eq!(event["data"]["reconnected"], true);
    latchkey_tests::app::eventually(|| async {
        Ok((app.sandbox.families().iter().filter(|family| family.alive).count() == 1).then_some(()))
    })
    .await?;

    let path = app.path(&format!("/accounts/{}", first.account_id));
    app.http.delete(&path).await?.expect(202)?;
    app.account_until(&first.account_id, |account| account["revocation"]["status"] == "revoked")
        .await?;
    let third = app.connect("sam").await?;
    assert_eq!(first.account_id, third.account_id, "the id survives a disconnect");
    assert_eq!(app.account(&first.account_id).await?["status"], "connected");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reconnect_by_another_person_changes_nothing() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let sam = app.connect("sam").await?;
    let started = app
        .start_connect(
            json!({ "accountId": sam.account_id, "redirectUrl": "https://app.example/done?x=1" }),
        )
        .await?;
    let back = app.approve(&started, &Person::new("eve")?).await?.expect(303)?;
    let location = back.location().unwrap_or_default();
    assert!(location.starts_with("https://app.example/done?x=1&status=error"), "{location}");
    assert!(location.contains("error=identity_mismatch"), "{location}");
    assert_eq!(app.account(&sam.account_id).await?["username"], "sam");
    latchkey_tests::app::eventually(|| async {
        let eve_alive =
            app.sandbox.families().iter().any(|family| family.user == "eve" && family.alive);
        Ok((!eve_alive).then_some(()))
    })
    .await?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_asked_for_now_happens_now() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let sam = app.connect("sam").await?;
    let path = app.path(&format!("/accounts/{}/refresh", sam.account_id));
    app.http.post(&path, &json!({})).await?.expect(202)?;
    app.account_until(&sam.account_id, |account| account["tokenGeneration"] == 2).await?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_event_log_brings_every_event_once_in_order() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let sam = app.connect("sam").await?;
    let mut types = Vec::new();
    let mut after = String::new();
    while types.len() < 2 {
        let page =
            app.http.get(&format!("/v1/events?limit=1&wait=10{after}")).await?.expect(200)?.json();
        let event = &page["data"][0];
        types.push(event["type"].as_str().unwrap_or_default().to_owned());
        after = format!("&after={}", page["nextCursor"].as_str().unwrap_or_default());
    }
    assert_eq!(types, ["connect.started", "account.connected"]);
    let only =
        app.http.get("/v1/events?types=account.connected&wait=10").await?.expect(200)?.json();
    assert_eq!(only["data"].as_array().map(Vec::len), Some(1));
    assert_eq!(only["data"][0]["data"]["accountId"], sam.account_id);
    app.finish().await
}

/// Far more people at once than the worker has connections to the database: they wait for their
/// turn, and nobody is lost.
#[tokio::test(flavor = "multi_thread")]
async fn many_people_connect_at_once() -> anyhow::Result<()> {
    const PEOPLE: usize = 40;
    let mut app = TestApp::start_with(Options { worker: false, ..Options::default() }).await?;
    // As one is usually started: with two connections each of forty waits for its turn longer than it may.
    let settings = app.worker_settings(Options::default().pools, 64);
    app.add_worker_with(&WorkerSettings { db_connections: 6, ..settings }).await?;
    let coming_back = (0..PEOPLE).map(|number| {
        let app = &app;
        async move {
            let started = app.start_connect(json!({})).await?;
            let person = Person::new(format!("person-{number}"))?;
            app.approve(&started, &person).await?.expect(303)
        }
    });
    futures_util::future::try_join_all(coming_back).await?;
    // All forty go through one workspace: how long the last one waits is the machine's affair.
    app.until_none("connects WHERE status <> 'connected'").await?;
    assert_eq!(app.row("SELECT count(*) AS n FROM accounts").await?["n"], PEOPLE);
    let exchanged = app.sandbox.ledger();
    let exchanged = exchanged.iter().filter(|entry| entry.kind == Kind::CodeExchanged).count();
    assert_eq!(exchanged, PEOPLE, "each code was presented once");
    // On a busy machine the sweep takes some, and their messages wait for its lease to end.
    app.clock.advance(TimeDelta::minutes(1));
    app.finish().await
}
