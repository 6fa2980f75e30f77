//! Connects that only the application's backend can finish: until it says so, nothing is connected.

use latchkey_shared::ids::ConnectKey;
use std::time::Duration;

use chrono::TimeDelta;
use latchkey_shared::db::connects;
use latchkey_tests::app::{Options, eventually, worn};
use latchkey_tests::sandbox::Page;
use latchkey_tests::{Person, TestApp};
use serde_json::{Value, json};

async fn app_with(platforms: &[&str]) -> anyhow::Result<TestApp> {
    let callback_wait = Duration::from_millis(50);
    let platforms = worn(platforms);
    TestApp::start_with(Options { platforms, callback_wait, ..Options::default() }).await
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A connect of sam's whose binding is `claim`, as far as it goes by itself.
async fn approved(app: &TestApp, platform: &str, more: Value) -> anyhow::Result<Value> {
    let mut body = json!({
        "platform": platform, "binding": "claim", "redirectUrl": "https://app.example/",
    });
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    let started = app.start_connect(body).await?;
    app.approve(&started, &Person::new("sam")?).await?.expect(303)?;
    app.ended(&text(&started["connectId"])).await
}

/// Says that the application claimed it, as its route does; the sweep brings it to a worker.
async fn claim(app: &TestApp, connect: &Value) -> anyhow::Result<bool> {
    let (workspace, id) = (app.owner.workspace_id.clone(), text(&connect["id"]).parse()?);
    let db = app.db()?;
    let claimed =
        connects::claim(&mut *db.conn().await?, ConnectKey { workspace_id: &workspace, id: &id })
            .await?;
    app.clock.advance(TimeDelta::seconds(4));
    Ok(claimed)
}

async fn nothing_is_connected(app: &TestApp) -> anyhow::Result<()> {
    let accounts = app.http.get(&app.path("/accounts")).await?.expect(200)?.json();
    assert_eq!(accounts["data"], json!([]));
    let told = app.row("SELECT count(*) AS n FROM events WHERE type = 'account.connected'").await?;
    assert_eq!(told["n"], 0);
    Ok(())
}

fn alive(app: &TestApp) -> usize {
    app.sandbox.families().iter().filter(|family| family.alive).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_changes_before_the_claim() -> anyhow::Result<()> {
    let app = app_with(&[]).await?;
    let waiting = approved(&app, "SANDBOX", json!({})).await?;
    let id = text(&waiting["id"]);
    assert_eq!(waiting["status"], "claiming");
    let steps: Vec<_> = waiting["timeline"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|step| text(&step["status"]))
        .collect();
    assert_eq!(steps, ["pending", "authorized", "exchanging", "claiming"]);
    nothing_is_connected(&app).await?;
    let row = "SELECT g.status, g.holder_hash IS NOT NULL AS named, g.next_attempt_at,
                   extract(epoch FROM c.expires_at - c.status_at)::int AS seconds
               FROM grants g JOIN connects c ON c.grant_id = g.id";
    let row = app.row(row).await?;
    assert_eq!((&row["status"], &row["named"]), (&json!("pending"), &json!(true)));
    assert_eq!((&row["next_attempt_at"], &row["seconds"]), (&Value::Null, &json!(600)));
    let candidates = app.path(&format!("/connects/{id}/candidates"));
    assert_eq!(app.http.get(&candidates).await?.code(), "CONNECT_NOT_SELECTING");

    assert!(claim(&app, &waiting).await?);
    let done = app.connected_in(app.owner.workspace_id.as_str(), &id).await?;
    let account = text(&done["accountIds"][0]);
    assert_eq!(app.account(&account).await?["status"], "connected");
    app.event("account.connected", &account).await?;
    assert!(!claim(&app, &waiting).await?, "a claim counts once");
    let left = app.row("SELECT sealed_claim, sealed_candidates FROM connects").await?;
    assert_eq!(left, json!({ "sealed_claim": null, "sealed_candidates": null }));
    app.http
        .post(&app.path(&format!("/accounts/{account}/refresh")), &json!({}))
        .await?
        .expect(202)?;
    app.account_until(&account, |account| account["tokenGeneration"] == 2).await?;
    app.finish().await
}

/// What the redirect carries is 32 random bytes, sealed where it stands.
#[tokio::test(flavor = "multi_thread")]
async fn the_claim_is_sealed() -> anyhow::Result<()> {
    let app = app_with(&[]).await?;
    let waiting = approved(&app, "SANDBOX", json!({})).await?;
    let (workspace, id) = (app.owner.workspace_id.clone(), text(&waiting["id"]).parse()?);
    let db = app.db()?;
    let mut conn = db.conn().await?;
    let connect = connects::find(&mut conn, &workspace, &id).await?;
    let sealed = connect.and_then(|connect| connect.sealed_claim).unwrap_or_default();
    let claim = conn
        .decrypt(connects::claim_aad(ConnectKey { workspace_id: &workspace, id: &id }), &sealed)
        .await?;
    assert_eq!(std::str::from_utf8(&claim)?.len(), 43);
    drop(conn);
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_claims_is_disposed_of() -> anyhow::Result<()> {
    let app = app_with(&[]).await?;
    let waiting = approved(&app, "SANDBOX", json!({})).await?;
    let id = text(&waiting["id"]);
    app.clock.advance(TimeDelta::minutes(11));
    let path = app.path(&format!("/connects/{id}"));
    eventually(|| async {
        Ok((app.http.get(&path).await?.json()["status"] == "expired").then_some(()))
    })
    .await?;
    app.event("connect.expired", &id).await?;
    app.until_none("grants WHERE status IN ('pending', 'releasing')").await?;
    assert_eq!(alive(&app), 0);
    assert!(!claim(&app, &waiting).await?);
    nothing_is_connected(&app).await?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_before_the_claim_wins() -> anyhow::Result<()> {
    let app = app_with(&[]).await?;
    let waiting = approved(&app, "SANDBOX", json!({})).await?;
    app.http
        .delete(&app.path(&format!("/connects/{}", text(&waiting["id"]))))
        .await?
        .expect(200)?;
    assert!(!claim(&app, &waiting).await?);
    app.until_none("grants WHERE status IN ('pending', 'releasing')").await?;
    assert_eq!(alive(&app), 0);
    nothing_is_connected(&app).await?;
    app.finish().await
}

/// First the person chooses, then the application claims what was chosen, and that alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_choice_comes_before_the_claim() -> anyhow::Result<()> {
    let app = app_with(&["FACEBOOK_PAGE"]).await?;
    let page = |id: &str| Page {
        id: id.to_owned(),
        name: format!("Page {id}"),
        username: None,
        roles: vec!["CREATE_CONTENT".to_owned()],
    };
    app.sandbox.set_pages("sam", ["7001", "7002", "7003"].map(page).to_vec());
    let choosing = approved(&app, "FACEBOOK_PAGE", json!({})).await?;
    assert_eq!(choosing["status"], "selecting");
    let path = app.path(&format!("/connects/{}", text(&choosing["id"])));
    let both = json!({ "candidateIds": ["7001", "7003"] });
    app.http.post(&format!("{path}/selection"), &both).await?.expect(202)?;
    eventually(|| async {
        Ok((app.http.get(&path).await?.json()["status"] == "claiming").then_some(()))
    })
    .await?;
    nothing_is_connected(&app).await?;
    assert!(claim(&app, &choosing).await?);
    app.connected_in(app.owner.workspace_id.as_str(), &text(&choosing["id"])).await?;
    let pages = "SELECT json_agg(platform_user_id ORDER BY platform_user_id) AS ids FROM accounts";
    assert_eq!(app.row(pages).await?["ids"], json!(["7001", "7003"]));
    app.finish().await
}

/// A slot that is free at the consent may be taken at the claim.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_may_come_too_late_for_the_slot() -> anyhow::Result<()> {
    let app = app_with(&[]).await?;
    let one = json!({ "accountPolicy": "one_per_platform" });
    app.http.patch(&app.path(""), &one).await?.expect(200)?;
    let body = json!({ "binding": "claim", "redirectUrl": "https://app.example/" });
    let late = app.start_connect(body).await?;
    let waiting = approved(&app, "SANDBOX", json!({})).await?;
    let kim = app.connect("kim").await?;
    // One that is refused anyway does not wait to be claimed.
    app.approve(&late, &Person::new("lee")?).await?.expect(303)?;
    let refused = app.ended(&text(&late["connectId"])).await?;
    assert_eq!(refused["reasonCode"], "ACCOUNT_ALREADY_CONNECTED", "{refused:#}");
    assert!(claim(&app, &waiting).await?);
    let path = app.path(&format!("/connects/{}", text(&waiting["id"])));
    let ended = eventually(|| async {
        let shown = app.http.get(&path).await?.json();
        Ok((shown["status"] != "claiming").then_some(shown))
    })
    .await?;
    assert_eq!(ended["reasonCode"], "ACCOUNT_ALREADY_CONNECTED", "{ended:#}");
    app.until_none("grants WHERE status IN ('pending', 'releasing')").await?;
    assert_eq!(alive(&app), 1, "kim's");
    assert_eq!(app.account(&kim.account_id).await?["status"], "connected");
    app.finish().await
}
