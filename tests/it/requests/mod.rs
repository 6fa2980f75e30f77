//! Requests over the broker: a producer with nothing but an AMQP client.

mod good;
mod operators;
mod refused;
mod tenants;
mod trouble;
mod twice;

use latchkey_tests::TestApp;
use latchkey_tests::app::{Ask, Producer, eventually};
use serde_json::{Value, json};

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A producer with a key of this role that reaches the whole organisation.
pub(crate) async fn linked(app: &TestApp, role: &str) -> anyhow::Result<Producer> {
    link(app, &json!({ "name": "producer", "role": role })).await?;
    app.producer().await
}

/// Ties this app's user of the broker to a new key; answers the key's id.
async fn link(app: &TestApp, key: &Value) -> anyhow::Result<String> {
    let made = app.http.post("/v1/api-keys", key).await?.expect(201)?.json();
    let id = text(&made["id"]).to_owned();
    app.link_producer(&id).await?;
    Ok(id)
}

/// A connect for the sandbox in the app's workspace.
pub(crate) fn connect(app: &TestApp, producer: &Producer) -> Ask {
    let body = json!({ "workspaceId": app.owner.workspace_id, "platform": "SANDBOX" });
    producer.request("connect.requested", &body)
}

/// A request about an account of the app's workspace.
fn about(app: &TestApp, producer: &Producer, (kind, account): (&str, &str)) -> Ask {
    let body = json!({ "workspaceId": app.owner.workspace_id, "accountId": account });
    producer.request(kind, &body)
}

async fn count(app: &TestApp, what: &str) -> anyhow::Result<i64> {
    let row = app.row(&format!("SELECT count(*) AS n FROM {what}")).await?;
    Ok(row["n"].as_i64().unwrap_or(-1))
}

/// Waits until so many dead letters are kept; answers their reasons, oldest first.
async fn dead_letters(app: &TestApp, wanted: i64) -> anyhow::Result<Vec<String>> {
    let reasons = "SELECT json_agg(reason ORDER BY id) AS reasons FROM dead_letters";
    eventually(|| async { Ok((count(app, "dead_letters").await? == wanted).then_some(())) })
        .await?;
    let reasons = app.row(reasons).await?;
    let reasons = reasons["reasons"].as_array().cloned().unwrap_or_default();
    Ok(reasons.iter().map(|reason| text(reason).to_owned()).collect())
}
