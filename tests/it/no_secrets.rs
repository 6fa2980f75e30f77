//! No secret anywhere but sealed.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use latchkey_shared::telemetry;
use latchkey_tests::app::{Answer, Options, eventually, logs, worn};
use latchkey_tests::sandbox::{Endpoint, Fault, FaultRule, REPEAT};
use latchkey_tests::{Person, TestApp};
use reqwest::Method;
use serde_json::{Value, json};

use super::compat::sign_in::{cookie, sign_in};
use super::platforms::{choose, connect, connected, disconnected, page, refreshed};
use super::requests;

/// Everything that must not be found, with a name for the message.
type Secrets = Vec<(&'static str, String)>;

/// Goes through every flow with tokens that can be recognised, then searches everything that leaves
/// a trace: raw, as base64, as hex and URL-encoded.
#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_found_outside_seals() -> anyhow::Result<()> {
    let platforms = worn(&["FACEBOOK_PAGE", "INSTAGRAM", "BLUESKY"]);
    let app = TestApp::start_with(Options { platforms, ..Options::default() }).await?;
    let mut taps = [app.tap("commands").await?, app.tap("events").await?, app.tap("dead").await?];
    let new_key = json!({ "name": "second", "role": "admin" });
    let key = post_once(&app, "/v1/api-keys", &new_key).await?.expect(201)?.json();
    let again = post_once(&app, "/v1/api-keys", &new_key).await?.expect(201)?.json();
    assert_eq!(again, key, "whoever repeats the request gets the same answer");
    let key = key["key"].as_str().unwrap_or_default();
    let states = walk_every_flow(&app).await?;
    change_a_secret(&app).await?;
    walk_the_platforms(&app).await?;
    let mut secrets: Secrets = vec![
        ("the API key", app.owner.expose_key().to_owned()),
        ("the second API key", key.to_owned()),
        ("an idempotency key", IDEMPOTENCY_KEY.to_owned()),
        ("the client secret", latchkey_tests::SandboxConfig::default().client_secret),
        ("an app's old secret", OLD_SECRET.to_owned()),
        ("an app's new secret", NEW_SECRET.to_owned()),
    ];
    secrets.extend(app.sandbox.secrets().into_iter().map(|secret| ("a code or token", secret)));
    assert!(secrets.len() > 10, "the flows issued tokens");

    let mut places = vec![
        ("the database", dump(&app)?),
        ("the logs", logs()),
        ("the metrics", telemetry::metrics().render()),
        ("the webhooks", webhooks(&app)),
    ];
    for (tap, name) in taps.iter_mut().zip(["the commands", "the events", "the dead letters"]) {
        places.push((name, tap.rest().await.join("\n")));
    }
    for (place, text) in &places {
        assert!(!text.is_empty() || *place == "the dead letters", "nothing was seen in {place}");
        let states = states.iter().map(|state| ("a state, link, claim or session", state.clone()));
        assert_clean(place, text, secrets.iter().cloned().chain(states));
    }
    // A state and a link are in the answer that hands the URLs out, a claim in the redirect; nothing else
    // is in any.
    let answers = without_shown_once(&app.http.seen(), key);
    assert_clean("responses and redirects", &answers, secrets.into_iter());
    app.finish().await
}

/// People put all sorts of things into it.
const IDEMPOTENCY_KEY: &str = "secret-of-the-caller-0f3b9a";

async fn post_once(app: &TestApp, path: &str, body: &Value) -> anyhow::Result<Answer> {
    let request = app.http.request(Method::POST, path).header("idempotency-key", IDEMPOTENCY_KEY);
    app.http.send(request.json(body)).await
}

pub(crate) fn assert_clean(
    place: &str,
    text: &str,
    secrets: impl Iterator<Item = (&'static str, String)>,
) {
    for (name, secret) in secrets {
        for form in forms(&secret) {
            assert!(!text.contains(&form), "{name} is in {place}: {}", around(text, &form));
        }
    }
}

fn webhooks(app: &TestApp) -> String {
    let deliveries = app.receiver.deliveries();
    deliveries.iter().map(|delivery| format!("{:?} {}", delivery.headers, delivery.event)).collect()
}

/// Connects, is cancelled, fails, refreshes, is refused, reconnects and disconnects. Answers the
/// states that were live.
async fn walk_every_flow(app: &TestApp) -> anyhow::Result<Vec<String>> {
    let mut states = Vec::new();
    let sam = Person::new("sam")?;
    let started = start(app, &mut states).await?;
    let callback = sam.approve(text(&started["authorizeUrl"])).await?;
    app.http.browse(callback.as_str()).await?.expect(303)?;
    app.http.browse(callback.as_str()).await?.expect(409)?;
    let connected = app.ended(text(&started["connectId"])).await?;
    fail_to_connect(app, &mut states).await?;
    bind(app, &mut states).await?;
    let signed_in = sign_in(&app.browser(), app.owner.expose_key()).await?;
    let cookie = cookie(&signed_in);
    let (_, session) = cookie.split_once('=').unwrap_or_default();
    assert!(session.len() > 20, "somebody is signed in");
    states.push(session.to_owned());
    let denied = start(app, &mut states).await?;
    let callback = sam.deny(text(&denied["authorizeUrl"])).await?;
    app.http.browse(callback.as_str()).await?.expect(303)?;

    ask_over_the_broker(app, &mut states).await?;

    let account = text(&connected["accountIds"][0]);
    lose_and_reconnect(app, account).await?;
    app.http.delete(&app.path(&format!("/accounts/{account}"))).await?.expect(202)?;
    let revoked = |account: &Value| account["revocation"]["status"] == "revoked";
    app.account_until(account, revoked).await?;
    app.event("account.revoked", account).await?;
    let mut lists = vec![app.path("/connects"), app.path("/accounts")];
    lists.push(app.path(&format!("/accounts/{account}/history")));
    let of_organisation = ["api-keys", "webhook-endpoints", "platforms", "events", "workspaces"];
    lists.extend(of_organisation.map(|list| format!("/v1/{list}")));
    for list in lists {
        app.http.get(&list).await?.expect(200)?;
    }
    Ok(states)
}

/// The answer to a producer has what the answer over HTTP has.
async fn ask_over_the_broker(app: &TestApp, states: &mut Vec<String>) -> anyhow::Result<()> {
    let mut producer = requests::linked(app, "admin").await?;
    let ask = requests::connect(app, &producer);
    for _ in 0..2 {
        let ready = producer.ask(&ask).await?;
        states.push(text(&ready.body["state"]).to_owned());
        let (_, link) = text(&ready.body["connectUrl"]).split_once("link=").unwrap_or_default();
        assert!(!link.is_empty(), "each has a link: {:?}", ready.kind);
        states.push(link.to_owned());
    }
    Ok(())
}

async fn start(app: &TestApp, states: &mut Vec<String>) -> anyhow::Result<Value> {
    let body = json!({ "platform": "SANDBOX", "redirectUrl": "http://127.0.0.1:9/done" });
    let path = app.path("/connects");
    let request = app.http.request(Method::POST, &path).json(&body);
    // A key for each, so that each answer with its state and URL is kept.
    let request = request.header("idempotency-key", format!("{IDEMPOTENCY_KEY}{}", states.len()));
    let started = app.http.send(request).await?.expect(201)?.json();
    states.push(text(&started["state"]).to_owned());
    let (_, link) = text(&started["connectUrl"]).split_once("link=").unwrap_or_default();
    assert!(!link.is_empty(), "each has a link");
    states.push(link.to_owned());
    Ok(started)
}

/// Begins in one browser, comes back in another, and claims.
async fn bind(app: &TestApp, states: &mut Vec<String>) -> anyhow::Result<()> {
    let begun = start(app, states).await?;
    let (owner, other) = (app.browser(), app.browser());
    let url = owner.begin(&begun).await?;
    other.press(&begun, &[]).await.expect_err("the page is the other's");
    let callback = Person::new("eve")?.deny(&url).await?;
    owner.open(callback.as_str()).await?.expect(303)?;
    let (id, claim) = app.claiming(&owner, &Person::new("eve")?, json!({})).await?;
    let path = app.path(&format!("/connects/{id}/claim"));
    app.http.post(&path, &json!({ "claim": "wrong" })).await?.expect(403)?;
    let body = json!({ "claim": claim });
    let request = app.http.request(Method::POST, &path).json(&body);
    let request = request.header("idempotency-key", format!("{IDEMPOTENCY_KEY}-claim"));
    let claimed = app.http.send(request).await?.expect(200)?.json();
    disconnected(app, text(&claimed["accountIds"][0])).await?;
    states.push(claim);
    Ok(())
}

async fn fail_to_connect(app: &TestApp, states: &mut Vec<String>) -> anyhow::Result<()> {
    let refused = Fault::ErrorInOk { error: "invalid_grant".to_owned() };
    for fault in [Fault::Status { status: 500 }, Fault::Garbage, refused] {
        app.sandbox.inject(FaultRule::new(Endpoint::TokenCode, fault).times(1));
        let failing = start(app, states).await?;
        app.approve(&failing, &Person::new("eve")?).await?.expect(303)?;
        assert_eq!(app.ended(text(&failing["connectId"])).await?["status"], "failed");
    }
    Ok(())
}

async fn lose_and_reconnect(app: &TestApp, account: &str) -> anyhow::Result<()> {
    let refresh = app.path(&format!("/accounts/{account}/refresh"));
    app.http.post(&refresh, &json!({})).await?.expect(202)?;
    app.account_until(account, |account| account["tokenGeneration"] == 2).await?;
    app.sandbox.inject(FaultRule::new(Endpoint::TokenRefresh, Fault::Drop).after().times(1));
    app.http.post(&refresh, &json!({})).await?.expect(202)?;
    let doubtful = "SELECT count(in_doubt_since) AS n FROM grants";
    eventually(|| async { Ok((app.row(doubtful).await?["n"] == 1).then_some(())) }).await?;
    app.clock.advance(TimeDelta::hours(1));
    app.account_until(account, |account| account["status"] == "token_expired").await?;
    app.connect("sam").await.map(drop)
}

/// Tokens and secrets in addresses, page tokens, app passwords; and calls that are cut, so that somebody
/// might tell the address.
async fn walk_the_platforms(app: &TestApp) -> anyhow::Result<()> {
    app.sandbox.set_pages("sam", ["7001", "7002"].map(|id| page(id, &["CREATE_CONTENT"])).to_vec());
    for endpoint in [Endpoint::LongLived, Endpoint::Accounts, Endpoint::Inspect, Endpoint::Revoke] {
        app.sandbox.inject(FaultRule::new(endpoint, Fault::Drop).times(1));
    }
    let waiting = connect(app, ("FACEBOOK_PAGE", "sam"), &json!({})).await?;
    let candidates = app.path(&format!("/connects/{}/candidates", text(&waiting["id"])));
    app.http.get(&candidates).await?.expect(200)?;
    let pages = choose(app, &waiting, &["7001", "7002"]).await?;
    for account in &pages {
        app.account_until(account, |account| account["reauthDueAt"].is_string()).await?;
    }
    for (account, user) in [("INSTAGRAM", "sam"), ("BLUESKY", "sam")] {
        let account = connected(app, (account, user), &json!({})).await?;
        app.clock.advance(TimeDelta::hours(25));
        refreshed(app, &account).await?;
        disconnected(app, &account).await?;
    }
    let wrong = json!({ "credentials": { "identifier": "sam.test", "password": app.sandbox.app_password("eve") } });
    assert_eq!(connect(app, ("BLUESKY", "sam"), &wrong).await?["status"], "failed");
    for account in &pages {
        disconnected(app, account).await?;
    }
    app.clock.advance(TimeDelta::minutes(2));
    Ok(())
}

const OLD_SECRET: &str = "acme-secret-of-last-year-0123456789";
const NEW_SECRET: &str = "acme-secret-of-this-year-0123456789";

/// An app whose newest secret the platform does not know yet.
async fn change_a_secret(app: &TestApp) -> anyhow::Result<()> {
    app.sandbox.set_client("acme", &[OLD_SECRET]);
    let new = json!({ "platform": "SANDBOX", "name": "Ours", "clientId": "acme", "clientSecret": OLD_SECRET });
    let own = app.http.post("/v1/apps", &new).await?.expect(201)?.json();
    let secrets = format!("/v1/apps/{}/secrets", text(&own["id"]));
    let new = json!({ "clientSecret": NEW_SECRET });
    app.http.post(&secrets, &new).await?.expect(201)?;
    let started = app.start_connect(json!({ "appId": own["id"] })).await?;
    app.approve(&started, &Person::new("ann")?).await?.expect(303)?;
    assert_eq!(app.ended(text(&started["connectId"])).await?["status"], "connected");
    app.http.get("/v1/apps").await?.expect(200).map(drop)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The whole database as text; what is binary stands there in hex.
pub(crate) fn dump(app: &TestApp) -> anyhow::Result<String> {
    let dump = Command::new("pg_dump").arg("--dbname").arg(app.owner_url()).output()?;
    anyhow::ensure!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    Ok(String::from_utf8(dump.stdout)?)
}

/// Answers without the two places where a new key is shown on purpose: when it is made, and when the
/// request is repeated.
fn without_shown_once(seen: &str, key: &str) -> String {
    assert_eq!(seen.matches(key).count(), 2, "a key is shown once, and to whoever repeats that");
    seen.replacen(key, "", 2)
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

/// A provider that repeats what it was sent, raw and in base64, in its words and in an identity.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_provider_repeats_of_a_request_is_kept_nowhere() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let said = json!({ "error": "odd", "error_description": "you sent {repeated}" }).to_string();
    let repeats = |endpoint, name: &str, status| {
        let headers = [(REPEAT.to_owned(), name.to_owned())].into();
        FaultRule::new(endpoint, Fault::Answer { status, headers, body: said.clone() })
    };
    let mut number = 0;
    let mut person = || {
        number += 1;
        format!("sam-{number}")
    };
    for (endpoint, name) in [
        (Endpoint::TokenCode, "code"),
        (Endpoint::TokenCode, "code_verifier"),
        (Endpoint::TokenCode, "client_secret"),
        (Endpoint::TokenCode, "authorization"),
        (Endpoint::Userinfo, "authorization"),
    ] {
        let user = person();
        app.sandbox.inject(repeats(endpoint, name, 400).for_user(&user));
        let failed = connect(&app, ("SANDBOX", &user), &json!({})).await?;
        assert_eq!(failed["status"], "failed", "{name}: {failed:#}");
        assert_eq!(failed["platformError"]["error"], "odd", "{name}: {failed:#}");
    }
    for (name, status) in [
        ("refresh_token", 400),
        ("refresh_token", 200),
        ("client_secret", 400),
        ("authorization", 503),
    ] {
        let user = person();
        let account = app.connect(&user).await?.account_id;
        app.sandbox.inject(repeats(Endpoint::TokenRefresh, name, status).for_user(&user));
        let path = app.path(&format!("/accounts/{account}/refresh"));
        app.http.post(&path, &json!({})).await?.expect(202)?;
        app.account_until(&account, |shown| !shown["lastError"].is_null()).await?;
    }
    for name in ["token", "client_secret", "authorization"] {
        let user = person();
        let account = app.connect(&user).await?.account_id;
        app.sandbox.inject(repeats(Endpoint::Revoke, name, 400).for_user(&user).times(1));
        app.http.delete(&app.path(&format!("/accounts/{account}"))).await?.expect(202)?;
    }
    let named = json!({ "id": "id-of-somebody", "name": "{repeated}", "username": "{repeated}" });
    let headers = [(REPEAT.to_owned(), "authorization".to_owned())].into();
    let named = Fault::Answer { status: 200, headers, body: named.to_string() };
    let user = person();
    app.sandbox.inject(FaultRule::new(Endpoint::Userinfo, named).for_user(&user));
    connect(&app, ("SANDBOX", &user), &json!({})).await?;
    app.until_none("outbox WHERE done_at IS NULL").await?;

    let client = latchkey_tests::SandboxConfig::default().client_secret;
    let mut secrets: Secrets = vec![("the client secret", client)];
    secrets.extend(app.sandbox.secrets().into_iter().map(|secret| ("a code or token", secret)));
    let sent = app.sandbox.requests();
    let bodies =
        sent.iter().flat_map(|request| url::form_urlencoded::parse(request.body.as_bytes()));
    let verifiers = bodies.filter(|(name, _)| name == "code_verifier");
    secrets.extend(verifiers.map(|(_, verifier)| ("a verifier", verifier.into_owned())));
    for (place, text) in [
        ("the database", dump(&app)?),
        ("the logs", logs()),
        ("the webhooks", webhooks(&app)),
        ("the responses", app.http.seen()),
    ] {
        assert!(text.contains("[redacted]") || place == "the logs", "{place} tells what was said");
        assert_clean(place, &text, secrets.iter().cloned());
    }
    app.finish().await
}
