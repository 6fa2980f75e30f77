//! Facebook pages: many accounts of one consent, each with a token of its own.

use anyhow::Context as _;
use chrono::TimeDelta;
use latchkey_tests::TestApp;
use latchkey_tests::app::eventually;
use latchkey_tests::sandbox::{Endpoint, Fault, FaultRule, Kind};
use serde_json::{Value, json};

use super::{
    a_day_and_more, choose, connect, connect_in, disconnected, disconnected_in, dressed_in, lives,
    page, text,
};

const PAGES: [&str; 3] = ["7001", "7002", "7003"];
const FACEBOOK: (&str, &str) = ("FACEBOOK_PAGE", "sam");

async fn with_pages() -> anyhow::Result<TestApp> {
    let app = dressed_in(&["FACEBOOK_PAGE"]).await?;
    app.sandbox.set_pages("sam", PAGES.map(|id| page(id, &["CREATE_CONTENT"])).to_vec());
    Ok(app)
}

fn count(app: &TestApp, kind: Kind) -> usize {
    app.sandbox.ledger().iter().filter(|entry| entry.kind == kind).count()
}

async fn three_pages(app: &TestApp) -> anyhow::Result<Vec<String>> {
    let waiting = connect(app, FACEBOOK, &json!({})).await?;
    choose(app, &waiting, &PAGES).await
}

/// Waits until tokens have been looked at so often, and every account knows its next look.
async fn checked(app: &TestApp, times: usize) -> anyhow::Result<()> {
    let soon = (app.clock.now() + TimeDelta::hours(1)).to_rfc3339();
    let waiting = format!(
        "SELECT count(*) AS n FROM accounts WHERE status = 'connected' AND next_check_at < '{soon}'"
    );
    let settled = eventually(|| async {
        let all_know = app.row(&waiting).await?["n"] == 0;
        Ok((all_know && looks(app) >= times).then_some(()))
    });
    settled.await.inspect_err(|_| eprintln!("{} of {times} looks", looks(app)))
}

/// How often tokens have been looked at, with an answer or without.
fn looks(app: &TestApp) -> usize {
    app.sandbox.ledger().iter().filter(|entry| entry.endpoint == Some(Endpoint::Inspect)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_pages_share_a_consent_and_each_is_checked() -> anyhow::Result<()> {
    let app = with_pages().await?;
    let accounts = three_pages(&app).await?;
    assert_eq!(accounts.len(), 3);
    let grants =
        app.row("SELECT count(*) AS n, count(DISTINCT grant_id) AS grants FROM accounts").await?;
    assert_eq!((&grants["n"], &grants["grants"]), (&json!(3), &json!(1)));
    assert_eq!(count(&app, Kind::LongLived), 1, "a short-lived token is traded in, once");
    checked(&app, 3).await?;
    for account in &accounts {
        let shown = app.account_until(account, |shown| shown["reauthDueAt"].is_string()).await?;
        assert_eq!(shown["tokenExpiresAt"], Value::Null, "a page's token does not end");
    }
    app.clock.advance(a_day_and_more());
    checked(&app, 6).await?;

    for account in &accounts[..2] {
        let receipt = disconnected(&app, account).await?;
        assert_eq!(receipt["status"], "kept_for_other_accounts", "{receipt:#}");
    }
    assert_eq!(lives(&app, "sam"), 1);
    app.clock.advance(a_day_and_more());
    checked(&app, 7).await?;
    assert_eq!(app.account(&accounts[2]).await?["status"], "connected");

    let receipt = disconnected(&app, &accounts[2]).await?;
    assert_eq!(receipt["status"], "revoked", "{receipt:#}");
    assert_eq!(lives(&app, "sam"), 0, "the permissions are deleted");
    app.finish().await
}

/// The exchange does not say what was granted; the first look at the token does.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_person_unticked_is_shown_as_missing() -> anyhow::Result<()> {
    let app = with_pages().await?;
    app.sandbox.set_pages("sam", vec![page("7001", &["CREATE_CONTENT"])]);
    let granted = json!(["pages_show_list", "public_profile"]);
    let data = json!({ "is_valid": true, "expires_at": 0, "scopes": granted });
    let seen = super::answer(200, &[], &json!({ "data": data }));
    app.sandbox.inject(FaultRule::new(Endpoint::Inspect, seen));
    let account = super::connected(&app, FACEBOOK, &json!({})).await?;
    let shown = app.account_until(&account, |shown| shown["scopes"] == granted).await?;
    let missing = json!(["pages_read_engagement", "pages_manage_posts", "business_management"]);
    assert_eq!(shown["missingScopes"], missing);
    app.finish().await
}

/// The person's own token ends after 60 days: no page does.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_outlives_the_token_of_its_person_and_can_still_be_revoked() -> anyhow::Result<()> {
    let app = with_pages().await?;
    let accounts = three_pages(&app).await?;
    checked(&app, 3).await?;
    app.clock.advance(TimeDelta::days(70));
    checked(&app, 6).await?;
    for account in &accounts {
        assert_eq!(app.account(account).await?["status"], "connected");
        disconnected(&app, account).await?;
    }
    let receipt = app.account(&accounts[2]).await?["revocation"].clone();
    assert_eq!(receipt["status"], "revoked", "with the client's own token: {receipt:#}");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_s_name_follows_within_a_day() -> anyhow::Result<()> {
    let app = with_pages().await?;
    let accounts = three_pages(&app).await?;
    checked(&app, 3).await?;
    let before = app.account(&accounts[0]).await?;
    let mut pages = PAGES.map(|id| page(id, &["CREATE_CONTENT"])).to_vec();
    "Sam's New Shop".clone_into(&mut pages[0].name);
    app.sandbox.set_pages("sam", pages);
    app.clock.advance(a_day_and_more());
    let renamed = |shown: &Value| shown["displayName"] == "Sam's New Shop";
    let after = app.account_until(&accounts[0], renamed).await?;
    assert_eq!(after["username"], before["username"], "the handle stays");
    let told = app.event("account.updated", &accounts[0]).await?;
    assert_eq!(told["data"]["changed"], json!(["displayName"]), "{told:#}");
    let others = app.row("SELECT count(*) AS n FROM events WHERE type = 'account.updated'").await?;
    assert_eq!(others["n"], 1, "of the others nothing changed");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_lost_ends_alone() -> anyhow::Result<()> {
    let app = with_pages().await?;
    let accounts = three_pages(&app).await?;
    checked(&app, 3).await?;
    let lost = app.account(&accounts[1]).await?;
    app.sandbox.end_page(text(&lost["platformUserId"]));
    app.clock.advance(a_day_and_more());
    let expired =
        app.account_until(&accounts[1], |shown| shown["status"] == "token_expired").await?;
    assert_eq!(expired["statusReason"], "refused_by_platform");
    let event = app.event("account.token_expired", &accounts[1]).await?;
    assert_eq!(event["data"]["error"]["subcode"], "492", "{event:#}");
    checked(&app, 6).await?;
    for account in [&accounts[0], &accounts[2]] {
        assert_eq!(app.account(account).await?["status"], "connected");
    }
    app.finish().await
}

/// A check that brings no answer, or one about our client, ends nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_check_without_an_answer_changes_nothing() -> anyhow::Result<()> {
    let app = with_pages().await?;
    app.sandbox.set_pages("sam", vec![page("7001", &["CREATE_CONTENT"])]);
    let account = super::connected(&app, FACEBOOK, &json!({})).await?;
    checked(&app, 1).await?;
    let of_our_client = json!({ "error": { "code": 190, "message": "of the app token" } });
    let too_many = json!({ "error": { "code": 4, "message": "too many calls" } });
    let faults = [
        Fault::Status { status: 503 },
        Fault::Garbage,
        super::answer(400, &[], &of_our_client),
        super::answer(400, &[], &too_many),
    ];
    for (failures, fault) in (1..).zip(faults) {
        app.sandbox.clear_faults();
        app.sandbox.inject(FaultRule::new(Endpoint::Inspect, fault));
        app.clock.advance(a_day_and_more());
        put_off(&app, failures).await?;
    }
    let braked = app.row("SELECT count(braked_since) AS n FROM app_health").await?;
    assert_eq!(braked["n"], 0, "one account alone stops nobody");
    app.sandbox.clear_faults();
    app.clock.advance(a_day_and_more());
    put_off(&app, 0).await?;
    assert_eq!(app.account(&account).await?["status"], "connected");
    app.finish().await
}

/// Waits until checks have failed so often in a row.
async fn put_off(app: &TestApp, failures: i64) -> anyhow::Result<()> {
    eventually(|| async {
        let row = app.row("SELECT check_failures AS n FROM accounts").await?;
        Ok((row["n"] == failures).then_some(()))
    })
    .await
    .with_context(|| format!("not put off {failures} times"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_person_in_two_workspaces_keeps_the_other() -> anyhow::Result<()> {
    let app = with_pages().await?;
    let other = app.http.post("/v1/workspaces", &json!({ "name": "Other" })).await?.expect(201)?;
    let other = text(&other.json()["id"]).to_owned();
    let here = three_pages(&app).await?;
    let waiting = connect_in(&app, &other, FACEBOOK, &json!({})).await?;
    let there = choose(&app, &waiting, &["7001"]).await?;
    checked(&app, 4).await?;
    for account in &here {
        let receipt = disconnected(&app, account).await?;
        assert_eq!(receipt["status"], "kept_for_other_accounts", "{receipt:#}");
    }
    app.clock.advance(a_day_and_more());
    let path = format!("/v1/workspaces/{other}/accounts/{}", there[0]);
    checked(&app, 5).await?;
    assert_eq!(app.http.get(&path).await?.expect(200)?.json()["status"], "connected");
    let receipt = disconnected_in(&app, &other, &there[0]).await?;
    assert_eq!(receipt["status"], "revoked", "{receipt:#}");
    app.finish().await
}

/// A revocation that was not sent yet would end the new consent.
#[tokio::test(flavor = "multi_thread")]
async fn a_reconnect_stops_a_revocation_that_is_pending() -> anyhow::Result<()> {
    let app = with_pages().await?;
    app.sandbox.set_pages("sam", vec![page("7001", &["CREATE_CONTENT"])]);
    let account = super::connected(&app, FACEBOOK, &json!({})).await?;
    // The platform is away while the disconnect is under way.
    app.sandbox.inject(FaultRule::new(Endpoint::Revoke, Fault::Status { status: 503 }));
    let path = app.path(&format!("/accounts/{account}"));
    app.http.delete(&path).await?.expect(202)?;
    eventually(|| async { Ok((count(&app, Kind::Faulted) > 0).then_some(())) }).await?;
    let again = super::connected(&app, FACEBOOK, &json!({})).await?;
    assert_eq!(again, account);
    app.sandbox.clear_faults();
    checked(&app, 1).await?;
    app.clock.advance(a_day_and_more());
    checked(&app, 2).await?;
    assert_eq!(app.account(&account).await?["status"], "connected");
    assert!(lives(&app, "sam") >= 1, "the new connection lives");
    app.finish().await
}

/// Pages of which none can be connected end the connect with a reason, and what was given is let go.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_without_a_page_is_told_so() -> anyhow::Result<()> {
    let app = with_pages().await?;
    app.sandbox.set_pages("sam", vec![page("7001", &["ANALYZE"]), page("7002", &["ADVERTISE"])]);
    let failed = connect(&app, FACEBOOK, &json!({})).await?;
    assert_eq!((text(&failed["status"]), text(&failed["reasonCode"])), ("failed", "NO_ACCOUNTS"));
    eventually(|| async { Ok((lives(&app, "sam") == 0).then_some(())) }).await?;
    app.sandbox.set_pages("sam", Vec::new());
    let failed = connect(&app, FACEBOOK, &json!({})).await?;
    assert_eq!(text(&failed["reasonCode"]), "NO_ACCOUNTS");
    app.finish().await
}

/// The choice may be left until tomorrow, not longer.
#[tokio::test(flavor = "multi_thread")]
async fn a_choice_that_nobody_makes_expires() -> anyhow::Result<()> {
    let app = with_pages().await?;
    let waiting = connect(&app, FACEBOOK, &json!({})).await?;
    assert_eq!(waiting["status"], "selecting");
    app.event("connect.selecting", text(&waiting["id"])).await?;
    app.clock.advance(TimeDelta::hours(23));
    assert_eq!(app.ended(text(&waiting["id"])).await?["status"], "selecting");
    app.clock.advance(TimeDelta::hours(2));
    app.event("connect.expired", text(&waiting["id"])).await?;
    app.finish().await
}
