//! What happened to an account.

use chrono::TimeDelta;
use latchkey_tests::TestApp;
use latchkey_tests::sandbox::{Endpoint, Fault, FaultRule};
use latchkey_worker::sweeps::Sweep;
use serde_json::{Value, json};

async fn page(app: &TestApp, account: &str, query: &str) -> anyhow::Result<Value> {
    let path = app.path(&format!("/accounts/{account}/history{query}"));
    Ok(app.http.get(&path).await?.expect(200)?.json())
}

fn types(page: &Value) -> Vec<&str> {
    let entries = page["data"].as_array().into_iter().flatten();
    entries.map(|entry| entry["type"].as_str().unwrap_or_default()).collect()
}

async fn refresh_until(app: &TestApp, account: &str, generation: i64) -> anyhow::Result<()> {
    let path = app.path(&format!("/accounts/{account}/refresh"));
    app.http.post(&path, &json!({})).await?.expect(202)?;
    app.account_until(account, |account| account["tokenGeneration"] == generation).await.map(drop)
}

/// An answer that leaves nothing in doubt.
fn in_a_moment() -> Fault {
    Fault::RateLimited { retry_after_secs: Some(1) }
}

/// From the first consent to the receipt of the revocation, newest first, page by page.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_s_life_can_be_read_back() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let sam = app.connect("sam").await?;
    let account = sam.account_id.as_str();
    refresh_until(&app, account, 2).await?;
    app.sandbox.inject(FaultRule::new(Endpoint::TokenRefresh, in_a_moment()).times(1));
    refresh_until(&app, account, 3).await?;
    app.sandbox.revoke_user("sam");
    let path = app.path(&format!("/accounts/{account}/refresh"));
    app.http.post(&path, &json!({})).await?.expect(202)?;
    app.account_until(account, |account| account["status"] == "token_expired").await?;
    let again = app.connect("sam").await?;
    assert_eq!(again.account_id, account);
    app.http.delete(&app.path(&format!("/accounts/{account}"))).await?.expect(202)?;
    app.account_until(account, |account| account["revocation"]["status"] == "revoked").await?;

    let whole = page(&app, account, "").await?;
    let expected = [
        "account.revoked",
        "account.disconnected",
        "account.connected",
        "account.token_expired",
        "refresh.succeeded",
        "refresh.failed",
        "refresh.succeeded",
        "account.connected",
    ];
    assert_eq!(types(&whole), expected);
    let entries = whole["data"].as_array().cloned().unwrap_or_default();
    assert_eq!(entries[7]["data"]["connectId"], sam.connect_id);
    assert_eq!(entries[6]["data"]["tokenGeneration"], 2);
    assert!(entries[6]["data"]["tokenExpiresAt"].is_string());
    assert_eq!(entries[5]["data"]["error"], "http_429");
    assert_eq!(entries[5]["data"]["inDoubt"], false);
    assert_eq!(entries[3]["data"]["error"]["error"], "invalid_grant");
    assert_eq!(entries[0]["data"]["revocation"]["status"], "revoked");
    assert!(entries.windows(2).all(|two| two[0]["at"].as_str() >= two[1]["at"].as_str()));

    let mut read = Vec::new();
    let mut query = "?limit=3".to_owned();
    loop {
        let page = page(&app, account, &query).await?;
        read.extend(page["data"].as_array().cloned().unwrap_or_default());
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        query = format!("?limit=3&cursor={cursor}");
    }
    assert_eq!(read, entries, "the pages are the whole");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_is_one_account_s_and_ends_after_ninety_days() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let sam = app.connect("sam").await?;
    let eve = app.connect("eve").await?;
    refresh_until(&app, &sam.account_id, 2).await?;
    assert_eq!(types(&page(&app, &eve.account_id, "").await?), ["account.connected"]);
    let unknown = app.path("/accounts/acc_01JCZ5M2V8Q4T6W8Y0A2B4C6D8/history");
    assert_eq!(app.http.get(&unknown).await?.status, 404);
    // The refresh tokens of a sandbox do not end; what the clock skips is no refresh that failed.
    app.http.delete(&app.path(&format!("/accounts/{}", sam.account_id))).await?.expect(202)?;
    app.account_until(&sam.account_id, |account| account["revocation"]["status"] == "revoked")
        .await?;
    assert_eq!(types(&page(&app, &sam.account_id, "").await?).len(), 4);
    app.clock.advance(TimeDelta::days(89));
    Sweep::Prune.run(app.worker_context()).await?;
    assert_eq!(types(&page(&app, &sam.account_id, "").await?).len(), 4);
    app.clock.advance(TimeDelta::days(3));
    Sweep::Prune.run(app.worker_context()).await?;
    assert!(types(&page(&app, &sam.account_id, "").await?).is_empty());
    app.finish().await
}

/// A call whose answer was lost stands in the history as in doubt.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_stands_in_the_history() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let sam = app.connect("sam").await?;
    app.sandbox.inject(FaultRule::new(Endpoint::TokenRefresh, Fault::Drop).before().times(1));
    let path = app.path(&format!("/accounts/{}/refresh", sam.account_id));
    app.http.post(&path, &json!({})).await?.expect(202)?;
    app.account_until(&sam.account_id, |account| {
        account["lastError"]["code"] == "no_readable_answer"
    })
    .await?;
    let newest = &page(&app, &sam.account_id, "?limit=1").await?["data"][0];
    assert_eq!(newest["type"], "refresh.failed");
    assert_eq!(newest["data"]["inDoubt"], true);
    assert!(newest["data"]["nextAttemptAt"].is_string());
    app.finish().await
}
