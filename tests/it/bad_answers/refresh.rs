//! The token endpoint on refresh, at platforms that rotate strictly, that forgive a lost answer for a
//! while, and that do not rotate.

use anyhow::Context as _;
use chrono::TimeDelta;
use latchkey_tests::TestApp;
use latchkey_tests::app::{Connected, Options};
use latchkey_tests::sandbox::{Endpoint, Fault, FaultRule, Kind, Rotation};
use serde_json::{Value, json};

use super::{
    CALL_TIMEOUT, calls, connect_all, drip, grant_of, html, http_date, in_ok, redirect,
    refresh_now, retry_after, strike, text,
};

/// What a fault means where tokens rotate without forgiveness.
#[derive(Clone, Copy, Debug)]
enum Then {
    /// The token cannot have been spent: tried again at once.
    Heals,
    /// Nobody knows. Tried again once, shortly before the access token's end: good if the platform
    /// never spent the token. Elsewhere nothing is lost, and it heals.
    InDoubt { spent: bool },
    /// Nobody knows either, but no other answer can follow. Where tokens rotate it is tried again once
    /// another call of the app has succeeded.
    Answered { spent: bool },
    /// Only the person can help, for this reason.
    Dies(&'static str),
    /// Somebody must mend our settings: no account is touched.
    OurFault,
}

/// A person, the fault they meet, what is said of it, and what follows.
struct Case {
    user: &'static str,
    rule: FaultRule,
    says: &'static str,
    then: Then,
}

fn before(user: &'static str, fault: Fault, says: &'static str, then: Then) -> Case {
    Case { user, rule: FaultRule::new(Endpoint::TokenRefresh, fault), says, then }
}

fn after(user: &'static str, fault: Fault, says: &'static str) -> Case {
    let rule = FaultRule::new(Endpoint::TokenRefresh, fault).after();
    Case { user, rule, says, then: Then::InDoubt { spent: true } }
}

fn cases() -> Vec<Case> {
    let limited = Fault::RateLimited { retry_after_secs: None };
    let lost = Then::InDoubt { spent: false };
    let unspent = Then::Answered { spent: false };
    vec![
        before("internal-error", Fault::Status { status: 500 }, "http_500", unspent),
        before("unavailable", Fault::Status { status: 503 }, "http_503", unspent),
        before("limited", limited, "http_429", Then::Heals),
        before("forbidden-by-a-proxy", Fault::Status { status: 403 }, "http_403", Then::Heals),
        before("busy-in-200", in_ok("slow_down"), "slow_down", Then::Heals),
        after("garbage", Fault::Garbage, "no_readable_answer"),
        after("empty", Fault::Status { status: 200 }, "no_readable_answer"),
        after("no-content", Fault::Status { status: 204 }, "no_readable_answer"),
        after("huge", Fault::Huge, "no_readable_answer"),
        after("drip", drip(), "no_readable_answer"),
        after("silence", Fault::Silence, "no_readable_answer"),
        after("drop", Fault::Drop, "no_readable_answer"),
        after("html", html(), "no_readable_answer"),
        Case { then: Then::Answered { spent: true }, ..after("redirect", redirect(), "http_307") },
        before("never-arrived", Fault::Drop, "no_readable_answer", lost),
        before("never-began", Fault::Silence, "no_readable_answer", lost),
        before("redirect-instead", redirect(), "http_307", unspent),
        before("refused", Fault::InvalidGrant, "invalid_grant", Then::Dies("refused_by_platform")),
        before(
            "refused-in-200",
            in_ok("invalid_grant"),
            "invalid_grant",
            Then::Dies("refused_by_platform"),
        ),
        before(
            "consent-in-200",
            in_ok("consent_required"),
            "consent_required",
            Then::Dies("consent_required"),
        ),
        before("wrong-client", Fault::InvalidClient, "invalid_client", Then::OurFault),
        before("wrong-client-in-200", in_ok("invalid_client"), "invalid_client", Then::OurFault),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn refreshes_where_tokens_rotate_strictly() -> anyhow::Result<()> {
    let app = story(Options::default()).await?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn refreshes_where_a_lost_answer_is_forgiven() -> anyhow::Result<()> {
    let minute = std::time::Duration::from_secs(60);
    let rotation = Rotation::Grace(minute);
    let app = story(Options { rotation, grace_seconds: Some(60), ..Options::default() }).await?;
    let is_spent = |then: &Then| {
        matches!(then, Then::InDoubt { spent: true } | Then::Answered { spent: true })
    };
    let spent = cases().iter().filter(|case| is_spent(&case.then)).count();
    let ledger = app.sandbox.ledger();
    let replayed = ledger.iter().filter(|entry| entry.kind == Kind::RefreshReplayed).count();
    assert_eq!(replayed, spent, "the old token brought the new pair a second time");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn refreshes_where_tokens_do_not_rotate() -> anyhow::Result<()> {
    let app = story(Options { rotation: Rotation::Stable, ..Options::default() }).await?;
    app.finish().await
}

async fn story(options: Options) -> anyhow::Result<TestApp> {
    let strict = options.rotation == Rotation::Strict;
    let options = Options { call_timeout: Some(CALL_TIMEOUT), ..options };
    let app = TestApp::start_with(options).await?;
    let mut cases = cases();
    let users: Vec<&str> = cases.iter().map(|case| case.user).collect();
    let accounts = connect_all(&app, &users).await?;
    for (case, account) in cases.iter_mut().zip(&accounts) {
        if !strict && matches!(case.then, Then::InDoubt { .. } | Then::Answered { .. }) {
            case.then = Then::Heals;
        }
        if !matches!(case.then, Then::OurFault) {
            strike(&app, case.user, &case.rule);
            refresh_now(&app, &account.account_id).await?;
        }
    }
    let ours = |(case, _): &(&Case, _)| matches!(case.then, Then::OurFault);
    for (case, account) in cases.iter().zip(&accounts).filter(|case| !ours(case)) {
        soon(&app, case, account).await.with_context(|| case.user)?;
    }
    app.clock.advance(TimeDelta::seconds(3));
    let healthy = users.iter().position(|user| *user == "limited").context("it has healed")?;
    refresh_now(&app, &accounts[healthy].account_id).await?;
    for (case, account) in cases.iter().zip(&accounts) {
        after_a_success(&app, case, account).await.with_context(|| case.user)?;
    }
    // Last, and one after the other: while we are wrong, the app is left alone.
    for (case, account) in cases.iter().zip(&accounts).filter(ours) {
        app.execute("DELETE FROM app_pauses; DELETE FROM app_health").await?;
        strike(&app, case.user, &case.rule);
        refresh_now(&app, &account.account_id).await?;
        soon(&app, case, account).await.with_context(|| case.user)?;
    }
    let dead = |case: &&Case| matches!(case.then, Then::Dies(_) | Then::Answered { spent: true });
    let deaths = cases.iter().filter(dead).count();
    let told = "SELECT count(*) AS n FROM events WHERE type IN ('account.token_expired', 'account.refresh_overdue')";
    assert_eq!(app.row(told).await?["n"], deaths, "of all others nobody was told");

    app.clock.advance(TimeDelta::minutes(6));
    for (case, account) in cases.iter().zip(&accounts) {
        if matches!(case.then, Then::OurFault) {
            healed(&app, case, account).await.with_context(|| case.user)?;
        }
    }
    app.clock.advance(TimeDelta::minutes(55));
    for (case, account) in cases.iter().zip(&accounts) {
        if let Then::InDoubt { spent } = case.then {
            second_try(&app, case, (account, spent)).await.with_context(|| case.user)?;
        }
    }
    Ok(app)
}

/// Before any clock has moved.
async fn soon(app: &TestApp, case: &Case, account: &Connected) -> anyhow::Result<()> {
    match case.then {
        Then::Heals => healed(app, case, account).await,
        Then::Dies(reason) => died(app, case, (account, reason)).await,
        Then::OurFault | Then::InDoubt { .. } => put_off(app, case, account).await,
        Then::Answered { .. } => {
            let id = &account.account_id;
            app.account_until(id, |account| !account["lastError"].is_null()).await.map(drop)
        }
    }
}

/// A call of the app has succeeded: what was answered in vain before is tried again.
async fn after_a_success(app: &TestApp, case: &Case, account: &Connected) -> anyhow::Result<()> {
    match case.then {
        Then::Answered { spent: true } => died(app, case, (account, "refresh_interrupted")).await,
        Then::Answered { spent: false } => healed(app, case, account).await,
        _ => Ok(()),
    }
}

async fn healed(app: &TestApp, case: &Case, account: &Connected) -> anyhow::Result<()> {
    let id = &account.account_id;
    let shown = app.account_until(id, |account| account["tokenGeneration"] == 2).await?;
    assert_eq!((text(&shown["status"]), &shown["statusReason"]), ("connected", &Value::Null));
    assert_eq!(text(&shown["lastError"]["code"]), case.says, "{}", case.user);
    let grant = grant_of(app, id).await?;
    assert_eq!((text(&grant["status"]), &grant["attempts"]), ("active", &json!(0)), "{grant}");
    for nothing in ["in_doubt_since", "calling_generation", "lease_until", "end_reason"] {
        assert!(grant[nothing].is_null(), "{}: {grant}", case.user);
    }
    Ok(())
}

async fn put_off(app: &TestApp, case: &Case, account: &Connected) -> anyhow::Result<()> {
    let id = &account.account_id;
    let shown = app.account_until(id, |account| !account["lastError"].is_null()).await?;
    assert_eq!(text(&shown["lastError"]["code"]), case.says, "{}", case.user);
    assert_eq!(
        (text(&shown["status"]), &shown["tokenGeneration"], shown["nextRefreshAt"].is_string()),
        ("connected", &json!(1), true),
        "{}",
        case.user
    );
    let grant = grant_of(app, id).await?;
    assert_eq!((text(&grant["status"]), &grant["attempts"]), ("active", &json!(1)), "{grant}");
    assert!(grant["lease_until"].is_null(), "{grant}");
    let in_doubt = matches!(case.then, Then::InDoubt { .. });
    assert_eq!(!grant["in_doubt_since"].is_null(), in_doubt, "{}: {grant}", case.user);
    let seconds = |name: &str| grant[name].as_f64().unwrap_or_default().round() as i64;
    if in_doubt {
        assert_eq!(grant["calling_generation"], 1, "{grant}");
        assert_eq!(seconds("before_end"), 30, "{}: {grant}", case.user);
    } else {
        assert!(seconds("waits") <= 2, "{}: {grant}", case.user);
    }
    assert_eq!(calls(app, Endpoint::TokenRefresh, case.user).len(), 1, "{}", case.user);
    Ok(())
}

async fn died(
    app: &TestApp,
    case: &Case,
    (account, reason): (&Connected, &str),
) -> anyhow::Result<()> {
    let id = &account.account_id;
    let shown = app.account_until(id, |account| account["status"] == "token_expired").await?;
    assert_eq!(text(&shown["statusReason"]), reason, "{}", case.user);
    assert_eq!(text(&shown["lastError"]["code"]), reason, "{}", case.user);
    assert!(shown["nextRefreshAt"].is_null(), "{}", case.user);
    let event = app.event("account.token_expired", id).await?;
    assert_eq!(text(&event["data"]["reason"]), reason, "{}", case.user);
    let platform = if reason == "refresh_interrupted" { "invalid_grant" } else { case.says };
    assert_eq!(text(&event["data"]["error"]["error"]), platform, "{}", case.user);
    let grant = grant_of(app, id).await?;
    assert_eq!((text(&grant["status"]), text(&grant["end_reason"])), ("expired", reason));
    assert_eq!(grant["generation"], 1, "{}", case.user);
    Ok(())
}

/// One second try, and what it finds.
async fn second_try(
    app: &TestApp,
    case: &Case,
    (account, spent): (&Connected, bool),
) -> anyhow::Result<()> {
    if spent {
        died(app, case, (account, "refresh_interrupted")).await?;
    } else {
        healed(app, case, account).await?;
    }
    assert_eq!(calls(app, Endpoint::TokenRefresh, case.user).len(), 2, "{}", case.user);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_is_left_alone_for_as_long_as_it_asks_up_to_a_day() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let users = ["seconds", "date", "unavailable", "absurd", "nonsense"];
    let accounts = connect_all(&app, &users).await?;
    let faults = [
        (Fault::RateLimited { retry_after_secs: Some(600) }, 600),
        (retry_after(429, &http_date(600)), 600),
        (retry_after(503, "600"), 600),
        (retry_after(429, "99999999999999999999"), 24 * 3600),
        (retry_after(429, "after lunch"), 0),
    ];
    for ((user, account), (fault, _)) in users.iter().zip(&accounts).zip(&faults) {
        strike(&app, user, &FaultRule::new(Endpoint::TokenRefresh, fault.clone()));
        refresh_now(&app, &account.account_id).await?;
        let id = &account.account_id;
        app.account_until(id, |account| !account["lastError"].is_null()).await?;
        // Of the account alone, here: its app is left alone, too.
        app.execute("DELETE FROM app_pauses").await?;
    }
    for ((user, account), (_, wait)) in users.iter().zip(&accounts).zip(&faults) {
        let id = &account.account_id;
        let grant = grant_of(&app, id).await?;
        if *wait > 0 {
            let waits = grant["waits"].as_f64().unwrap_or_default();
            assert!((wait - 20..=wait + 6).contains(&(waits as i64)), "{user}: {grant}");
        }
    }
    app.account_until(&accounts[4].account_id, |account| account["tokenGeneration"] == 2).await?;
    app.clock.advance(TimeDelta::minutes(10) + TimeDelta::seconds(7));
    for account in &accounts[..3] {
        app.account_until(&account.account_id, |account| account["tokenGeneration"] == 2).await?;
    }
    assert_eq!(app.account(&accounts[3].account_id).await?["tokenGeneration"], 1);
    app.clock.advance(TimeDelta::hours(24));
    let absurd = &accounts[3].account_id;
    app.account_until(absurd, |account| account["tokenGeneration"] == 2).await?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_scope_is_stored_and_shown_until_it_changes_again() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let sam = app.connect("sam").await?;
    let rule = |scope: &str| {
        let fault = Fault::ChangedScope { scope: scope.to_owned() };
        FaultRule::new(Endpoint::TokenRefresh, fault).times(1)
    };
    app.sandbox.inject(rule("profile"));
    // An empty scope is none: what was granted stays granted (RFC 6749 §5.1).
    app.sandbox.inject(rule(""));
    app.sandbox.inject(rule("offline_access extra"));
    let missing_one = (json!(["profile"]), json!(["posts.write"]));
    for (generation, (granted, missing)) in (2..).zip([
        missing_one.clone(),
        missing_one,
        (json!(["offline_access", "extra"]), json!(["profile", "posts.write"])),
        (json!(["profile", "posts.write", "offline_access"]), json!(["extra"])),
    ]) {
        refresh_now(&app, &sam.account_id).await?;
        let shown = app
            .account_until(&sam.account_id, |account| account["tokenGeneration"] == generation)
            .await?;
        assert_eq!((&shown["scopes"], &shown["missingScopes"]), (&granted, &missing));
    }
    app.finish().await
}

/// Neither a refresh nor a new consent that brings none takes the stored one's place.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_refresh_token_never_overwrites_the_stored_one() -> anyhow::Result<()> {
    let app =
        TestApp::start_with(Options { rotation: Rotation::Stable, ..Options::default() }).await?;
    let sam = app.connect("sam").await?;
    let presented = || {
        let calls = calls(&app, Endpoint::TokenRefresh, "sam");
        calls.into_iter().map(|entry| entry.presented).collect::<Vec<_>>()
    };
    for generation in [2, 3] {
        let fault = FaultRule::new(Endpoint::TokenRefresh, Fault::MissingRefreshToken);
        strike(&app, "sam", &fault);
        refresh_now(&app, &sam.account_id).await?;
        app.account_until(&sam.account_id, |account| account["tokenGeneration"] == generation)
            .await?;
    }
    strike(&app, "sam", &FaultRule::new(Endpoint::TokenCode, Fault::MissingRefreshToken));
    let again = app.connect("sam").await?;
    assert_eq!(again.account_id, sam.account_id);
    let shown = app.account(&sam.account_id).await?;
    assert!(shown["nextRefreshAt"].is_string(), "it can still be renewed: {shown:#}");
    let before = presented();
    refresh_now(&app, &sam.account_id).await?;
    latchkey_tests::app::eventually(|| async { Ok((presented().len() == 3).then_some(())) })
        .await?;
    assert!(presented().iter().all(|token| *token == before[0]), "the same token each time");
    app.finish().await
}
