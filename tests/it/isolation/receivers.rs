//! An organisation has many webhook endpoints that answer late, and changes their URLs again and again.

use futures_util::future::try_join_all;
use latchkey_tests::TestApp;
use latchkey_tests::app::Http;
use serde_json::json;
use tokio::time::{Duration, Instant};

use crate::strange::{Manner, Strange, says};

const LATE: usize = 40;
/// So many in each round, each to all of them: more than a worker gets through meanwhile, one by one.
const EVENTS: usize = 8;
const TYPES: [&str; 1] = ["connect.started"];

async fn endpoint(http: &Http, url: &str) -> anyhow::Result<String> {
    let body = json!({ "url": url, "eventTypes": TYPES });
    let made = http.post("/v1/webhook-endpoints", &body).await?.expect(201)?.json();
    Ok(format!("/v1/webhook-endpoints/{}", made["id"].as_str().unwrap_or_default()))
}

/// How long the victim's receiver waits for an event.
async fn told(
    (http, workspace): (&Http, &str),
    (receiver, count): (&Strange, usize),
) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let body = json!({ "platform": "SANDBOX" });
    http.post(&format!("/v1/workspaces/{workspace}/connects"), &body).await?.expect(201)?;
    receiver.until_came(count).await?;
    Ok(begun.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_late_receivers_with_new_urls_delay_no_other_organisation() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let victim = app.another_tenant().await?;
    let own = app.http.with_key(victim.expose_key());
    let whose = (&own, victim.workspace_id.as_str());
    let prompt = Strange::start(vec![says(200, "", "")]).await?;
    endpoint(&own, &prompt.url()).await?;
    let mut alone = Vec::new();
    for count in 1..=5 {
        alone.push(told(whose, (&prompt, count)).await?);
    }

    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned();
    let late = Strange::start(vec![Manner::Late(Duration::from_secs(14), answer)]).await?;
    let url = late.url();
    let making = (0..LATE).map(|number| {
        let (http, url) = (&app.http, format!("{url}?{number}"));
        async move { endpoint(http, &url).await }
    });
    let endpoints = try_join_all(making).await?;
    let mut beside = Vec::new();
    for round in 0..5 {
        for _ in 0..EVENTS {
            app.start_connect(json!({})).await?;
        }
        for (number, path) in endpoints.iter().enumerate() {
            let body = json!({ "url": format!("{url}?{number}-{round}") });
            app.http.patch(path, &body).await?.expect(200)?;
        }
        beside.push(told(whose, (&prompt, 6 + round)).await?);
    }
    assert!(late.connections() > 0, "they were called");
    alone.sort_unstable();
    beside.sort_unstable();
    eprintln!("a victim's event: alone {alone:?}, beside {LATE} late receivers {beside:?}");
    assert!(beside[2] < Duration::from_secs(5), "{beside:?}");
    for path in endpoints {
        app.http.delete(&path).await?.expect(204)?;
    }
    // A sweep ends what waits for endpoints that are gone, and attempts that are open end by themselves.
    app.until_none("webhook_deliveries WHERE status = 'pending'").await?;
    app.finish().await
}
