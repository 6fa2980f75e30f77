//! Apps: OAuth clients of the customer's own, whose secrets change without losing an account.

use chrono::TimeDelta;
use latchkey_tests::app::{Http, eventually};
use latchkey_tests::sandbox::{Endpoint, Fault, FaultRule, Kind};
use latchkey_tests::{Person, TestApp};
use serde_json::{Value, json};

const CLIENT: &str = "acme-client";
const OLD: &str = "acme-secret-of-last-year-0123456789";
const NEW: &str = "acme-secret-of-this-year-0123456789";

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// An app that the sandbox knows by its old secret.
async fn make(app: &TestApp) -> anyhow::Result<Value> {
    app.sandbox.set_client(CLIENT, &[OLD]);
    let body =
        json!({ "platform": "SANDBOX", "name": "Ours", "clientId": CLIENT, "clientSecret": OLD });
    Ok(app.http.post("/v1/apps", &body).await?.expect(201)?.json())
}

async fn add_secret(app: &TestApp, id: &str) -> anyhow::Result<Value> {
    let path = format!("/v1/apps/{id}/secrets");
    let body = json!({ "clientSecret": NEW });
    Ok(app.http.post(&path, &body).await?.expect(201)?.json())
}

async fn connect_with(app: &TestApp, user: &str, id: &str) -> anyhow::Result<String> {
    let started = app.start_connect(json!({ "appId": id })).await?;
    let url = text(&started["authorizeUrl"]);
    anyhow::ensure!(url.contains(&format!("client_id={CLIENT}")), "another client: {url}");
    app.approve(&started, &Person::new(user)?).await?.expect(303)?;
    let ended = app.ended(text(&started["connectId"])).await?;
    anyhow::ensure!(ended["status"] == "connected", "not connected: {ended:#}");
    Ok(text(&ended["accountIds"][0]).to_owned())
}

async fn refresh_now(app: &TestApp, account: &str) -> anyhow::Result<()> {
    let path = app.path(&format!("/accounts/{account}/refresh"));
    app.http.post(&path, &json!({})).await?.expect(202).map(drop)
}

async fn refresh_until(app: &TestApp, account: &str, generation: i64) -> anyhow::Result<()> {
    refresh_now(app, account).await?;
    app.account_until(account, |account| account["tokenGeneration"] == generation).await.map(drop)
}

async fn disconnect(app: &TestApp, account: &str) -> anyhow::Result<()> {
    app.http.delete(&app.path(&format!("/accounts/{account}"))).await?.expect(202).map(drop)
}

fn count(app: &TestApp, kind: Kind) -> usize {
    app.sandbox.ledger().iter().filter(|entry| entry.kind == kind).count()
}

async fn refusal(http: &Http, path: &str) -> anyhow::Result<(u16, String)> {
    let answer = http.delete(path).await?;
    Ok((answer.status, answer.code()))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_is_made_renamed_listed_and_deleted() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let made = make(&app).await?;
    assert_eq!((text(&made["platform"]), text(&made["clientId"])), ("SANDBOX", CLIENT));
    assert_eq!(made["secrets"].as_array().map(Vec::len), Some(1));
    assert!(made["workspaceId"].is_null());
    let path = format!("/v1/apps/{}", text(&made["id"]));
    assert_eq!(app.http.get(&path).await?.expect(200)?.json(), made);
    let renamed = app.http.patch(&path, &json!({ "name": "Acme's" })).await?.expect(200)?.json();
    assert_eq!(renamed["name"], "Acme's");
    for fixed in ["platform", "clientId", "clientSecret"] {
        let answer = app.http.patch(&path, &json!({ fixed: "x" })).await?;
        assert_eq!(answer.json()["errors"][0]["pointer"], format!("/{fixed}"));
        assert_eq!(answer.status, 400, "{fixed} never changes");
    }
    let list = app.http.get("/v1/apps").await?.expect(200)?.json();
    assert_eq!(list["data"], json!([renamed]));
    app.http.delete(&path).await?.expect(204)?;
    assert_eq!(refusal(&app.http, &path).await?, (404, "NOT_FOUND".to_owned()));
    assert_eq!(app.row("SELECT count(*) AS n FROM app_secrets").await?["n"], 0);
    assert!(!app.http.seen().contains(OLD), "no answer shows a secret");
    app.finish().await
}

/// Codes and tokens are bound to the client: one call by another would end the connect or the grant.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_lives_and_ends_by_the_app_that_it_was_connected_through() -> anyhow::Result<()>
{
    let app = TestApp::start().await?;
    let own = make(&app).await?;
    let account = connect_with(&app, "sam", text(&own["id"])).await?;
    assert_eq!(app.account(&account).await?["appId"], own["id"]);
    refresh_until(&app, &account, 2).await?;
    // A reconnect of the account goes through its app without being told.
    let again = app.start_connect(json!({ "accountId": account })).await?;
    assert!(text(&again["authorizeUrl"]).contains(CLIENT));
    app.approve(&again, &Person::new("sam")?).await?.expect(303)?;
    assert_eq!(app.ended(text(&again["connectId"])).await?["status"], "connected");
    refresh_until(&app, &account, 2).await?;
    disconnect(&app, &account).await?;
    app.account_until(&account, |account| account["revocation"]["status"] == "revoked").await?;
    assert_eq!(count(&app, Kind::ClientRefused), 0);
    app.finish().await
}

/// The vendor knows both secrets, then the old one alone (it is slow), then the new one alone: every
/// exchange, refresh and revocation goes well.
#[tokio::test(flavor = "multi_thread")]
async fn changing_the_secret_at_the_platform_loses_nothing() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let own = make(&app).await?;
    let id = text(&own["id"]);
    let sam = connect_with(&app, "sam", id).await?;
    let added = add_secret(&app, id).await?;
    let mut generation = 1;
    for (number, known, refused) in [(0, vec![OLD, NEW], 0), (1, vec![OLD], 3), (2, vec![NEW], 3)] {
        app.sandbox.set_client(CLIENT, &known);
        generation += 1;
        refresh_until(&app, &sam, generation).await?;
        let other = connect_with(&app, &format!("other-{number}"), id).await?;
        disconnect(&app, &other).await?;
        app.account_until(&other, |account| account["revocation"]["status"] == "revoked").await?;
        assert_eq!(count(&app, Kind::ClientRefused), refused, "of those that know {known:?}");
    }
    assert_eq!(app.account(&sam).await?["status"], "connected");
    assert!(app.account(&sam).await?["lastError"].is_null());
    assert_eq!(count(&app, Kind::RefreshRefused) + count(&app, Kind::CodeRefused), 0);

    let own = app.http.get(&format!("/v1/apps/{id}")).await?.expect(200)?.json();
    assert_eq!(own["secrets"][0]["id"], added["id"], "the newest first");
    let old = format!("/v1/apps/{id}/secrets/{}", text(&own["secrets"][1]["id"]));
    app.http.delete(&old).await?.expect(204)?;
    refresh_until(&app, &sam, generation + 1).await?;
    assert_eq!(count(&app, Kind::ClientRefused), 3, "the old one is presented no more");
    assert!(!app.http.seen().contains(OLD) && !app.http.seen().contains(NEW));
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_that_the_platform_does_not_know_touch_no_account() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let own = make(&app).await?;
    let sam = connect_with(&app, "sam", text(&own["id"])).await?;
    add_secret(&app, text(&own["id"])).await?;
    app.sandbox.set_client(CLIENT, &["something-else"]);
    refresh_now(&app, &sam).await?;
    let account =
        app.account_until(&sam, |account| account["lastError"]["code"] == "invalid_client").await?;
    assert_eq!((&account["status"], &account["tokenGeneration"]), (&json!("connected"), &json!(1)));
    assert_eq!(count(&app, Kind::ClientRefused), 2, "each was tried once");
    app.sandbox.set_client(CLIENT, &[NEW]);
    app.clock.advance(TimeDelta::minutes(6));
    app.account_until(&sam, |account| account["tokenGeneration"] == 2).await?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_has_one_secret_or_two() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let own = make(&app).await?;
    let secrets = format!("/v1/apps/{}/secrets", text(&own["id"]));
    let first = format!("{secrets}/{}", text(&own["secrets"][0]["id"]));
    assert_eq!(refusal(&app.http, &first).await?, (409, "LAST_SECRET".to_owned()));
    let second = add_secret(&app, text(&own["id"])).await?;
    let third = app.http.post(&secrets, &json!({ "clientSecret": "third" })).await?;
    assert_eq!((third.status, third.code().as_str()), (409, "TOO_MANY_SECRETS"));
    app.http.delete(&first).await?.expect(204)?;
    assert_eq!(refusal(&app.http, &first).await?, (404, "NOT_FOUND".to_owned()));
    let second = format!("{secrets}/{}", text(&second["id"]));
    assert_eq!(refusal(&app.http, &second).await?, (409, "LAST_SECRET".to_owned()));
    let other = make(&app).await?;
    let elsewhere = second.replace(text(&own["id"]), text(&other["id"]));
    assert_eq!(refusal(&app.http, &elsewhere).await?, (404, "NOT_FOUND".to_owned()));

    // Of many at once one wins, and of two deletions one.
    let adding = (0..5).map(|n| {
        let (http, secrets) = (&app.http, &secrets);
        async move { http.post(secrets, &json!({ "clientSecret": format!("s{n}") })).await }
    });
    let added = futures_util::future::try_join_all(adding).await?;
    assert_eq!(added.iter().filter(|answer| answer.status == 201).count(), 1);
    let own = app.http.get(&format!("/v1/apps/{}", text(&own["id"]))).await?.expect(200)?.json();
    let both = [0, 1].map(|n| format!("{secrets}/{}", text(&own["secrets"][n]["id"])));
    let (one, two) = tokio::try_join!(app.http.delete(&both[0]), app.http.delete(&both[1]))?;
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 409]);
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_is_in_use_stays() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let own = make(&app).await?;
    let path = format!("/v1/apps/{}", text(&own["id"]));
    let in_use = (409, "APP_IN_USE".to_owned());
    let open = app.start_connect(json!({ "appId": own["id"] })).await?;
    assert_eq!(refusal(&app.http, &path).await?, in_use, "a connect is open");
    let open = app.path(&format!("/connects/{}", text(&open["connectId"])));
    app.http.delete(&open).await?.expect(200)?;
    let sam = connect_with(&app, "sam", text(&own["id"])).await?;
    assert_eq!(refusal(&app.http, &path).await?, in_use, "an account is connected");
    app.sandbox.inject(FaultRule::new(Endpoint::Revoke, Fault::Status { status: 503 }).times(1));
    disconnect(&app, &sam).await?;
    let failed = "SELECT max(attempts) AS n FROM outbox WHERE kind = 'revocation_due'";
    eventually(|| async { Ok((app.row(failed).await?["n"] == 1).then_some(())) }).await?;
    assert_eq!(refusal(&app.http, &path).await?, in_use, "its tokens wait to be revoked");
    app.clock.advance(TimeDelta::hours(1));
    app.account_until(&sam, |account| account["revocation"]["status"] == "revoked").await?;
    app.http.delete(&path).await?.expect(204)?;
    assert!(app.account(&sam).await?["appId"].is_null());
    // What is left of it is an account that connects again through the installation's client.
    let again = app.start_connect(json!({ "accountId": sam })).await?;
    app.approve(&again, &Person::new("sam")?).await?.expect(303)?;
    assert_eq!(app.ended(text(&again["connectId"])).await?["status"], "connected");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_of_a_workspace_is_that_workspace_s_alone() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let everywhere = make(&app).await?;
    let other =
        app.http.post("/v1/workspaces", &json!({ "name": "Other" })).await?.expect(201)?.json();
    let key = json!({ "name": "k", "role": "owner", "workspaceId": other["id"] });
    let key = app.http.post("/v1/api-keys", &key).await?.expect(201)?.json();
    let limited = app.http.with_key(text(&key["key"]));
    let body =
        json!({ "platform": "SANDBOX", "name": "Theirs", "clientId": "c", "clientSecret": "s" });
    let theirs = limited.post("/v1/apps", &body).await?.expect(201)?.json();
    assert_eq!(theirs["workspaceId"], other["id"], "the key's workspace is implied");
    let list = limited.get("/v1/apps").await?.expect(200)?.json();
    assert_eq!(list["data"], json!([theirs]), "it sees its own alone");
    let mut elsewhere = body.clone();
    elsewhere["workspaceId"] = json!(app.owner.workspace_id);
    let answer = limited.post("/v1/apps", &elsewhere).await?;
    assert_eq!((answer.status, answer.code().as_str()), (404, "WORKSPACE_NOT_FOUND"));

    let connect = |of: &Value| json!({ "platform": "SANDBOX", "appId": of["id"] });
    let here = app.http.post(&app.path("/connects"), &connect(&theirs)).await?;
    assert_eq!((here.status, here.code().as_str()), (404, "APP_NOT_FOUND"));
    let there = format!("/v1/workspaces/{}/connects", text(&other["id"]));
    for usable in [&theirs, &everywhere] {
        limited.post(&there, &connect(usable)).await?.expect(201)?;
    }
    let key = json!({ "name": "k", "role": "admin" });
    let key = app.http.post("/v1/api-keys", &key).await?.expect(201)?.json();
    let admin = app.http.with_key(text(&key["key"]));
    let path = format!("/v1/apps/{}", text(&theirs["id"]));
    for answer in [
        admin.get("/v1/apps").await?,
        admin.post("/v1/apps", &body).await?,
        admin.get(&path).await?,
        admin.delete(&path).await?,
    ] {
        assert_eq!((answer.status, answer.code().as_str()), (403, "FORBIDDEN_ROLE"));
    }
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_says_what_is_wrong_with_it() -> anyhow::Result<()> {
    const INVALID: &str = "VALIDATION_FAILED";
    let app = TestApp::start().await?;
    let good =
        json!({ "platform": "SANDBOX", "name": "Ours", "clientId": "c", "clientSecret": "s" });
    let long = json!("x".repeat(1001));
    for (field, value, code) in [
        ("platform", json!("MYSPACE"), "PLATFORM_UNKNOWN"),
        ("platform", json!(null), INVALID),
        ("name", json!(""), INVALID),
        ("clientId", json!(""), INVALID),
        ("clientId", json!("two words"), INVALID),
        ("clientId", long.clone(), INVALID),
        ("clientSecret", json!(""), INVALID),
        ("clientSecret", json!("hidden-word\n"), INVALID),
        ("clientSecret", json!(["hidden-word"]), INVALID),
        ("clientSecret", long, INVALID),
        ("workspaceId", json!("ws_1"), INVALID),
        ("colour", json!("red"), INVALID),
    ] {
        let mut body = good.clone();
        body[field] = value;
        let answer = app.http.post("/v1/apps", &body).await?;
        let problem = answer.json();
        assert_eq!((answer.status, answer.code().as_str()), (400, code), "{field}: {problem}");
        assert_eq!(problem["errors"][0]["pointer"], format!("/{field}"), "{problem}");
        assert!(!answer.text.contains("hidden-word"), "{problem}");
    }
    assert_eq!(app.row("SELECT count(*) AS n FROM apps").await?["n"], 0);
    app.finish().await
}
