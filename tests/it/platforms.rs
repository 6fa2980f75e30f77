//! Every built-in platform, against the sandbox that wears it: its paths, its oddities, its shapes.

mod bluesky;
mod errors;
mod life;
mod linkedin;
mod pages;
mod reach;
mod reasons;
mod texts;
mod wire;

use std::collections::BTreeMap;

use anyhow::Context as _;
use chrono::TimeDelta;
use latchkey_tests::app::{Options, WORN, worn};
use latchkey_tests::sandbox::{Fault, Page};
use latchkey_tests::{Person, TestApp};
use serde_json::{Value, json};

/// Latchkey with every platform there is.
async fn dressed() -> anyhow::Result<TestApp> {
    dressed_in(&WORN).await
}

async fn dressed_in(ids: &[&str]) -> anyhow::Result<TestApp> {
    TestApp::start_with(Options { platforms: worn(ids), ..Options::default() }).await
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// What a connect of this person is started with.
pub(crate) fn request(app: &TestApp, platform: &str, user: &str, more: &Value) -> Value {
    let mut request = json!({ "platform": platform });
    if platform == "BLUESKY" {
        let password = app.sandbox.app_password(user);
        request["credentials"] = json!({ "identifier": handle(user), "password": password });
    }
    if let (Some(request), Some(more)) = (request.as_object_mut(), more.as_object()) {
        request.extend(more.clone());
    }
    request
}

fn handle(user: &str) -> String {
    format!("{user}.test")
}

/// Lets a person connect; answers the connect once it has ended, or waits for a choice.
pub(crate) async fn connect(
    app: &TestApp,
    (platform, user): (&str, &str),
    more: &Value,
) -> anyhow::Result<Value> {
    connect_in(app, &app.owner.workspace_id.to_string(), (platform, user), more).await
}

async fn connect_in(
    app: &TestApp,
    workspace: &str,
    (platform, user): (&str, &str),
    more: &Value,
) -> anyhow::Result<Value> {
    let path = format!("/v1/workspaces/{workspace}/connects");
    let started = app.http.post(&path, &request(app, platform, user, more)).await?;
    let started = started.expect(201)?.json();
    if platform != "BLUESKY" {
        app.approve(&started, &Person::new(user)?).await?.expect(303)?;
    }
    app.ended_in(workspace, text(&started["connectId"])).await
}

/// The same, and answers the account.
pub(crate) async fn connected(
    app: &TestApp,
    who: (&str, &str),
    more: &Value,
) -> anyhow::Result<String> {
    let ended = connect(app, who, more).await?;
    assert_eq!(ended["status"], "connected", "{who:?}: {ended:#}");
    Ok(text(&ended["accountIds"][0]).to_owned())
}

/// Chooses among what a connect laid out, and answers its accounts.
pub(crate) async fn choose(
    app: &TestApp,
    connect: &Value,
    ids: &[&str],
) -> anyhow::Result<Vec<String>> {
    assert_eq!(connect["status"], "selecting", "{connect:#}");
    let workspace = text(&connect["workspaceId"]);
    let path = format!("/v1/workspaces/{workspace}/connects/{}/selection", text(&connect["id"]));
    app.http.post(&path, &json!({ "candidateIds": ids })).await?.expect(202)?;
    let ended = app.connected_in(workspace, text(&connect["id"])).await?;
    let accounts = ended["accountIds"].as_array().cloned().unwrap_or_default();
    Ok(accounts.iter().map(|id| text(id).to_owned()).collect())
}

/// Disconnects, and answers the receipt.
pub(crate) async fn disconnected(app: &TestApp, account: &str) -> anyhow::Result<Value> {
    disconnected_in(app, &app.owner.workspace_id.to_string(), account).await
}

async fn disconnected_in(app: &TestApp, workspace: &str, account: &str) -> anyhow::Result<Value> {
    let path = format!("/v1/workspaces/{workspace}/accounts/{account}");
    app.http.delete(&path).await?.expect(202)?;
    let receipt = latchkey_tests::app::eventually(|| async {
        let receipt = app.http.get(&path).await?.expect(200)?.json()["revocation"].clone();
        Ok((receipt["status"] != "pending").then_some(receipt))
    });
    receipt.await.with_context(|| format!("{account} was not released"))
}

async fn refresh(app: &TestApp, account: &str) -> anyhow::Result<latchkey_tests::app::Answer> {
    app.http.post(&app.path(&format!("/accounts/{account}/refresh")), &json!({})).await
}

async fn generation(app: &TestApp, account: &str) -> anyhow::Result<u64> {
    Ok(app.account(account).await?["tokenGeneration"].as_u64().unwrap_or_default())
}

/// Refreshes, and waits until there is another generation.
pub(crate) async fn refreshed(app: &TestApp, account: &str) -> anyhow::Result<Value> {
    let before = generation(app, account).await?;
    refresh(app, account).await?.expect(202)?;
    app.account_until(account, |account| account["tokenGeneration"] == before + 1).await
}

pub(crate) fn page(id: &str, roles: &[&str]) -> Page {
    Page {
        id: id.to_owned(),
        name: format!("Page {id}"),
        username: Some(format!("page.{id}")),
        roles: roles.iter().map(ToString::to_string).collect(),
    }
}

/// An answer to the letter, in place of the platform's own.
fn answer(status: u16, headers: &[(&str, &str)], body: &Value) -> Fault {
    let headers: BTreeMap<_, _> =
        headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Fault::Answer { status, headers, body: body.to_string() }
}

/// Beyond the least age of a token that extends itself.
fn a_day_and_more() -> TimeDelta {
    TimeDelta::hours(25)
}

fn lives(app: &TestApp, user: &str) -> usize {
    app.sandbox.families().iter().filter(|family| family.user == user && family.alive).count()
}
