//! Where a provider's endpoints are: asked of it when they are needed, and what happens meanwhile.

use chrono::TimeDelta;
use latchkey_tests::app::{Options, eventually};
use latchkey_tests::sandbox::{Endpoint, Fault, FaultRule, Kind};
use latchkey_tests::{SandboxConfig, TestApp};
use serde_json::{Value, json};

use super::{begin, connected, count, discovered, sandbox, section, start, text, try_to_begin};

/// A document that cannot be used keeps a connect from starting, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_does_not_say_where_it_is_can_be_asked_again() -> anyhow::Result<()> {
    let app = start(discovered(""), sandbox()).await?;
    let elsewhere = format!("{}/metadata", app.sandbox.url());
    for fault in [
        Fault::Status { status: 404 },
        Fault::Status { status: 500 },
        Fault::RateLimited { retry_after_secs: Some(1) },
        Fault::Garbage,
        Fault::Huge,
        Fault::Drop,
        Fault::Redirect { location: elsewhere },
    ] {
        let name = format!("{fault:?}");
        app.sandbox.inject(FaultRule::new(Endpoint::Metadata, fault));
        let refused = try_to_begin(&app).await?;
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (503, "PLATFORM_UNAVAILABLE"),
            "{name}"
        );
        assert_eq!(refused.headers["retry-after"], "5", "{name}");
        app.sandbox.clear_faults();
        let asked = count(&app, Kind::Metadata);
        assert_eq!(try_to_begin(&app).await?.status, 503, "{name}: it is not asked at once again");
        assert_eq!(count(&app, Kind::Metadata), asked);
        app.clock.advance(TimeDelta::seconds(5));
        assert_eq!(try_to_begin(&app).await?.status, 201, "{name}");
        // Until what is known is too old.
        app.clock.advance(TimeDelta::hours(25));
    }
    let open = "SELECT count(*) AS n FROM connects WHERE status = 'pending'";
    eventually(|| async { Ok((app.row(open).await?["n"] == 0).then_some(())) }).await?;
    app.finish().await
}

/// Servers of plain OAuth 2.0 have their document in another place (RFC 8414 §3).
#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_no_openid_document_the_other_place_is_tried() -> anyhow::Result<()> {
    let app = start(discovered(""), sandbox()).await?;
    let missing = FaultRule::new(Endpoint::Metadata, Fault::Status { status: 404 });
    app.sandbox.inject(missing.clone().times(1));
    begin(&app).await?;
    // The worker asks for itself.
    app.sandbox.inject(missing.times(1));
    connected(&app, "sam").await?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_is_not_the_issuer_s_is_not_believed() -> anyhow::Result<()> {
    for (member, wrong, told) in [
        ("issuer", json!("https://evil.example"), "of the issuer https://evil.example"),
        ("token_endpoint", json!("http://evil.example/token"), "token_endpoint must be https"),
        ("userinfo_endpoint", Value::Null, "give `userinfo_url`"),
        ("authorization_endpoint", json!(7), "no JSON object"),
    ] {
        let metadata = [(member.to_owned(), wrong)].into_iter().collect();
        let app = start(discovered(""), SandboxConfig { metadata, ..sandbox() }).await?;
        let refused = try_to_begin(&app).await?;
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (503, "PLATFORM_UNAVAILABLE"),
            "{member}"
        );
        let issuer = app.sandbox.url();
        let logs = latchkey_tests::app::logs();
        let mut about = logs.lines().filter(|line| line.contains(issuer));
        assert!(about.any(|line| line.contains(told)), "{member}: the log does not say {told}");
        app.finish().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_document_lacks_the_operator_can_say() -> anyhow::Result<()> {
    let metadata = [("userinfo_endpoint".to_owned(), Value::Null)].into_iter().collect();
    let platforms = discovered("userinfo_url = \"{sandbox}/userinfo\"");
    let app = start(platforms, SandboxConfig { metadata, ..sandbox() }).await?;
    connected(&app, "sam").await?;
    app.finish().await
}

/// A provider that is away when everything starts, and for good, holds up nothing but itself.
#[tokio::test(flavor = "multi_thread")]
async fn latchkey_starts_without_the_provider() -> anyhow::Result<()> {
    let nobody = "issuer = \"http://127.0.0.1:1\"\nscopes = []";
    let options = Options { platforms: section(nobody), ..Options::default() };
    let app = TestApp::start_with(options).await?;
    let refused = try_to_begin(&app).await?;
    assert_eq!((refused.status, refused.code().as_str()), (503, "PLATFORM_UNAVAILABLE"));
    app.connect("sam").await?;
    app.finish().await
}

/// Discovery that fails while an account lives is a call that was never sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_away_expires_nobody() -> anyhow::Result<()> {
    let app = start(discovered(""), sandbox()).await?;
    let account = connected(&app, "sam").await?;
    let away = FaultRule::new(Endpoint::Metadata, Fault::Status { status: 502 });
    app.sandbox.inject(away);
    // What was known an hour ago still serves.
    app.clock.advance(TimeDelta::hours(2));
    app.account_until(&account, |account| account["tokenGeneration"] == 2).await?;
    app.clock.advance(TimeDelta::hours(25));
    app.event("account.refresh_overdue", &account).await?;
    let failed = |shown: &Value| shown["lastError"]["code"] == "discovery_failed";
    let shown = app.account_until(&account, failed).await?;
    assert_eq!(text(&shown["status"]), "connected");
    let grant =
        app.row("SELECT in_doubt_since, calling_generation, lease_until FROM grants").await?;
    assert!(grant.as_object().is_some_and(|grant| grant.values().all(Value::is_null)), "{grant}");
    app.sandbox.clear_faults();
    app.clock.advance(TimeDelta::hours(2));
    app.account_until(&account, |account| account["tokenGeneration"] == 3).await?;

    app.sandbox.inject(FaultRule::new(Endpoint::Metadata, Fault::Drop));
    app.clock.advance(TimeDelta::hours(25));
    let path = app.path(&format!("/accounts/{account}"));
    app.http.delete(&path).await?.expect(202)?;
    let tried = "SELECT max(attempts) AS n FROM outbox WHERE kind = 'revocation_due' AND last_error IS NOT NULL";
    eventually(|| async { Ok((app.row(tried).await?["n"] == 1).then_some(())) }).await?;
    assert_eq!(app.account(&account).await?["revocation"]["status"], "pending");
    app.sandbox.clear_faults();
    app.clock.advance(TimeDelta::hours(2));
    app.account_until(&account, |account| account["revocation"]["status"] == "revoked").await?;
    app.finish().await
}

/// After a week without a word of where to revoke, the tokens are destroyed all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_stays_away_is_given_up() -> anyhow::Result<()> {
    let app = start(discovered(""), sandbox()).await?;
    let account = connected(&app, "sam").await?;
    app.sandbox.inject(FaultRule::new(Endpoint::Metadata, Fault::Status { status: 503 }));
    app.clock.advance(TimeDelta::hours(25));
    app.event("account.refresh_overdue", &account).await?;
    app.http.delete(&app.path(&format!("/accounts/{account}"))).await?.expect(202)?;
    app.clock.advance(TimeDelta::days(8));
    app.account_until(&account, |account| account["revocation"]["status"] == "given_up").await?;
    assert_eq!(app.row("SELECT count(sealed_tokens) AS n FROM grants").await?["n"], 0);
    app.finish().await
}
