//! The whole life of an account at each platform: connected, refreshed, dead, connected again under
//! the same id, disconnected. And what was sent for it, to the letter.

use latchkey_tests::app::{Options, WORN, eventually, worn};
use latchkey_tests::sandbox::Endpoint;
use latchkey_tests::{SandboxConfig, TestApp};
use serde_json::json;

use super::wire::told;
use super::{a_day_and_more, connected, disconnected, lives, refresh, refreshed, text};

/// How an account stays alive.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stays {
    /// By a refresh token.
    ByRefreshToken,
    /// By its own access token, once that is a day old.
    ByItself,
    /// By a token that nothing refreshes, and that is looked at every day.
    Checked,
}

struct Life {
    platform: &'static str,
    stays: Stays,
    /// The code with which the platform says that it is over.
    dead: &'static str,
    /// What becomes of the tokens after a disconnect.
    receipt: &'static str,
}

async fn live(life: Life) -> anyhow::Result<()> {
    let Life { platform, stays, dead, receipt } = life;
    let platforms = worn(&WORN.into_iter().filter(|id| *id == platform).collect::<Vec<_>>());
    let app = TestApp::start_with(Options { platforms, ..Options::default() }).await?;
    let account = connected(&app, (platform, "sam"), &json!({})).await?;
    let shown = app.account(&account).await?;
    assert_eq!(shown["platform"], platform);
    assert!(!text(&shown["platformUserId"]).is_empty());
    assert_eq!(shown["missingScopes"], json!([]), "{shown:#}");
    insta::assert_json_snapshot!(
        format!("{platform}_identity"),
        ["platformUserId", "username", "displayName", "scopes"].map(|key| shown[key].clone())
    );

    stay(&app, stays, &account).await?;
    die(&app, stays, (&account, dead)).await?;

    let again = connected(&app, (platform, "sam"), &json!({ "accountId": account })).await?;
    assert_eq!(again, account, "the same identity is the same account");
    assert_eq!(app.account(&account).await?["status"], "connected");
    let said = disconnected(&app, &account).await?;
    assert_eq!(said["status"], receipt, "{said:#}");
    if receipt == "revoked" {
        assert_eq!(lives(&app, "sam"), 0, "{:#?}", app.sandbox.families());
    }
    insta::assert_snapshot!(format!("{platform}_requests"), told(&app));
    app.finish().await
}

async fn stay(app: &TestApp, stays: Stays, account: &str) -> anyhow::Result<()> {
    match stays {
        Stays::ByRefreshToken => drop(refreshed(app, account).await?),
        Stays::ByItself => {
            // Too young to be extended: it is looked at instead.
            let asked = looked_at(app);
            refresh(app, account).await?.expect(202)?;
            eventually(|| async { Ok((looked_at(app) == asked + 1).then_some(())) }).await?;
            assert_eq!(app.account(account).await?["tokenGeneration"], 2);
            app.clock.advance(a_day_and_more());
            refreshed(app, account).await?;
        }
        Stays::Checked => {
            assert_eq!(refresh(app, account).await?.expect(409)?.code(), "NOTHING_TO_REFRESH");
            let due = |account: &serde_json::Value| account["reauthDueAt"].is_string();
            app.account_until(account, due).await?;
        }
    }
    Ok(())
}

fn looked_at(app: &TestApp) -> usize {
    let ledger = app.sandbox.ledger();
    ledger.iter().filter(|entry| entry.endpoint == Some(Endpoint::Userinfo)).count()
}

/// The person removes the app at the platform.
async fn die(app: &TestApp, stays: Stays, (account, dead): (&str, &str)) -> anyhow::Result<()> {
    app.sandbox.revoke_user("sam");
    if stays != Stays::ByRefreshToken {
        app.clock.advance(a_day_and_more());
    }
    if stays != Stays::Checked {
        refresh(app, account).await?.expect(202)?;
    }
    let expired =
        app.account_until(account, |account| account["status"] == "token_expired").await?;
    assert_eq!(expired["statusReason"], "refused_by_platform", "{expired:#}");
    let event = app.event("account.token_expired", account).await?;
    assert_eq!(event["data"]["error"]["error"], dead, "{event:#}");
    Ok(())
}

macro_rules! life {
    ($name:ident, $platform:literal, $stays:ident, $dead:literal, $receipt:literal) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() -> anyhow::Result<()> {
            let (platform, stays) = ($platform, Stays::$stays);
            live(Life { platform, stays, dead: $dead, receipt: $receipt }).await
        }
    };
}

life!(x, "X", ByRefreshToken, "invalid_request", "revoked");
life!(linkedin_person, "LINKEDIN_PERSON", ByRefreshToken, "invalid_request", "revoked");
life!(linkedin_company, "LINKEDIN_COMPANY", ByRefreshToken, "invalid_request", "revoked");
life!(instagram, "INSTAGRAM", ByItself, "190", "revoked");
life!(facebook_page, "FACEBOOK_PAGE", Checked, "190", "revoked");
life!(threads, "THREADS", ByItself, "190", "revoked");
life!(tiktok_personal, "TIKTOK_PERSONAL", ByRefreshToken, "invalid_grant", "revoked");
life!(tiktok_business, "TIKTOK_BUSINESS", ByRefreshToken, "40105", "revoked");
life!(youtube, "YOUTUBE", ByRefreshToken, "invalid_grant", "revoked");
life!(pinterest, "PINTEREST", ByRefreshToken, "283", "not_supported");
life!(bluesky, "BLUESKY", ByRefreshToken, "ExpiredToken", "revoked");
life!(sandbox, "SANDBOX", ByRefreshToken, "invalid_grant", "revoked");

/// Documented as a list with one item, seen flat in the field: either will do.
#[tokio::test(flavor = "multi_thread")]
async fn instagram_s_other_answer_is_understood_as_well() -> anyhow::Result<()> {
    let sandbox = SandboxConfig { instagram_flat: true, ..SandboxConfig::default() };
    let platforms = worn(&["INSTAGRAM"]);
    let app = TestApp::start_with(Options { platforms, sandbox, ..Options::default() }).await?;
    let account = connected(&app, ("INSTAGRAM", "sam"), &json!({})).await?;
    assert_eq!(app.account(&account).await?["missingScopes"], json!([]));
    app.finish().await
}
