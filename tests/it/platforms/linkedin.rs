//! LinkedIn forgets a member's earlier tokens when a client asks for another set of scopes: person and
//! company of one client ask for one.

use chrono::TimeDelta;
use latchkey_tests::app::{Options, worn};
use latchkey_tests::sandbox::Kind;
use latchkey_tests::{SandboxConfig, TestApp};
use serde_json::json;

use super::{
    choose, connect, connected, disconnected, dressed_in, lives, page, refresh, refreshed,
};

const BOTH: [&str; 2] = ["LINKEDIN_PERSON", "LINKEDIN_COMPANY"];

#[tokio::test(flavor = "multi_thread")]
async fn person_and_company_of_one_member_both_live() -> anyhow::Result<()> {
    let app = dressed_in(&BOTH).await?;
    let person = connected(&app, ("LINKEDIN_PERSON", "sam"), &json!({})).await?;
    let company = connected(&app, ("LINKEDIN_COMPANY", "sam"), &json!({})).await?;
    assert_eq!(lives(&app, "sam"), 2, "the second consent did not end the first");
    for account in [&person, &company] {
        assert_eq!(refreshed(&app, account).await?["status"], "connected");
    }
    // Revoking would end both: the first goes quietly, the second is told.
    let receipt = disconnected(&app, &company).await?;
    assert_eq!(receipt["status"], "kept_for_other_accounts", "{receipt:#}");
    assert_eq!(refreshed(&app, &person).await?["status"], "connected");
    assert_eq!(disconnected(&app, &person).await?["status"], "revoked");
    assert_eq!(lives(&app, "sam"), 0);
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_connect_chooses_its_own_scopes() -> anyhow::Result<()> {
    let app = dressed_in(&BOTH).await?;
    for platform in BOTH {
        let body = json!({ "platform": platform, "scopes": ["w_member_social"] });
        let refused = app.http.post(&app.path("/connects"), &body).await?.expect(400)?;
        assert_eq!(refused.code(), "SCOPES_FIXED");
        assert_eq!(refused.json()["errors"][0]["pointer"], "/scopes");
    }
    app.finish().await
}

/// Most apps get no refresh token: nothing is refreshed, and the member is asked in time.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_refresh_token_the_end_is_told_and_comes() -> anyhow::Result<()> {
    let sandbox = SandboxConfig { linkedin_refresh_tokens: false, ..SandboxConfig::default() };
    let platforms = worn(&["LINKEDIN_PERSON"]);
    let app = TestApp::start_with(Options { platforms, sandbox, ..Options::default() }).await?;
    let account = connected(&app, ("LINKEDIN_PERSON", "sam"), &json!({})).await?;
    let shown = app.account(&account).await?;
    assert_eq!(shown["reauthDueAt"], shown["tokenExpiresAt"]);
    assert_eq!(refresh(&app, &account).await?.expect(409)?.code(), "NOTHING_TO_REFRESH");
    app.clock.advance(TimeDelta::days(46) + TimeDelta::minutes(1));
    let event = app.event("account.reauth_due", &account).await?;
    assert_eq!(event["data"]["daysLeft"], 14);
    app.clock.advance(TimeDelta::days(14));
    let expired = app.account_until(&account, |shown| shown["status"] == "token_expired").await?;
    assert_eq!(expired["statusReason"], "access_token_ended");
    app.finish().await
}

/// The role says who may: the others are shown with the reason.
#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_chooses_among_many_organisations() -> anyhow::Result<()> {
    let app = dressed_in(&["LINKEDIN_COMPANY"]).await?;
    let mut organisations: Vec<_> =
        (0..120).map(|n| page(&format!("{}", 5000 + n), &["ADMINISTRATOR"])).collect();
    organisations.push(page("6000", &["ANALYST"]));
    organisations.push(page("6001", &["ANALYST", "CONTENT_ADMINISTRATOR"]));
    app.sandbox.set_pages("sam", organisations);
    let waiting = connect(&app, ("LINKEDIN_COMPANY", "sam"), &json!({})).await?;
    let path = app.path(&format!("/connects/{}/candidates", super::text(&waiting["id"])));
    let listed = app.http.get(&path).await?.expect(200)?.json();
    let listed = listed["data"].as_array().cloned().unwrap_or_default();
    assert_eq!(listed.len(), 122, "all pages of the list were read");
    let of = |id: &str| listed.iter().find(|one| one["id"] == id).cloned().unwrap_or_default();
    let analyst = of("urn:li:organization:6000");
    assert_eq!(
        (&analyst["eligible"], &analyst["reason"]),
        (&json!(false), &json!("ROLE_NOT_ENOUGH"))
    );

    let wanted = ["urn:li:organization:5007", "urn:li:organization:6001"];
    let accounts = choose(&app, &waiting, &wanted).await?;
    assert_eq!(accounts.len(), 2);
    let calls = |app: &TestApp| {
        app.sandbox.ledger().iter().filter(|entry| entry.kind == Kind::Refreshed).count()
    };
    refreshed(&app, &accounts[0]).await?;
    let other = app.account(&accounts[1]).await?;
    assert_eq!(other["tokenGeneration"], 2, "one refresh serves both");
    assert_eq!(calls(&app), 1);
    app.finish().await
}
