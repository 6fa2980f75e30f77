//! The revocation endpoint: whatever is no clear yes is asked again, and the receipt says `pending`
//! until then.

use chrono::TimeDelta;
use latchkey_tests::TestApp;
use latchkey_tests::app::{Options, eventually};
use latchkey_tests::sandbox::{Endpoint, Fault, FaultRule};

use super::{
    CALL_TIMEOUT, calls, connect_all, drip, grant_of, html, in_ok, redirect, retry_after, strike,
    text,
};

/// Who, what goes wrong, and how often the platform is told until the receipt says so.
fn cases() -> Vec<(&'static str, FaultRule, usize)> {
    let rule = |fault| FaultRule::new(Endpoint::Revoke, fault);
    vec![
        ("unavailable", rule(Fault::Status { status: 503 }), 2),
        ("limited", rule(Fault::RateLimited { retry_after_secs: None }), 2),
        ("forbidden-by-a-proxy", rule(Fault::Status { status: 403 }), 2),
        ("huge", rule(Fault::Huge), 2),
        ("drip", rule(drip()), 2),
        ("silence", rule(Fault::Silence), 2),
        ("silence-afterwards", rule(Fault::Silence).after(), 2),
        ("drop", rule(Fault::Drop).after(), 2),
        ("redirect", rule(redirect()), 2),
        ("wrong-client", rule(Fault::InvalidClient), 2),
        ("wrong-client-in-200", rule(in_ok("invalid_client")), 2),
        // RFC 7009 §2.2: the status says it all, and nobody reads the body.
        ("garbage", rule(Fault::Garbage), 1),
        ("empty", rule(Fault::Status { status: 200 }).after(), 1),
        ("html", rule(html()), 1),
        // Not known there any more: as revoked as one can wish.
        ("unknown", rule(Fault::InvalidGrant).after(), 1),
    ]
}

async fn disconnect(app: &TestApp, account: &str) -> anyhow::Result<()> {
    let path = app.path(&format!("/accounts/{account}"));
    let shown = app.http.delete(&path).await?.expect(202)?.json();
    // A worker may have told the platform before the answer is read.
    let receipt = text(&shown["revocation"]["status"]);
    assert!(["pending", "revoked"].contains(&receipt), "{receipt}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_is_repeated_until_the_platform_says_yes() -> anyhow::Result<()> {
    let options = Options { call_timeout: Some(CALL_TIMEOUT), ..Options::default() };
    let app = TestApp::start_with(options).await?;
    let cases = cases();
    let users: Vec<&str> = cases.iter().map(|case| case.0).collect();
    let accounts = connect_all(&app, &users).await?;
    for ((user, rule, _), account) in cases.iter().zip(&accounts) {
        strike(&app, user, rule);
        disconnect(&app, &account.account_id).await?;
    }
    for ((user, _, times), account) in cases.iter().zip(&accounts) {
        let id = &account.account_id;
        let shown =
            app.account_until(id, |account| account["revocation"]["status"] == "revoked").await?;
        assert_eq!(text(&shown["status"]), "disconnected", "{user}");
        assert!(shown["revocation"]["platformAnswer"]["httpStatus"].is_number(), "{user}");
        let event = app.event("account.revoked", id).await?;
        assert_eq!(text(&event["data"]["revocation"]["status"]), "revoked", "{user}");
        assert_eq!(calls(&app, Endpoint::Revoke, user).len(), *times, "{user}");
        assert_eq!(text(&grant_of(&app, id).await?["status"]), "revoked", "{user}");
    }
    assert_eq!(app.row("SELECT count(sealed_tokens) AS n FROM grants").await?["n"], 0);
    assert!(app.sandbox.families().iter().all(|family| !family.alive));
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_that_wants_to_be_left_alone_is_told_later() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let sam = app.connect("sam").await?;
    strike(&app, "sam", &FaultRule::new(Endpoint::Revoke, retry_after(503, "600")));
    disconnect(&app, &sam.account_id).await?;
    let row = "SELECT attempts, done_at, last_error, extract(epoch FROM available_at - now())::float8 AS waits \
               FROM outbox WHERE kind = 'revocation_due'";
    let waiting = eventually(|| async {
        let row = app.row(row).await?;
        Ok((!row["last_error"].is_null()).then_some(row))
    })
    .await?;
    assert!(waiting["waits"].as_f64() > Some(590.0), "{waiting}");
    assert!(text(&waiting["last_error"]).contains("503"), "{waiting}");
    assert_eq!(calls(&app, Endpoint::Revoke, "sam").len(), 1);
    app.clock.advance(TimeDelta::minutes(10));
    app.account_until(&sam.account_id, |account| account["revocation"]["status"] == "revoked")
        .await?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_that_does_not_revoke_such_tokens_has_them_destroyed() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let sam = app.connect("sam").await?;
    strike(&app, "sam", &FaultRule::new(Endpoint::Revoke, in_ok("unsupported_token_type")));
    disconnect(&app, &sam.account_id).await?;
    app.account_until(&sam.account_id, |account| {
        account["revocation"]["status"] == "not_supported"
    })
    .await?;
    assert_eq!(app.row("SELECT count(sealed_tokens) AS n FROM grants").await?["n"], 0);
    app.finish().await
}
