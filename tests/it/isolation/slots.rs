//! A producer's requests end badly, are very long, or do not end.

use futures_util::future::try_join_all;
use latchkey_tests::TestApp;
use latchkey_tests::app::{Ask, Options, Producer, eventually};
use latchkey_worker::settings::Pool;
use serde_json::json;
use tokio::time::{Duration, Instant};

use super::raw_amqp::{RawProducer, RawProperties};
use crate::requests::{connect, linked};

/// How long the victim waits for one answer.
async fn asked(app: &TestApp, victim: &mut Producer) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    assert_eq!(victim.ask(&connect(app, victim)).await?.kind, "connect.ready");
    Ok(begun.elapsed())
}

async fn kept(app: &TestApp, wanted: i64) -> anyhow::Result<()> {
    let kept = || async {
        let row = app.row("SELECT count(*) AS n FROM dead_letters").await?;
        Ok((row["n"] == wanted).then_some(()))
    };
    eventually(kept).await
}

/// Whatever a stranger writes into the properties, the letter fits its column, at the first attempt.
#[tokio::test(flavor = "multi_thread")]
async fn a_letter_always_fits_its_column() -> anyhow::Result<()> {
    let mut app = TestApp::start().await?;
    let mut victim = linked(&app, "admin").await?;
    let alone = asked(&app, &mut victim).await?;
    let nul = |text: &str| Some(format!("{text}\0\u{1}"));
    let unanswered = |number: usize| Ask {
        kind: nul("connect.requested"),
        routing_key: "connect\0".to_owned(),
        message_id: nul(&format!("m-{number}")),
        correlation_id: nul("c"),
        reply_to: None,
        ..connect(&app, &victim)
    };
    let asks: Vec<_> = (0..40).map(unanswered).collect();
    try_join_all(asks.iter().map(|ask| victim.publish(ask))).await?;
    let beside = asked(&app, &mut victim).await?;
    eprintln!("a victim's request alone {alone:?}, behind 40 with NUL {beside:?}");
    kept(&app, 40).await?;
    app.expect_dead_letters(40);
    let told = "SELECT count(*) AS n FROM events WHERE type = 'request.rejected'";
    assert_eq!(app.row(told).await?["n"], 40, "each has its event, made to fit as well");
    app.finish().await
}

/// Neither its length nor what stands in it is stored or repeated.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_body_is_cut_and_a_secret_in_it_is_not_kept() -> anyhow::Result<()> {
    let mut app = TestApp::start().await?;
    let mut victim = linked(&app, "admin").await?;
    let workspace = &app.owner.workspace_id;
    let secret = "planted-app-password";
    let bodies = [
        vec![b'x'; 4 << 20],
        json!({ "workspaceId": workspace, "platform": "BLUESKY", "credentials": { "password": secret } })
            .to_string()
            .into_bytes(),
        json!({ "workspaceId": workspace, secret: secret, "metadata": { "id": secret } })
            .to_string()
            .into_bytes(),
        format!("{{ {secret}").into_bytes(),
    ];
    for body in &bodies {
        let mut ask = connect(&app, &victim);
        (ask.reply_to, ask.body) = (None, body.clone());
        victim.publish(&ask).await?;
    }
    // Nobody could deal with this one, and the broker sets it aside.
    app.publish_raw("refresh_due", "refresh_due", &bodies[1]).await?;
    asked(&app, &mut victim).await?;
    kept(&app, 5).await?;
    let told = "SELECT json_agg(data) AS all FROM events WHERE type = 'request.rejected'";
    let told = app.row(told).await?["all"].to_string();
    assert!(!told.contains(secret), "{told}");
    let letters = app.row("SELECT json_agg(l) AS l, max(length(body)) AS n, json_agg(convert_from(body, 'UTF8')) AS b FROM dead_letters l").await?;
    assert!(letters["n"].as_i64() < Some(300), "{letters}");
    assert!(letters["b"].to_string().contains(workspace.as_str()), "ids are kept: {letters}");
    assert!(letters["l"].to_string().contains(&bodies[0].len().to_string()), "and the length");
    for part in ["l", "b"] {
        assert!(!letters[part].to_string().contains(secret), "{letters}");
    }
    app.expect_dead_letters(5);
    app.finish().await
}

/// One producer's requests never end: half of the turns are left for the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_producer_whose_requests_do_not_end_leaves_turns_to_the_others() -> anyhow::Result<()> {
    let pools = vec![Pool::Connect, Pool::Webhook, Pool::Sweeps];
    let app = TestApp::start_with(Options { pools, ..Options::default() }).await?;
    let hang = [("LATCHKEY_TEST_FAILPOINTS", "request_begun[endless]:hang")];
    let worker = app.spawn_worker_with("requests", &hang).await?;
    let mut victim = linked(&app, "admin").await?;
    let alone = asked(&app, &mut victim).await?;
    let endless = |number: usize| Ask {
        message_id: Some(format!("endless-{number}")),
        user_id: None,
        reply_to: None,
        ..connect(&app, &victim)
    };
    let asks: Vec<_> = (0..40).map(endless).collect();
    try_join_all(asks.iter().map(|ask| victim.publish(ask))).await?;
    worker.says("failpoint request_begun").await?;
    let beside = asked(&app, &mut victim).await?;
    eprintln!("a victim's request alone {alone:?}, behind 40 that do not end {beside:?}");
    worker.kill().await?;
    let back = || async {
        Ok(app.waiting().await?.iter().any(|queue| queue.ends_with(".requests: 40")).then_some(()))
    };
    eventually(back).await?;
    app.purge("requests").await?;
    app.finish().await
}

/// The client library reads nested headers by recursion: the process has room for the deepest that a frame holds.
#[tokio::test(flavor = "multi_thread")]
async fn headers_as_deep_as_a_frame_end_no_process() -> anyhow::Result<()> {
    let pools = vec![Pool::Connect, Pool::Webhook];
    let mut app = TestApp::start_with(Options { pools, ..Options::default() }).await?;
    let worker = app.spawn_worker("requests,sweeps").await?;
    let mut victim = linked(&app, "admin").await?;
    let mut attacker = RawProducer::connect(app.amqp_url()).await?;
    attacker.publish(&app.broker_name("requests"), &RawProperties::nested_header(26_000)).await?;
    asked(&app, &mut victim).await?;
    kept(&app, 1).await?;
    app.expect_dead_letters(1);
    assert!(worker.terminate().await?.success(), "it lived until it was asked to stop");
    app.finish().await
}
