//! Platforms that answer badly, endpoint by endpoint: each fault with what it means, what becomes of
//! connect, grant and account, which event tells it, what the API shows, and how it heals.
//!
//! In each story everybody meets a fault of their own, once, at the same time.

mod exchange;
mod identity;
mod refresh;
mod revocation;
mod unreachable;

use std::time::Duration;

use anyhow::Context as _;
use chrono::TimeDelta;
use futures_util::future::try_join_all;
use latchkey_shared::clock::Clock;
use latchkey_tests::TestApp;
use latchkey_tests::app::Connected;
use latchkey_tests::sandbox::{Endpoint, Fault, FaultRule, Kind, LedgerEntry};
use serde_json::{Value, json};

/// How long a platform may take in these stories: silence and drips are waited for.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn redirect() -> Fault {
    Fault::Redirect { location: "https://elsewhere.example/".to_owned() }
}

fn html() -> Fault {
    Fault::WrongContentType { content_type: "text/html; charset=utf-8".to_owned() }
}

/// Slower than anybody waits for, even if the answer is `{}`.
fn drip() -> Fault {
    Fault::Drip { interval_ms: 2000 }
}

fn in_ok(error: &str) -> Fault {
    Fault::ErrorInOk { error: error.to_owned() }
}

fn retry_after(status: u16, value: &str) -> Fault {
    Fault::RetryAfter { status, value: value.to_owned() }
}

/// An HTTP date, so many seconds from now.
fn http_date(seconds: i64) -> String {
    let at = Clock::system().now() + TimeDelta::seconds(seconds);
    at.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// Connects all of them at once.
async fn connect_all(app: &TestApp, users: &[&str]) -> anyhow::Result<Vec<Connected>> {
    try_join_all(users.iter().map(|user| app.connect(user))).await
}

async fn refresh_now(app: &TestApp, account: &str) -> anyhow::Result<()> {
    let path = app.path(&format!("/accounts/{account}/refresh"));
    app.http.post(&path, &json!({})).await?.expect(202).map(drop)
}

/// One fault for this person alone, once.
fn strike(app: &TestApp, user: &str, rule: &FaultRule) {
    app.sandbox.inject(rule.clone().for_user(user).times(1));
}

/// What the sandbox saw of one person at one endpoint, one entry a call.
fn calls(app: &TestApp, endpoint: Endpoint, user: &str) -> Vec<LedgerEntry> {
    let mut ledger = app.sandbox.ledger();
    ledger.retain(|entry| {
        entry.endpoint == Some(endpoint)
            && entry.user.as_deref() == Some(user)
            && entry.kind != Kind::FamilyRevoked
    });
    ledger
}

/// The row of the grant that keeps an account alive.
async fn grant_of(app: &TestApp, account: &str) -> anyhow::Result<Value> {
    let query = format!(
        "SELECT g.status, g.generation, g.attempts, g.in_doubt_since, g.calling_generation, g.lease_until, \
                g.end_reason, g.last_error_code, \
                extract(epoch FROM g.refresh_at - g.last_error_at)::float8 AS waits, \
                extract(epoch FROM g.access_expires_at - g.refresh_at)::float8 AS before_end \
         FROM grants g JOIN accounts a ON a.grant_id = g.id WHERE a.id = '{account}'"
    );
    app.row(&query).await.with_context(|| format!("the grant of {account}"))
}
