//! What Postbreeze promises of its connect flow.

use chrono::TimeDelta;
use latchkey_tests::TestApp;
use latchkey_tests::app::{Answer, eventually};
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use super::{
    Client, ULID, another_workspace, approve, bad_requests, consent, count, dressed, key, query,
    rows, text, workspace,
};

const CONNECT: &str = "/social-accounts/connect";
const LIST: (&str, &str) = ("/social-accounts", "");
const PLATFORMS: [&str; 11] = [
    "INSTAGRAM",
    "FACEBOOK_PAGE",
    "X",
    "LINKEDIN_PERSON",
    "LINKEDIN_COMPANY",
    "TIKTOK_BUSINESS",
    "TIKTOK_PERSONAL",
    "YOUTUBE",
    "PINTEREST",
    "THREADS",
    "BLUESKY",
];

async fn client<'a>(app: &'a TestApp, role: &str) -> anyhow::Result<Client<'a>> {
    let key = key(app, role, Some(&workspace(app))).await?;
    Client::new(app, ("/compat/postbreeze/api/v1", "authorization"), &key)
}

fn wanted(app: &TestApp, platform: &str) -> Value {
    json!({ "workspaceId": workspace(app), "platform": platform })
}

async fn start(client: &Client<'_>, platform: &str) -> anyhow::Result<Value> {
    Ok(client.post(CONNECT, &wanted(client.app, platform)).await?.expect(201)?.json())
}

/// Its own shape; the codes are our words save where it has one.
fn error(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{}", answer.text);
    assert_eq!(answer.headers[CONTENT_TYPE], "application/json");
    let body = answer.json();
    let id = answer.headers["x-request-id"].to_str().unwrap_or_default();
    let expected = match status {
        401 => json!({ "statusCode": 401, "message": "Unauthorized", "requestId": id }),
        400 => {
            json!({ "statusCode": 400, "code": "VALIDATION_FAILED", "message": body["message"], "requestId": id })
        }
        _ => {
            json!({ "statusCode": status, "code": code, "message": body["message"], "requestId": id })
        }
    };
    assert_eq!(body, expected);
    assert!(!text(&body["message"]).is_empty(), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_platform_of_its_enum_can_be_connected() -> anyhow::Result<()> {
    let app = dressed(&PLATFORMS).await?;
    let client = client(&app, "admin").await?;
    for platform in PLATFORMS {
        let started = start(&client, platform).await?;
        let members: Vec<&String> =
            started.as_object().into_iter().flat_map(|map| map.keys()).collect();
        assert_eq!(members, ["authorizeUrl", "state"], "{platform}");
        let url = text(&started["authorizeUrl"]);
        let ours = url.contains("/connect/con_");
        assert_eq!(ours, platform == "BLUESKY", "{platform}: {url}");
        if !ours {
            assert!(query(url).contains(&("state".to_owned(), text(&started["state"]).to_owned())));
        }
    }
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_connects_and_the_account_appears_with_the_platform_that_connect_takes()
-> anyhow::Result<()> {
    let app = dressed(&["X"]).await?;
    let client = client(&app, "owner").await?;
    app.connect("sandbox-sam").await?;
    let started = start(&client, "X").await?;
    let callback = consent(&started["authorizeUrl"], "sam").await?;
    assert!(
        query(callback.as_str())
            .contains(&("state".to_owned(), text(&started["state"]).to_owned())),
        "what is echoed"
    );
    app.http.browse(callback.as_str()).await?.expect(303)?;
    let rows = rows(&client, LIST, 1).await?;
    assert_eq!((text(&rows[0]["platform"]), text(&rows[0]["status"])), ("X", "ACTIVE"));
    assert_eq!(text(&rows[0]["workspaceId"]), workspace(&app));
    assert!(text(&rows[0]["id"]).starts_with("acc_"), "and nothing of a platform without a word");
    let again = client.post(CONNECT, &wanted(&app, text(&rows[0]["platform"]))).await?;
    error(&again, 409, "CHANNEL_ALREADY_CONNECTED");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_url_works_once() -> anyhow::Result<()> {
    let app = dressed(&["X"]).await?;
    let client = client(&app, "admin").await?;
    let callback = consent(&start(&client, "X").await?["authorizeUrl"], "sam").await?;
    app.http.browse(callback.as_str()).await?.expect(303)?;
    let again = app.http.browse(callback.as_str()).await?;
    assert_eq!((again.status, again.location()), (409, None));
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_url_expires_after_some_minutes() -> anyhow::Result<()> {
    let app = dressed(&["X"]).await?;
    let client = client(&app, "admin").await?;
    let callback = consent(&start(&client, "X").await?["authorizeUrl"], "sam").await?;
    app.clock.advance(TimeDelta::minutes(11));
    let late = app.http.browse(callback.as_str()).await?;
    assert_eq!((late.status, late.location()), (410, None));
    eventually(|| async {
        let row = app.row("SELECT status FROM connects").await?;
        Ok((row["status"] == "expired").then_some(()))
    })
    .await?;
    app.finish().await
}

/// The workspace's own policy says `many`: here it is one all the same.
#[tokio::test(flavor = "multi_thread")]
async fn one_account_per_platform_and_workspace_before_anything_opens() -> anyhow::Result<()> {
    let app = dressed(&["X", "THREADS"]).await?;
    let client = client(&app, "admin").await?;
    approve(&app, &start(&client, "X").await?["authorizeUrl"], "sam").await?.expect(303)?;
    let before = count(&app, "connects").await?;
    let refused = client.post(CONNECT, &wanted(&app, "X")).await?;
    error(&refused, 409, "CHANNEL_ALREADY_CONNECTED");
    assert_eq!(count(&app, "connects").await?, before);
    start(&client, "THREADS").await?;
    let other = another_workspace(&app).await?;
    let body = json!({ "workspaceId": other, "platform": "X" });
    let there = client.with_key(&key(&app, "admin", Some(&other)).await?);
    there.post(CONNECT, &body).await?.expect(201)?;
    app.finish().await
}

/// Also where the account was connected through another door.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_disconnect_the_platform_is_free_again() -> anyhow::Result<()> {
    let app = dressed(&["X"]).await?;
    let client = client(&app, "admin").await?;
    let started = app.start_connect(json!({ "platform": "X" })).await?;
    app.approve(&started, &latchkey_tests::Person::new("sam")?).await?.expect(303)?;
    let ended = app.ended(text(&started["connectId"])).await?;
    error(&client.post(CONNECT, &wanted(&app, "X")).await?, 409, "CHANNEL_ALREADY_CONNECTED");
    app.http
        .delete(&app.path(&format!("/accounts/{}", text(&ended["accountIds"][0]))))
        .await?
        .expect(202)?;
    assert!(client.get(LIST.0).await?.expect(200)?.json().as_array().is_some_and(Vec::is_empty));
    start(&client, "X").await?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_whose_token_expired_is_reconnected() -> anyhow::Result<()> {
    let app = dressed(&["X"]).await?;
    let client = client(&app, "admin").await?;
    approve(&app, &start(&client, "X").await?["authorizeUrl"], "sam").await?.expect(303)?;
    let before = rows(&client, LIST, 1).await?;
    let id = text(&before[0]["id"]).to_owned();
    app.sandbox.revoke_user("sam");
    app.http.post(&app.path(&format!("/accounts/{id}/refresh")), &json!({})).await?.expect(202)?;
    app.account_until(&id, |account| account["status"] == "token_expired").await?;
    let listed = client.get(LIST.0).await?.expect(200)?.json();
    assert_eq!(text(&listed[0]["status"]), "TOKEN_EXPIRED");
    approve(&app, &start(&client, "X").await?["authorizeUrl"], "sam").await?.expect(303)?;
    app.account_until(&id, |account| account["status"] == "connected").await?;
    assert_eq!(text(&rows(&client, LIST, 1).await?[0]["id"]), id);
    app.finish().await
}

/// Nobody is led through the platform again and again for nothing, and the client learns what to do.
#[tokio::test(flavor = "multi_thread")]
async fn an_expired_account_of_another_person_is_no_trap() -> anyhow::Result<()> {
    let app = dressed(&["X"]).await?;
    let client = client(&app, "admin").await?;
    approve(&app, &start(&client, "X").await?["authorizeUrl"], "ann").await?.expect(303)?;
    let id = text(&rows(&client, LIST, 1).await?[0]["id"]).to_owned();
    app.sandbox.revoke_user("ann");
    app.http.post(&app.path(&format!("/accounts/{id}/refresh")), &json!({})).await?.expect(202)?;
    app.account_until(&id, |account| account["status"] == "token_expired").await?;
    approve(&app, &start(&client, "X").await?["authorizeUrl"], "sam").await?.expect(303)?;
    let row = app.row("SELECT reason_code FROM connects ORDER BY id DESC LIMIT 1").await?;
    assert_eq!(row["reason_code"], "IDENTITY_MISMATCH");
    let refused = client.post(CONNECT, &wanted(&app, "X")).await?;
    error(&refused, 409, "CHANNEL_ALREADY_CONNECTED");
    let message = refused.json()["message"].clone();
    for part in ["@ann", &id, "disconnect"] {
        assert!(text(&message).contains(part), "{part} is not in {message}");
    }
    // Its owner may come after all, if the application waits.
    app.clock.advance(TimeDelta::minutes(61));
    approve(&app, &start(&client, "X").await?["authorizeUrl"], "sam").await?.expect(303)?;
    error(&client.post(CONNECT, &wanted(&app, "X")).await?, 409, "CHANNEL_ALREADY_CONNECTED");
    client.delete(&format!("{}/{id}", LIST.0)).await?.expect(204)?;
    approve(&app, &start(&client, "X").await?["authorizeUrl"], "sam").await?.expect(303)?;
    let sam = rows(&client, LIST, 1).await?;
    assert_ne!(text(&sam[0]["id"]), id);
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_can_be_disconnected() -> anyhow::Result<()> {
    let app = dressed(&["X"]).await?;
    let client = client(&app, "admin").await?;
    approve(&app, &start(&client, "X").await?["authorizeUrl"], "sam").await?.expect(303)?;
    let path = format!("{}/{}", LIST.0, text(&rows(&client, LIST, 1).await?[0]["id"]));
    let whole = client.with_key(app.owner.expose_key());
    error(&whole.delete(&path).await?, 403, "FORBIDDEN");
    let other = another_workspace(&app).await?;
    error(&whole.delete(&format!("{path}?workspaceId={other}")).await?, 404, "NOT_FOUND");
    let viewer = client.with_key(&key(&app, "viewer", Some(&workspace(&app))).await?);
    error(&viewer.delete(&path).await?, 403, "FORBIDDEN");
    for client in [&client, &whole] {
        let path = format!("{path}?workspaceId={}", workspace(&app));
        client.delete(&path).await?.expect(204)?;
    }
    rows(&client, LIST, 0).await?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_owners_and_admins_start_a_connect() -> anyhow::Result<()> {
    let app = dressed(&["X"]).await?;
    let viewer = client(&app, "viewer").await?;
    error(&viewer.post(CONNECT, &wanted(&app, "X")).await?, 403, "FORBIDDEN");
    viewer.get(LIST.0).await?.expect(200)?;
    for role in ["admin", "owner"] {
        client(&app, role).await?.post(CONNECT, &wanted(&app, "X")).await?.expect(201)?;
    }
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_one_workspace_cannot_reach_another() -> anyhow::Result<()> {
    let app = dressed(&["X"]).await?;
    let client = client(&app, "admin").await?;
    let other = another_workspace(&app).await?;
    let rival = app.another_tenant().await?.workspace_id.to_string();
    for out_of_reach in
        [other, rival, format!("ws_{ULID}"), "ws_1".to_owned(), "a\0b".to_owned(), String::new()]
    {
        let body = json!({ "workspaceId": out_of_reach, "platform": "X" });
        error(&client.post(CONNECT, &body).await?, 403, "FORBIDDEN");
    }
    let whole = client.with_key(app.owner.expose_key());
    whole.post(CONNECT, &wanted(&app, "X")).await?.expect(201)?;
    error(&whole.get(LIST.0).await?, 403, "FORBIDDEN");
    whole.get(&format!("/social-accounts?workspaceId={}", workspace(&app))).await?.expect(200)?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_in_its_own_shape() -> anyhow::Result<()> {
    let app = dressed(&["X"]).await?;
    let client = client(&app, "admin").await?;
    bad_requests(&client, (CONNECT, &wanted(&app, "X")), error).await?;
    for platform in [json!("SANDBOX"), json!("MYSPACE"), json!("x"), json!(7), Value::Null] {
        let body = json!({ "workspaceId": workspace(&app), "platform": platform });
        let refused = client.post(CONNECT, &body).await?;
        error(&refused, 400, "VALIDATION_FAILED");
        assert!(text(&refused.json()["message"]).contains("platform"), "{}", refused.text);
    }
    let unset = client.post(CONNECT, &wanted(&app, "YOUTUBE")).await?;
    error(&unset, 400, "VALIDATION_FAILED");
    let mut unknown = wanted(&app, "X");
    unknown["color"] = json!("red");
    client.post(CONNECT, &unknown).await?.expect(201)?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_open_connects_are_no_conflict() -> anyhow::Result<()> {
    let app = TestApp::start_with(latchkey_tests::app::Options {
        platforms: latchkey_tests::app::worn(&["X"]),
        serve: |config| config.common.max_open_connects = 1,
        ..Default::default()
    })
    .await?;
    let client = client(&app, "admin").await?;
    start(&client, "X").await?;
    error(&client.post(CONNECT, &wanted(&app, "X")).await?, 429, "TOO_MANY_OPEN_CONNECTS");
    app.finish().await
}
