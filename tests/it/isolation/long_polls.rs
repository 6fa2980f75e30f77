//! Requests that wait for events, in great number.

use std::time::Duration;

use futures_util::future::join_all;
use latchkey_tests::TestApp;
use latchkey_tests::app::{Options, eventually};
use serde_json::{Value, json};
use tokio::time::Instant;

const POLLS: usize = 300;
/// So many are sent at once: more would wait for connections to the database, whatever they ask for.
const AT_ONCE: usize = 50;

/// How long another organisation's POST takes, at the middle of 21.
async fn victim(app: &TestApp) -> anyhow::Result<Duration> {
    let mut times = Vec::new();
    for _ in 0..21 {
        let begun = Instant::now();
        app.start_connect(json!({})).await?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    Ok(times[10])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_waits_many_times_delays_no_other() -> anyhow::Result<()> {
    let app = TestApp::start_with(Options {
        serve: |config| config.max_connections_per_address = config.max_connections,
        ..Options::default()
    })
    .await?;
    let attacker = app.another_tenant().await?;
    let http = app.http.with_key(attacker.expose_key());
    let alone = victim(&app).await?;
    let mut polls = Vec::new();
    while polls.len() < POLLS {
        polls.extend((0..AT_ONCE).map(|_| {
            let http = http.clone();
            tokio::spawn(async move { http.get("/v1/events?after=now&wait=30").await })
        }));
        eventually(|| async {
            let ended = polls.iter().filter(|poll| poll.is_finished()).count();
            Ok((ended + 20 >= polls.len()).then_some(()))
        })
        .await?;
    }
    let beside = victim(&app).await?;
    eprintln!("a POST: {alone:?} alone, {beside:?} beside 20 of {POLLS} requests that wait");

    // One thing happens there, and all that wait are answered.
    let path = format!("/v1/workspaces/{}/connects", attacker.workspace_id);
    http.post(&path, &json!({ "platform": "SANDBOX" })).await?.expect(201)?;
    let mut answers = Vec::new();
    for poll in join_all(polls).await {
        answers.push(poll??);
    }
    let (waited, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|one| one.status == 200);
    assert_eq!(waited.len(), 20);
    for answer in waited {
        assert_eq!(answer.json()["data"][0]["type"], "connect.started");
    }
    for answer in refused {
        assert_eq!((answer.status, answer.code()), (429, "RATE_LIMITED".to_owned()));
        assert!(answer.headers.contains_key("retry-after"));
    }
    // Those are over, and others may wait.
    let next: Value = http.get("/v1/events?wait=1&types=connect.failed").await?.expect(200)?.json();
    assert_eq!(next["data"], json!([]));
    app.finish().await
}
