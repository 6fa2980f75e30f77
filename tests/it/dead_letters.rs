//! Messages that nobody can handle.

use latchkey_tests::app::{Options, eventually, logs};
use latchkey_tests::sandbox::Kind;
use latchkey_tests::{Person, TestApp};
use latchkey_worker::settings::Pool;
use latchkey_worker::sweeps::Sweep;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_decoded_is_kept_and_the_consumer_goes_on() -> anyhow::Result<()> {
    let mut app = TestApp::start().await?;
    let nonsense: [(&str, &str, &[u8]); 4] = [
        ("callback_received", "callback_received", b"not json"),
        ("callback_received", "callback_received", br#"{"workspaceId":"ws_1"}"#),
        ("sing", "refresh_due", b"{}"),
        ("", "webhook_due", &[0xff, 0x00]),
    ];
    for (kind, key, body) in nonsense {
        app.publish_raw(kind, key, body).await?;
    }
    app.expect_dead_letters(3);
    // Two of them share a message id and a queue: the same letter, kept once.
    eventually(|| async {
        Ok((app.row("SELECT count(*) AS n FROM dead_letters").await?["n"] == 3).then_some(()))
    })
    .await?;
    let letter =
        app.row("SELECT queue, reason, type FROM dead_letters WHERE type = 'sing'").await?;
    assert_eq!(letter["reason"], "rejected");
    assert!(letter["queue"].as_str().is_some_and(|queue| queue.ends_with(".refresh")));
    app.connect("sam").await?;
    app.finish().await
}

/// Attempts are counted in PostgreSQL before they are made: what takes its handler down every time
/// ends as a dead letter, however often the broker would still deliver it.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_used_up_its_attempts_is_kept_and_not_tried_again() -> anyhow::Result<()> {
    let mut app = TestApp::start_with(Options {
        worker: false,
        callback_wait: std::time::Duration::from_secs(1),
        ..Options::default()
    })
    .await?;
    let started = app.start_connect(json!({})).await?;
    app.approve(&started, &Person::new("sam")?).await?.expect(303)?;
    app.execute("UPDATE outbox SET attempts = 20 WHERE kind = 'callback_received'").await?;
    // Only the queue brings it: one sweep would take the code without the message. The relay alone sees to it
    // that it is in the queue, should the API's own try have failed.
    let settings = app.worker_settings(vec![Pool::Connect], 4);
    app.add_worker_with(&settings).await?;
    let ending = "SELECT ending, attempts FROM outbox WHERE kind = 'callback_received'";
    let row = eventually(|| async {
        Sweep::Relay.run(app.worker_context()).await?;
        let row = app.row(ending).await?;
        Ok((!row["ending"].is_null()).then_some(row))
    })
    .await?;
    assert_eq!(row, json!({ "ending": "dead", "attempts": 21 }));
    assert!(app.sandbox.ledger().iter().all(|entry| entry.kind == Kind::Consent));
    let settings = app.worker_settings(vec![Pool::Sweeps, Pool::Webhook], 4);
    app.add_worker_with(&settings).await?;
    is_kept_and_the_connect_ends(app, &started).await
}

async fn is_kept_and_the_connect_ends(mut app: TestApp, started: &Value) -> anyhow::Result<()> {
    let kept = "SELECT count(*) AS n FROM dead_letters WHERE type = 'callback_received'";
    eventually(|| async { Ok((app.row(kept).await?["n"] == 1).then_some(())) }).await?;
    let connect = app.ended(started["connectId"].as_str().unwrap_or_default()).await?;
    assert_eq!(connect["status"], "connected", "the sweep finishes what the message could not");
    app.expect_dead_letters(1);
    app.finish().await
}

/// The worker that found it dead was killed before it told the broker, which delivers it again.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_noted_as_dead_and_comes_again_is_kept() -> anyhow::Result<()> {
    let mut app = TestApp::start_with(Options {
        pools: vec![Pool::Webhook],
        callback_wait: std::time::Duration::from_secs(1),
        ..Options::default()
    })
    .await?;
    let started = app.start_connect(json!({})).await?;
    app.approve(&started, &Person::new("sam")?).await?.expect(303)?;
    // The broker has confirmed it: the relay leaves it alone for so long.
    let queued = "SELECT id FROM outbox WHERE kind = 'callback_received' AND available_at > now() + interval '60 s'";
    eventually(|| async {
        Sweep::Relay.run(app.worker_context()).await?;
        Ok(app.row(queued).await.ok())
    })
    .await?;
    app.execute(
        "UPDATE outbox SET done_at = now(), ending = 'dead' WHERE kind = 'callback_received'",
    )
    .await?;
    let settings = app.worker_settings(vec![Pool::Connect, Pool::Sweeps], 4);
    app.add_worker_with(&settings).await?;
    is_kept_and_the_connect_ends(app, &started).await
}

/// The database answers and refuses the letter for a while: the broker would give up one that is put back so often.
#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_cannot_be_kept_yet_is_held() -> anyhow::Result<()> {
    let mut app = TestApp::start().await?;
    app.refuse_inserts("dead_letters").await?;
    app.publish_raw("sing", "refresh_due", b"{}").await?;
    app.refused(4).await?;
    let lines = logs().lines().filter(|line| line.contains("cannot be kept yet")).count();
    assert_eq!(lines, 1, "it was delivered once");
    app.refuse_no_more("dead_letters").await?;
    let kept = "SELECT count(*) AS n FROM dead_letters";
    eventually(|| async { Ok((app.row(kept).await?["n"] == 1).then_some(())) }).await?;
    app.expect_dead_letters(1);
    app.finish().await
}
