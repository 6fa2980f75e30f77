//! Secrets are rotated without a delivery that nobody can verify.

use chrono::TimeDelta;
use latchkey_tests::TestApp;
use latchkey_tests::app::PATIENCE;
use latchkey_worker::sweeps::Sweep;
use serde_json::json;
use standardwebhooks::Webhook;

/// Whether the crate's signature is among those of a delivery; also where a moved clock is far from the
/// crate's.
fn is_signed_by(secret: &str, delivery: &latchkey_tests::Delivery) -> anyhow::Result<bool> {
    let timestamp = delivery.timestamp.unwrap_or_default();
    let own = Webhook::new(secret)?.sign(&delivery.id, timestamp, &delivery.body)?;
    let signatures = delivery.headers["webhook-signature"].to_str()?;
    Ok(signatures.split(' ').any(|signature| signature == own))
}

async fn next(app: &TestApp, path: &str) -> anyhow::Result<latchkey_tests::Delivery> {
    let test = app.http.post(&format!("{path}/test"), &json!({})).await?.expect(202)?.json();
    app.receiver.wait_for(|delivery| delivery.id == test["eventId"], PATIENCE).await
}

#[tokio::test(flavor = "multi_thread")]
async fn both_secrets_verify_in_the_middle_of_a_rotation_and_one_after_it() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let endpoints = app.http.get("/v1/webhook-endpoints").await?.expect(200)?.json();
    let path = format!(
        "/v1/webhook-endpoints/{}",
        endpoints["data"][0]["id"].as_str().unwrap_or_default()
    );
    let mut secrets = Vec::new();
    let begun = next(&app, &path).await?;
    assert!(begun.verified, "the first secret signs");
    for _ in 0..2 {
        let rotated = app.http.post(&format!("{path}/rotate-secret"), &json!({})).await?;
        let rotated = rotated.expect(200)?.json();
        secrets.push(rotated["secret"].as_str().unwrap_or_default().to_owned());
        let shown = app.http.get(&path).await?.expect(200)?.json();
        assert_eq!(shown["oldSecretUntil"], rotated["oldSecretUntil"]);
        assert!(shown.get("secret").is_none());
        let delivery = next(&app, &path).await?;
        let own = Webhook::new(secrets.last().map_or("", String::as_str))?;
        own.verify(&delivery.body, &delivery.headers)?;
        match secrets.as_slice() {
            [_, _] => Webhook::new(&secrets[0])?.verify(&delivery.body, &delivery.headers)?,
            _ => assert!(delivery.verified, "the first secret signs along"),
        }
    }
    let during = next(&app, &path).await?;
    assert!(!during.verified, "the first of three signs no more");
    assert_eq!(during.headers["webhook-signature"].to_str()?.split(' ').count(), 2);

    app.clock.advance(TimeDelta::hours(24) + TimeDelta::seconds(1));
    let after = next(&app, &path).await?;
    assert!(is_signed_by(&secrets[1], &after)? && !is_signed_by(&secrets[0], &after)?);
    assert_eq!(after.headers["webhook-signature"].to_str()?.split(' ').count(), 1);
    Sweep::Prune.run(app.worker_context()).await?;
    let left = app.row("SELECT count(sealed_old_secret) AS n FROM webhook_endpoints").await?;
    assert_eq!(left["n"], 0, "an old secret is destroyed when it signs no more");
    app.finish().await
}
