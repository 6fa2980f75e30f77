//! What Postato promises of accounts, tokens and disconnecting.

use chrono::TimeDelta;
use latchkey_tests::app::eventually;
use latchkey_tests::sandbox::Kind;
use latchkey_tests::{Person, TestApp};
use reqwest::Method;
use serde_json::{Value, json};

use super::super::platforms::{connected, refreshed};
use super::{Client, ULID, another_workspace, dressed, key, problem, query, rows, text, workspace};

const FIVE: [&str; 5] = ["X", "LINKEDIN_PERSON", "INSTAGRAM", "TIKTOK_PERSONAL", "YOUTUBE"];

async fn client<'a>(app: &'a TestApp, role: &str) -> anyhow::Result<Client<'a>> {
    let key = key(app, role, None).await?;
    Client::new(app, ("/compat/postato", "authorization"), &key)
}

fn path(workspace: &str, rest: &str) -> String {
    format!("/v1/workspaces/{workspace}/accounts{rest}")
}

async fn account(client: &Client<'_>, id: &str) -> anyhow::Result<Value> {
    let path = path(&workspace(client.app), &format!("/{id}"));
    Ok(client.get(&path).await?.expect(200)?.json())
}

async fn connect(app: &TestApp, (workspace, user): (&str, &str)) -> anyhow::Result<String> {
    let path = format!("/v1/workspaces/{workspace}/connects");
    let started = app.http.post(&path, &json!({ "platform": "X" })).await?.expect(201)?.json();
    app.approve(&started, &Person::new(user)?).await?.expect(303)?;
    let ended = app.connected_in(workspace, text(&started["connectId"])).await?;
    Ok(text(&ended["accountIds"][0]).to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_its_platforms_appears_in_the_list_as_connected() -> anyhow::Result<()> {
    let app = dressed(&FIVE).await?;
    let client = client(&app, "viewer").await?;
    for platform in FIVE {
        connected(&app, (platform, "sam"), &json!({})).await?;
    }
    let list = path(&workspace(&app), "");
    let rows = rows(&client, (&list, "accounts"), 5).await?;
    let words: Vec<&str> = rows.iter().map(|row| text(&row["platform"])).collect();
    assert_eq!(words, ["x", "linkedin", "instagram", "tiktok", "youtube"]);
    for row in &rows {
        assert_eq!(text(&row["status"]), "connected");
        assert_eq!(account(&client, text(&row["id"])).await?, *row);
    }
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn x_is_asked_with_pkce_and_its_scopes_are_among_the_defaults() -> anyhow::Result<()> {
    let app = dressed(&FIVE).await?;
    let wanted: [(&str, &[&str]); 5] = [
        ("X", &["tweet.read", "tweet.write", "users.read", "offline.access"]),
        ("LINKEDIN_PERSON", &["w_member_social", "r_basicprofile"]),
        ("INSTAGRAM", &["instagram_business_basic", "instagram_business_content_publish"]),
        ("TIKTOK_PERSONAL", &["video.upload", "user.info.basic"]),
        ("YOUTUBE", &["youtube.upload", "youtube.readonly"]),
    ];
    for (platform, scopes) in wanted {
        let started = app.start_connect(json!({ "platform": platform })).await?;
        let asked = query(text(&started["authorizeUrl"]));
        let asked_for =
            |name: &str| asked.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let scope = asked_for("scope").unwrap_or_default();
        let given: Vec<&str> = scope
            .split([' ', ','])
            .map(|scope| scope.rsplit('/').next().unwrap_or(scope))
            .collect();
        for scope in scopes {
            assert!(given.contains(scope), "{platform}: {scope} is not in {given:?}");
        }
        if platform == "X" {
            assert_eq!(asked_for("code_challenge_method").as_deref(), Some("S256"));
            assert!(asked_for("code_challenge").is_some());
        }
    }
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn access_tokens_are_refreshed_before_they_expire() -> anyhow::Result<()> {
    let app = dressed(&["X"]).await?;
    let client = client(&app, "viewer").await?;
    let id = connected(&app, ("X", "sam"), &json!({})).await?;
    let before = account(&client, &id).await?;
    app.clock.advance(TimeDelta::minutes(115));
    app.account_until(&id, |account| account["tokenGeneration"] == 2).await?;
    let after = account(&client, &id).await?;
    assert_eq!(text(&after["status"]), "connected");
    assert!(text(&after["tokenExpiresAt"]) > text(&before["tokenExpiresAt"]));
    assert!(after["lastRefreshedAt"].is_string());
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn rotating_refresh_tokens_are_handled() -> anyhow::Result<()> {
    let app = dressed(&["X"]).await?;
    let client = client(&app, "viewer").await?;
    let id = connected(&app, ("X", "sam"), &json!({})).await?;
    for _ in 0..3 {
        refreshed(&app, &id).await?;
    }
    let spent = app.sandbox.ledger().iter().filter(|entry| entry.kind == Kind::Refreshed).count();
    assert_eq!(spent, 3, "each was presented once");
    assert_eq!(text(&account(&client, &id).await?["status"]), "connected");
    app.finish().await
}

/// Whatever the person did at the platform, it looks like this to us: the grant is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_expires_the_account_and_only_a_reconnect_helps() -> anyhow::Result<()> {
    let app = dressed(&["X"]).await?;
    let client = client(&app, "viewer").await?;
    let id = connected(&app, ("X", "sam"), &json!({})).await?;
    app.sandbox.revoke_user("sam");
    let refresh = app.path(&format!("/accounts/{id}/refresh"));
    app.http.post(&refresh, &json!({})).await?.expect(202)?;
    app.account_until(&id, |account| account["status"] == "token_expired").await?;
    assert_eq!(text(&account(&client, &id).await?["status"]), "token_expired");
    let refused = app.http.post(&refresh, &json!({})).await?.expect(409)?;
    assert_eq!(refused.code(), "ACCOUNT_NOT_CONNECTED", "a clear error");
    let list = path(&workspace(&app), "");
    let listed = client.get(&list).await?.expect(200)?.json();
    assert_eq!(text(&listed["accounts"][0]["status"]), "token_expired");
    assert_eq!(connect(&app, (&workspace(&app), "sam")).await?, id);
    assert_eq!(text(&account(&client, &id).await?["status"]), "connected");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_revokes_at_the_platform_and_references_stay_valid() -> anyhow::Result<()> {
    let app = dressed(&["X"]).await?;
    let client = client(&app, "admin").await?;
    let id = connected(&app, ("X", "sam"), &json!({})).await?;
    let own = path(&workspace(&app), &format!("/{id}"));
    client.delete(&own).await?.expect(204)?;
    app.account_until(&id, |account| account["revocation"]["status"] == "revoked").await?;
    assert!(app.sandbox.families().iter().all(|family| !family.alive), "told the platform");
    let list = path(&workspace(&app), "");
    assert_eq!(client.get(&list).await?.expect(200)?.json()["accounts"], json!([]));
    let kept = account(&client, &id).await?;
    assert_eq!((text(&kept["id"]), text(&kept["status"])), (id.as_str(), "disconnected"));
    client.delete(&own).await?.expect(204)?;
    assert_eq!(connect(&app, (&workspace(&app), "sam")).await?, id, "the same account again");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_user_may_connect_many_accounts_of_a_platform() -> anyhow::Result<()> {
    let app = dressed(&["X"]).await?;
    let client = client(&app, "viewer").await?;
    let mut ids = Vec::new();
    for user in ["sam", "ann", "eve"] {
        ids.push(connected(&app, ("X", user), &json!({})).await?);
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 3);
    let list = path(&workspace(&app), "");
    rows(&client, (&list, "accounts"), 3).await?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_handle_in_two_workspaces_is_two_accounts_that_do_not_disturb_each_other()
-> anyhow::Result<()> {
    let app = dressed(&["X"]).await?;
    let client = client(&app, "admin").await?;
    let (here, there) = (workspace(&app), another_workspace(&app).await?);
    let first = connect(&app, (&here, "sam")).await?;
    let second = connect(&app, (&there, "sam")).await?;
    assert_ne!(first, second);
    refreshed(&app, &first).await?;
    client.delete(&path(&here, &format!("/{first}"))).await?.expect(204)?;
    app.account_until(&first, |account| account["revocation"]["status"] != "pending").await?;
    let other = client.get(&path(&there, &format!("/{second}"))).await?.expect(200)?.json();
    assert_eq!(text(&other["status"]), "connected");
    let native = format!("/v1/workspaces/{there}/accounts/{second}");
    app.http.post(&format!("{native}/refresh"), &json!({})).await?.expect(202)?;
    eventually(|| async {
        let account = app.http.get(&native).await?.expect(200)?.json();
        Ok((account["tokenGeneration"] == 2).then_some(()))
    })
    .await?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_in_no_response_and_encrypted_at_rest() -> anyhow::Result<()> {
    let app = dressed(&["X"]).await?;
    let client = client(&app, "admin").await?;
    let id = connected(&app, ("X", "sam"), &json!({})).await?;
    refreshed(&app, &id).await?;
    client.get(&path(&workspace(&app), "")).await?.expect(200)?;
    account(&client, &id).await?;
    let grants = app.row("SELECT json_agg(g) AS all FROM grants g").await?.to_string();
    let (seen, secrets) = (app.http.seen(), app.sandbox.secrets());
    assert!(secrets.len() >= 4, "the flows issued tokens");
    for secret in &secrets {
        assert!(!seen.contains(secret.as_str()), "a token is in an answer");
        assert!(!grants.contains(&hex::encode(secret)) && !grants.contains(secret.as_str()));
    }
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told() -> anyhow::Result<()> {
    let app = dressed(&["X"]).await?;
    let client = client(&app, "admin").await?;
    let id = connected(&app, ("X", "sam"), &json!({})).await?;
    let (here, there) = (workspace(&app), another_workspace(&app).await?);
    let rival = app.another_tenant().await?;
    let stranger = client.with_key(rival.expose_key());
    let limited = client.with_key(&key(&app, "admin", Some(&there)).await?);
    let own = path(&here, &format!("/{id}"));
    for other in [&stranger, &limited] {
        for path in [path(&here, ""), own.clone()] {
            problem(&other.get(&path).await?, 404, "NOT_FOUND");
        }
        problem(&other.delete(&own).await?, 404, "NOT_FOUND");
    }
    for rest in ["/acc_1".to_owned(), format!("/acc_{ULID}"), "/%00".to_owned(), "/%FF".to_owned()]
    {
        problem(&client.get(&path(&here, &rest)).await?, 404, "NOT_FOUND");
        problem(&client.delete(&path(&here, &rest)).await?, 404, "NOT_FOUND");
    }
    for workspace in ["ws_1", "%00", &there] {
        problem(&client.get(&path(workspace, &format!("/{id}"))).await?, 404, "NOT_FOUND");
    }
    let viewer = client.with_key(&key(&app, "viewer", None).await?);
    problem(&viewer.delete(&own).await?, 403, "FORBIDDEN_ROLE");
    for wrong in ["lk_wrong", ""] {
        problem(&client.with_key(wrong).get(&own).await?, 401, "UNAUTHORIZED");
    }
    let bare = client.without_key(Method::DELETE, &own);
    problem(&client.send(bare).await?, 401, "UNAUTHORIZED");
    problem(&client.post(&own, &json!({})).await?, 405, "METHOD_NOT_ALLOWED");
    problem(&client.get("/v1/nothing").await?, 404, "NOT_FOUND");
    assert_eq!(app.account(&id).await?["status"], "connected");
    app.finish().await
}
