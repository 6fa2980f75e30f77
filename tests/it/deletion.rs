//! Deleting a workspace: gone at once for whoever asks, and in the end nothing of it can be opened.

use std::time::Duration;

use chrono::TimeDelta;
use latchkey_shared::keyring::{Aad, SealError};
use latchkey_tests::app::{Options, eventually, worn};
use latchkey_tests::sandbox::{Endpoint, Fault, FaultRule, Kind};
use latchkey_tests::{Person, TestApp};
use serde_json::{Value, json};

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

async fn app_with(platforms: &[&str]) -> anyhow::Result<TestApp> {
    let callback_wait = Duration::from_millis(50);
    let platforms = worn(platforms);
    TestApp::start_with(Options { platforms, callback_wait, ..Options::default() }).await
}

async fn workspace(app: &TestApp) -> anyhow::Result<String> {
    let made = app.http.post("/v1/workspaces", &json!({ "name": "Ann's" })).await?.expect(201)?;
    Ok(text(&made.json()["id"]))
}

async fn connect(
    app: &TestApp,
    workspace: &str,
    (platform, user): (&str, &str),
) -> anyhow::Result<String> {
    let path = format!("/v1/workspaces/{workspace}/connects");
    let started = app.http.post(&path, &json!({ "platform": platform })).await?.expect(201)?.json();
    app.approve(&started, &Person::new(user)?).await?.expect(303)?;
    let ended = app.connected_in(workspace, &text(&started["connectId"])).await?;
    Ok(text(&ended["accountIds"][0]))
}

async fn delete(app: &TestApp, workspace: &str) -> anyhow::Result<()> {
    app.http.delete(&format!("/v1/workspaces/{workspace}")).await?.expect(204)?;
    Ok(())
}

/// Longer than any request that began before goes on.
async fn destroyed(app: &TestApp, workspace: &str) -> anyhow::Result<()> {
    let rows = format!(
        "grants WHERE workspace_id = '{workspace}' AND status NOT IN ('revoked', 'superseded')"
    );
    app.until_none(&rows).await?;
    app.clock.advance(TimeDelta::minutes(3));
    app.until_none(&format!("workspaces WHERE id = '{workspace}' AND destroyed_at IS NULL")).await
}

fn alive(app: &TestApp, user: &str) -> usize {
    app.sandbox.families().iter().filter(|family| family.user == user && family.alive).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sees_it_and_in_the_end_nothing_of_it_opens() -> anyhow::Result<()> {
    let app = app_with(&["TIKTOK_PERSONAL"]).await?;
    let (gone, stays) = (workspace(&app).await?, workspace(&app).await?);
    let account = connect(&app, &gone, ("SANDBOX", "kim")).await?;
    // Of one person, at a platform where a revocation reaches everything that she gave.
    let theirs = connect(&app, &gone, ("TIKTOK_PERSONAL", "sam")).await?;
    let ours = connect(&app, &stays, ("TIKTOK_PERSONAL", "sam")).await?;
    let path = format!("/v1/workspaces/{gone}");
    let open =
        app.http.post(&format!("{path}/connects"), &json!({ "platform": "SANDBOX" })).await?;
    let open = text(&open.expect(201)?.json()["connectId"]);
    app.http.post(&format!("{path}/profiles"), &json!({ "name": "Ann" })).await?.expect(201)?;
    let key = json!({ "name": "k", "role": "owner", "workspaceId": gone });
    let key = text(&app.http.post("/v1/api-keys", &key).await?.expect(201)?.json()["key"]);
    let limited = app.http.with_key(&key);
    limited.get(&path).await?.expect(200)?;
    let sealed = format!(
        "SELECT encode(sealed_tokens, 'hex') AS hex FROM grants
                          WHERE workspace_id = '{gone}' AND platform = 'SANDBOX'"
    );
    let dump = hex::decode(text(&app.row(&sealed).await?["hex"]))?;

    delete(&app, &gone).await?;
    for below in ["", "/accounts", "/connects", "/profiles", &format!("/accounts/{account}")] {
        assert_eq!(app.http.get(&format!("{path}{below}")).await?.status, 404, "{below}");
    }
    assert_eq!(app.http.delete(&path).await?.status, 404, "it is gone already");
    assert_eq!(limited.get(&path).await?.status, 401, "its keys are revoked");
    let listed = app.http.get("/v1/workspaces").await?.expect(200)?;
    assert!(!listed.text.contains(&gone), "{}", listed.text);
    app.event("connect.cancelled", &open).await?;
    for account in [&account, &theirs] {
        let told = app.event("account.disconnected", account).await?;
        assert_eq!(told["data"]["by"], "workspace_deletion", "{told}");
        app.event("account.revoked", account).await?;
    }
    destroyed(&app, &gone).await?;

    assert_eq!(alive(&app, "kim"), 0, "nobody else needs it");
    let refresh = format!("/v1/workspaces/{stays}/accounts/{ours}");
    app.http.post(&format!("{refresh}/refresh"), &json!({})).await?.expect(202)?;
    eventually(|| async {
        Ok((app.http.get(&refresh).await?.json()["tokenGeneration"] == 2).then_some(()))
    })
    .await?;
    let tables = ["connects", "accounts", "grants", "profiles", "account_history", "data_keys"];
    for table in tables {
        let left = format!("SELECT count(*) AS n FROM {table} WHERE workspace_id = '{gone}'");
        assert_eq!(app.row(&left).await?["n"], 0, "{table}");
    }
    let db = app.db()?;
    let mut conn = db.conn().await?;
    let id = gone.parse()?;
    let aad = Aad::of_workspace("grants.sealed_tokens", &id, "any");
    let opened = conn.decrypt(aad, &dump).await;
    assert!(
        matches!(opened, Err(SealError::OtherDataKey)),
        "a dump and the keyring are not enough"
    );
    drop(conn);
    app.finish().await
}

/// A platform that is away keeps the key alive, and nothing else of the workspace.
#[tokio::test(flavor = "multi_thread")]
async fn the_key_stays_until_the_last_revocation_has_ended() -> anyhow::Result<()> {
    let app = app_with(&[]).await?;
    let gone = workspace(&app).await?;
    let account = connect(&app, &gone, ("SANDBOX", "kim")).await?;
    app.sandbox.inject(FaultRule::new(Endpoint::Revoke, Fault::Status { status: 503 }));
    delete(&app, &gone).await?;
    app.event("account.disconnected", &account).await?;
    eventually(|| async {
        let tried = "SELECT max(attempts) AS n FROM outbox WHERE kind = 'revocation_due'";
        Ok((app.row(tried).await?["n"].as_i64() >= Some(1)).then_some(()))
    })
    .await?;
    app.clock.advance(TimeDelta::minutes(10));
    latchkey_worker::sweeps::Sweep::DeleteWorkspaces.run(app.worker_context()).await?;
    let keys = format!("SELECT count(*) AS n FROM data_keys WHERE workspace_id = '{gone}'");
    assert_eq!(app.row(&keys).await?["n"], 1, "what is to be revoked must be opened first");
    app.sandbox.clear_faults();
    app.clock.advance(TimeDelta::hours(1));
    destroyed(&app, &gone).await?;
    assert_eq!((app.row(&keys).await?["n"].clone(), alive(&app, "kim")), (json!(0), 0));
    app.finish().await
}

/// Whoever is with the platform when their workspace goes connects nothing, and leaves nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_consent_that_is_under_way_is_disposed_of() -> anyhow::Result<()> {
    let app = app_with(&[]).await?;
    for (before, delayed) in [Endpoint::TokenCode, Endpoint::Userinfo].into_iter().enumerate() {
        let gone = workspace(&app).await?;
        let path = format!("/v1/workspaces/{gone}/connects");
        let started =
            app.http.post(&path, &json!({ "platform": "SANDBOX" })).await?.expect(201)?.json();
        app.sandbox.inject(FaultRule::new(delayed, Fault::Delay { ms: 1500 }).after().times(1));
        app.approve(&started, &Person::new("kim")?).await?.expect(303)?;
        eventually(|| async {
            let called = app
                .sandbox
                .ledger()
                .iter()
                .filter(|entry| entry.kind == Kind::CodeExchanged)
                .count();
            Ok((called > before).then_some(()))
        })
        .await?;
        delete(&app, &gone).await?;
        let connect = text(&started["connectId"]);
        let status = format!("SELECT status, reason_code FROM connects WHERE id = '{connect}'");
        let ended = eventually(|| async {
            let row = app.row(&status).await?;
            Ok(["failed", "cancelled"].contains(&text(&row["status"]).as_str()).then_some(row))
        })
        .await?;
        assert!(
            ended["reason_code"].is_null() || ended["reason_code"] == "WORKSPACE_DELETED",
            "{ended}"
        );
        destroyed(&app, &gone).await?;
        assert_eq!(alive(&app, "kim"), 0, "{delayed:?}");
    }
    app.finish().await
}

/// More than one run disconnects, and more than one statement destroys.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_workspace_goes_little_by_little() -> anyhow::Result<()> {
    let app = app_with(&[]).await?;
    let gone = workspace(&app).await?;
    app.execute(&format!(
        "INSERT INTO accounts (id, workspace_id, platform, platform_user_id, status, connected_at, created_at)
         SELECT 'acc_01JCZ5M2V8Q4T6W8Y0A2B4' || to_char(n, 'FM0000'), '{gone}', 'SANDBOX', n::text,
             CASE WHEN n <= 450 THEN 'connected' ELSE 'disconnected' END, now(), now()
         FROM generate_series(1, 2500) n"
    ))
    .await?;
    let endpoints = app.http.get("/v1/webhook-endpoints").await?.expect(200)?.json();
    let endpoint = format!("/v1/webhook-endpoints/{}", text(&endpoints["data"][0]["id"]));
    app.http.delete(&endpoint).await?.expect(204)?;
    delete(&app, &gone).await?;
    let used = format!("accounts WHERE workspace_id = '{gone}' AND status = 'connected'");
    app.until_none(&used).await?;
    destroyed(&app, &gone).await?;
    let told = "SELECT count(*) AS n FROM events WHERE type = 'account.disconnected'";
    assert_eq!(app.row(told).await?["n"], 450, "each is told of, once");
    app.until_none("outbox WHERE done_at IS NULL").await?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_may_delete_and_no_other() -> anyhow::Result<()> {
    let app = app_with(&[]).await?;
    let (gone, other) = (workspace(&app).await?, workspace(&app).await?);
    let path = format!("/v1/workspaces/{gone}");
    for (role, within, expected) in [
        ("viewer", None, 403),
        ("admin", None, 403),
        ("admin", Some(&gone), 403),
        ("owner", Some(&other), 404),
        ("owner", Some(&gone), 204),
    ] {
        let key = json!({ "name": "k", "role": role, "workspaceId": within });
        let key = text(&app.http.post("/v1/api-keys", &key).await?.expect(201)?.json()["key"]);
        let answer = app.http.with_key(&key).delete(&path).await?;
        assert_eq!(answer.status, expected, "{role} {within:?}: {}", answer.text);
    }
    let unknown = "/v1/workspaces/ws_01JCZ5M2V8Q4T6W8Y0A2B4C6D8";
    assert_eq!(app.http.delete(unknown).await?.status, 404);
    // An endpoint of its own hears of the end before it goes, too.
    let wanted = json!({ "url": app.receiver.url(), "workspaceId": other });
    app.http.post("/v1/webhook-endpoints", &wanted).await?.expect(201)?;
    delete(&app, &other).await?;
    destroyed(&app, &other).await?;
    let left =
        format!("SELECT count(*) AS n FROM webhook_endpoints WHERE workspace_id = '{other}'");
    assert_eq!(app.row(&left).await?["n"], 0);
    app.finish().await
}
