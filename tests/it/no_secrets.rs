//! No secret anywhere but sealed.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use latchkey_shared::telemetry;
use latchkey_tests::app::{eventually, logs};
use latchkey_tests::sandbox::{Endpoint, Fault, FaultRule};
use latchkey_tests::{Person, TestApp};
use secrecy::ExposeSecret as _;
use serde_json::json;

/// Everything that must not be found, with a name for the message.
type Secrets = Vec<(&'static str, String)>;

/// Goes through every flow with tokens that can be recognised, then searches everything that leaves
/// a trace: raw, as base64, as hex and URL-encoded.
#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_found_outside_seals() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let mut taps = [
        app.tap("commands").await?,
        app.tap("events").await?,
        app.tap("dead").await?,
    ];
    let mut secrets: Secrets = vec![("API key", app.owner.expose_key().to_owned())];
    secrets.push((
        "client secret",
        latchkey_tests::SandboxConfig::default().client_secret,
    ));

    let key = app
        .http
        .post(
            "/v1/api-keys",
            &json!({ "name": "second", "role": "admin" }),
        )
        .await?
        .expect(201)?
        .json();
    secrets.push((
        "second API key",
        key["key"].as_str().unwrap_or_default().to_owned(),
    ));
    let callbacks = walk_every_flow(&app).await?;
    secrets.extend(
        app.sandbox
            .secrets()
            .into_iter()
            .map(|secret| ("sandbox", secret)),
    );
    assert!(secrets.len() > 10, "the flows issued tokens");

    let mut places = vec![
        ("database", dump(&app)?),
        ("logs", logs()),
        ("metrics", telemetry::metrics().render()),
        (
            "responses and redirects",
            without_shown_once(&app.http.seen(), &key),
        ),
    ];
    for (tap, name) in taps.iter_mut().zip(["commands", "events", "dead letters"]) {
        places.push((name, tap.rest().await.join("\n")));
    }
    places.push((
        "webhooks",
        app.receiver
            .deliveries()
            .iter()
            .map(|delivery| format!("{:?} {}", delivery.headers, delivery.event))
            .collect(),
    ));
    for (place, text) in &places {
        assert!(
            !text.is_empty() || *place == "dead letters",
            "nothing was seen in {place}"
        );
        for (name, secret) in &secrets {
            for form in forms(secret) {
                assert!(
                    !text.contains(&form),
                    "{name} was found in {place}: {}",
                    around(text, &form)
                );
            }
        }
    }
    for (place, text) in places
        .iter()
        .filter(|(place, _)| *place != "responses and redirects")
    {
        for state in &callbacks {
            assert!(
                !text.contains(state.as_str()),
                "a state was found in {place}"
            );
        }
    }
    app.finish().await
}

/// Connects, is cancelled, fails, refreshes, is refused, reconnects and disconnects. Answers the
/// states that were live.
async fn walk_every_flow(app: &TestApp) -> anyhow::Result<Vec<String>> {
    let mut states = Vec::new();
    let redirect = json!({ "redirectUrl": "http://127.0.0.1:9/done" });
    let started = app.start_connect(redirect.clone()).await?;
    states.push(started["state"].as_str().unwrap_or_default().to_owned());
    let sam = Person::new("sam")?;
    let callback = sam
        .approve(started["authorizeUrl"].as_str().unwrap_or_default())
        .await?;
    app.http.browse(callback.as_str()).await?.expect(303)?;
    app.http.browse(callback.as_str()).await?.expect(409)?;
    let connected = app
        .ended(started["connectId"].as_str().unwrap_or_default())
        .await?;
    let account = connected["accountIds"][0]
        .as_str()
        .unwrap_or_default()
        .to_owned();

    for fault in [
        Fault::Status { status: 500 },
        Fault::Garbage,
        Fault::ErrorInOk {
            error: "invalid_grant".to_owned(),
        },
    ] {
        app.sandbox
            .inject(FaultRule::new(Endpoint::TokenCode, fault).times(1));
        let failing = app.start_connect(redirect.clone()).await?;
        states.push(failing["state"].as_str().unwrap_or_default().to_owned());
        app.approve(&failing, &Person::new("eve")?)
            .await?
            .expect(303)?;
        assert_eq!(
            app.ended(failing["connectId"].as_str().unwrap_or_default())
                .await?["status"],
            "failed"
        );
    }
    let denied = app.start_connect(redirect).await?;
    let callback = sam
        .deny(denied["authorizeUrl"].as_str().unwrap_or_default())
        .await?;
    app.http.browse(callback.as_str()).await?.expect(303)?;

    let refresh = app.path(&format!("/accounts/{account}/refresh"));
    app.http.post(&refresh, &json!({})).await?.expect(202)?;
    app.account_until(&account, |account| account["tokenGeneration"] == 2)
        .await?;
    app.sandbox.inject(
        FaultRule::new(Endpoint::TokenRefresh, Fault::Drop)
            .after()
            .times(1),
    );
    app.http.post(&refresh, &json!({})).await?.expect(202)?;
    eventually(|| async {
        Ok((!app
            .row("SELECT in_doubt_since FROM grants WHERE status = 'active'")
            .await?["in_doubt_since"]
            .is_null())
        .then_some(()))
    })
    .await?;
    app.clock.advance(TimeDelta::hours(1));
    app.account_until(&account, |account| account["status"] == "token_expired")
        .await?;
    app.connect("sam").await?;
    app.http
        .delete(&app.path(&format!("/accounts/{account}")))
        .await?
        .expect(202)?;
    app.account_until(&account, |account| {
        account["revocation"]["status"] == "revoked"
    })
    .await?;
    app.event("account.revoked", &account).await?;
    for path in [
        "/v1/api-keys",
        "/v1/webhook-endpoints",
        "/v1/platforms",
        "/v1/events",
        "/v1/workspaces",
    ] {
        app.http.get(path).await?.expect(200)?;
    }
    app.http.get(&app.path("/connects")).await?.expect(200)?;
    app.http.get(&app.path("/accounts")).await?.expect(200)?;
    Ok(states)
}

/// The whole database as text; what is binary stands there in hex.
fn dump(app: &TestApp) -> anyhow::Result<String> {
    let dump = Command::new("pg_dump")
        .arg("--dbname")
        .arg(app.common().database_url.expose_secret())
        .output()?;
    anyhow::ensure!(
        dump.status.success(),
        "{}",
        String::from_utf8_lossy(&dump.stderr)
    );
    Ok(String::from_utf8(dump.stdout)?)
}

/// Answers without the one place where a new key is shown on purpose.
fn without_shown_once(seen: &str, key: &serde_json::Value) -> String {
    let key = key["key"].as_str().unwrap_or_default();
    assert_eq!(seen.matches(key).count(), 1, "a key is shown once");
    seen.replacen(key, "", 1)
}

fn forms(secret: &str) -> [String; 6] {
    let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    [
        secret.to_owned(),
        hex::encode(secret),
        hex::encode_upper(secret),
        STANDARD_NO_PAD.encode(secret),
        URL_SAFE_NO_PAD.encode(secret),
        encoded,
    ]
}

fn around<'a>(text: &'a str, found: &str) -> &'a str {
    let at = text.find(found).unwrap_or(0);
    let (from, to) = (at.saturating_sub(200), (at + 200).min(text.len()));
    text.get(from..to).unwrap_or("…")
}
