//! A person has a host of their own that never answers.

use futures_util::future::try_join_all;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use latchkey_tests::TestApp;
use latchkey_tests::app::{Options, eventually, worn};
use latchkey_tests::sandbox::{Endpoint, Fault, FaultRule};
use serde_json::json;
use tokio::time::{Duration, Instant};

use crate::platforms::{connected, request};

/// Nobody waited for the end of a silent call, which takes 10 s.
const PROMPT: Duration = Duration::from_secs(8);

const SILENT: usize = 24;

async fn app() -> anyhow::Result<TestApp> {
    let platforms = worn(&["X", "BLUESKY"]);
    TestApp::start_with(Options { platforms, ..Options::default() }).await
}

fn silent(number: usize) -> String {
    format!("silent-{number}")
}

async fn victim_connects(app: &TestApp, name: &str) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    connected(app, ("X", name), &json!({})).await?;
    Ok(begun.elapsed())
}

/// The code of somebody at another platform is not kept waiting.
#[tokio::test(flavor = "multi_thread")]
async fn connects_at_hosts_that_never_answer_hold_up_nobody_elsewhere() -> anyhow::Result<()> {
    let app = app().await?;
    let alone = victim_connects(&app, "alone").await?;
    for number in 0..SILENT {
        let rule = FaultRule::new(Endpoint::TokenCode, Fault::Silence);
        app.sandbox.inject(rule.for_user(silent(number)));
    }
    let asks = (0..SILENT).map(|number| {
        let app = &app;
        async move {
            let body = request(app, "BLUESKY", &silent(number), &json!({}));
            app.http.post(&app.path("/connects"), &body).await?.expect(201).map(drop)
        }
    });
    try_join_all(asks).await?;
    let waiting = "SELECT count(*) AS n FROM connects WHERE status = 'exchanging'";
    eventually(|| async { Ok((app.row(waiting).await?["n"] != 0).then_some(())) }).await?;
    let beside = victim_connects(&app, "beside").await?;
    eprintln!("a victim's connect alone {alone:?}, beside {SILENT} at a silent host {beside:?}");
    assert!(beside < PROMPT, "{beside:?}");
    assert_ne!(app.row(waiting).await?["n"], 0, "the silent ones still wait");
    app.sandbox.clear_faults();
    app.until_none("connects WHERE status NOT IN ('connected', 'failed')").await?;
    app.finish().await
}

/// Nor is the refresh of an account at another platform, or of one at a host that answers.
#[tokio::test(flavor = "multi_thread")]
async fn refreshes_at_hosts_that_never_answer_hold_up_nobody_elsewhere() -> anyhow::Result<()> {
    let app = app().await?;
    let victim = connected(&app, ("X", "victim"), &json!({})).await?;
    let alone = victim_refreshes(&app, (&victim, 2)).await?;
    let attackers = (0..SILENT).map(|number| {
        let app = &app;
        async move { connected(app, ("BLUESKY", &silent(number)), &json!({})).await }
    });
    // A few at once: each of them is waited for.
    let attackers: Vec<String> = stream::iter(attackers).buffered(6).try_collect().await?;
    for number in 0..SILENT {
        let rule = FaultRule::new(Endpoint::TokenRefresh, Fault::Silence);
        app.sandbox.inject(rule.for_user(silent(number)));
    }
    for attacker in &attackers {
        let path = app.path(&format!("/accounts/{attacker}/refresh"));
        app.http.post(&path, &json!({})).await?.expect(202)?;
    }
    let open =
        "SELECT count(*) AS n FROM grants WHERE platform = 'BLUESKY' AND lease_until IS NOT NULL";
    eventually(|| async { Ok((app.row(open).await?["n"] != 0).then_some(())) }).await?;
    let beside = victim_refreshes(&app, (&victim, 3)).await?;
    eprintln!("a victim's refresh alone {alone:?}, beside {SILENT} at a silent host {beside:?}");
    assert!(beside < PROMPT, "{beside:?}");
    app.finish().await
}

async fn victim_refreshes(
    app: &TestApp,
    (account, generation): (&str, i64),
) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let path = app.path(&format!("/accounts/{account}/refresh"));
    app.http.post(&path, &json!({})).await?.expect(202)?;
    app.account_until(account, |shown| shown["tokenGeneration"] == generation).await?;
    Ok(begun.elapsed())
}
