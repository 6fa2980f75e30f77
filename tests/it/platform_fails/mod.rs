//! A platform that fails as a whole, and platforms beside it: who is called, who waits, who is lost.

mod accounts;
mod brake;
mod debt;
mod doubt;
mod neighbours;

use std::time::Duration;

use chrono::TimeDelta;
use futures_util::future::try_join_all;
use latchkey_tests::TestApp;
use latchkey_tests::app::{Connected, Options};
use latchkey_tests::sandbox::{Endpoint, Kind};
use serde_json::Value;

/// As operators run it.
fn usual() -> Options {
    Options { refusal_confirm: Duration::from_secs(60), brake_after: 5, ..Options::default() }
}

/// Connects this many people.
async fn crowd(app: &TestApp, count: usize) -> anyhow::Result<Vec<Connected>> {
    let users: Vec<String> = (0..count).map(|number| format!("user-{number}")).collect();
    let mut connected = Vec::new();
    for some in users.chunks(10) {
        connected.extend(try_join_all(some.iter().map(|user| app.connect(user))).await?);
    }
    Ok(connected)
}

async fn make_all_due(app: &TestApp) -> anyhow::Result<()> {
    app.execute("UPDATE grants SET refresh_at = now(), next_attempt_at = now()").await
}

async fn count(app: &TestApp, rows: &str) -> anyhow::Result<i64> {
    let row = app.row(&format!("SELECT count(*) AS n FROM {rows}")).await?;
    Ok(row["n"].as_i64().unwrap_or_default())
}

/// How often the platform was asked for a refresh.
fn calls(app: &TestApp) -> usize {
    let refresh = Some(Endpoint::TokenRefresh);
    let ledger = app.sandbox.ledger();
    ledger
        .iter()
        .filter(|entry| entry.endpoint == refresh && entry.kind != Kind::FamilyRevoked)
        .count()
}

fn of_kind(app: &TestApp, kind: Kind) -> usize {
    app.sandbox.ledger().iter().filter(|entry| entry.kind == kind).count()
}

/// The events of this type, in order.
async fn events(app: &TestApp, kind: &str) -> anyhow::Result<Vec<Value>> {
    let query =
        format!("SELECT json_agg(data ORDER BY id) AS all FROM events WHERE type = '{kind}'");
    Ok(app.row(&query).await?["all"].as_array().cloned().unwrap_or_default())
}

async fn until_brake(app: &TestApp, on: bool) -> anyhow::Result<()> {
    let wanted = if on { "IS NOT NULL" } else { "IS NULL" };
    let query = format!("app_health WHERE braked_since {wanted}");
    latchkey_tests::app::eventually(|| async { Ok((count(app, &query).await? == 1).then_some(())) })
        .await
}

/// Waits until no call is open.
async fn until_quiet(app: &TestApp) -> anyhow::Result<()> {
    app.until_none("grants WHERE lease_until IS NOT NULL").await
}

/// Waits until an event of this type was sent.
async fn until_told(app: &TestApp, kind: &str) -> anyhow::Result<()> {
    latchkey_tests::app::eventually(|| async {
        Ok((!events(app, kind).await?.is_empty()).then_some(()))
    })
    .await
}

/// Time passes until the next probe may call, and a little more.
fn until_next_probe(app: &TestApp) {
    app.clock.advance(TimeDelta::seconds(31));
}
