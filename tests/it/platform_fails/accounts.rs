//! One account with a problem of its own: its application gets the event, and no other account changes.

use chrono::TimeDelta;
use latchkey_tests::TestApp;
use latchkey_tests::app::{Options, eventually, worn};
use latchkey_tests::sandbox::{Endpoint, Fault, FaultRule, Page};
use serde_json::{Value, json};

use super::{count, events, usual};
use crate::platforms::connected;

async fn dressed(platform: &str) -> anyhow::Result<TestApp> {
    TestApp::start_with(Options { platforms: worn(&[platform]), ..usual() }).await
}

fn said(status: u16, body: &Value) -> Fault {
    Fault::Answer { status, headers: [].into(), body: body.to_string() }
}

fn graph(code: u32, subcode: u32) -> Value {
    json!({ "error": { "message": "m", "type": "OAuthException", "code": code, "error_subcode": subcode } })
}

/// The person has to pass a checkpoint at the platform: the application gets one event, and the account stays connected.
#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_is_told_once_and_expires_nobody() -> anyhow::Result<()> {
    let app = dressed("THREADS").await?;
    let sam = connected(&app, ("THREADS", "sam"), &json!({})).await?;
    app.clock.advance(TimeDelta::days(2));
    app.sandbox.inject(FaultRule::new(Endpoint::TokenRefresh, said(400, &graph(190, 459))));
    let path = app.path(&format!("/accounts/{sam}/refresh"));
    app.http.post(&path, &json!({})).await?.expect(202)?;
    let event = app.event("account.action_needed", &sam).await?;
    assert_eq!(event["data"]["error"]["subcode"], "459", "{event:#}");
    for tries in 2..5 {
        app.clock.advance(TimeDelta::hours(6));
        let tried = format!("grants WHERE attempts >= {tries} AND lease_until IS NULL");
        eventually(|| async { Ok((count(&app, &tried).await? == 1).then_some(())) }).await?;
    }
    app.sandbox.clear_faults();
    app.clock.advance(TimeDelta::hours(7));
    let shown = app.account_until(&sam, |shown| shown["tokenGeneration"] == 3).await?;
    assert_eq!(shown["status"], "connected");
    assert_eq!(events(&app, "account.action_needed").await?.len(), 1);
    assert_eq!(count(&app, "grants WHERE action_needed_since IS NOT NULL").await?, 0);
    app.finish().await
}

/// An inspection that says that there is no such thing is death if it says so again hours later.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_not_there_is_looked_at_again_before_it_ends() -> anyhow::Result<()> {
    let app = dressed("FACEBOOK_PAGE").await?;
    let roles = vec!["CREATE_CONTENT".to_owned()];
    let page = Page { id: "7001".to_owned(), name: "Page".to_owned(), username: None, roles };
    app.sandbox.set_pages("sam", vec![page]);
    let account = connected(&app, ("FACEBOOK_PAGE", "sam"), &json!({})).await?;
    app.until_none("accounts WHERE next_check_at < now() + interval '1 hour'").await?;
    let missing = said(400, &graph(100, 33));
    app.sandbox.inject(FaultRule::new(Endpoint::Inspect, missing));
    app.clock.advance(TimeDelta::hours(25));
    let refused = "accounts WHERE check_refused_since IS NOT NULL AND status = 'connected'";
    eventually(|| async { Ok((count(&app, refused).await? == 1).then_some(())) }).await?;
    app.clock.advance(TimeDelta::minutes(185));
    let shown = app.account_until(&account, |shown| shown["status"] == "token_expired").await?;
    assert_eq!(shown["statusReason"], "refused_by_platform");
    app.finish().await
}

/// The session is renewed, and the platform says that the account is out of use: it is not shown as connected.
#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_session_of_an_account_that_was_taken_down_is_not_connected() -> anyhow::Result<()>
{
    let app = dressed("BLUESKY").await?;
    let sam = connected(&app, ("BLUESKY", "sam"), &json!({})).await?;
    let renewed = json!({
        "did": app.sandbox.did("sam"), "handle": "sam.test", "accessJwt": "e30.e30.c2ln",
        "refreshJwt": "e30.e30.c2lnMg", "active": false, "status": "takendown",
    });
    app.sandbox.inject(FaultRule::new(Endpoint::TokenRefresh, said(200, &renewed)).times(1));
    let path = app.path(&format!("/accounts/{sam}/refresh"));
    app.http.post(&path, &json!({})).await?.expect(202)?;
    let shown = app.account_until(&sam, |shown| shown["status"] == "token_expired").await?;
    assert_eq!(shown["statusReason"], "account_taken_down", "{shown:#}");
    let grant = app.row("SELECT generation, status FROM grants").await?;
    assert_eq!(grant, json!({ "generation": 2, "status": "expired" }), "the new tokens are kept");
    app.finish().await
}
