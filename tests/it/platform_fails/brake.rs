//! The brake of a platform app.

use chrono::TimeDelta;
use latchkey_tests::TestApp;
use latchkey_tests::app::{Options, eventually, logs};
use latchkey_tests::sandbox::{Endpoint, Fault, FaultRule, Kind};
use serde_json::json;

use super::{
    calls, count, crowd, events, make_all_due, of_kind, until_brake, until_next_probe, until_quiet,
    until_told, usual,
};

fn fails(fault: Fault) -> FaultRule {
    FaultRule::new(Endpoint::TokenRefresh, fault)
}

/// A platform that answers 503 is probed, not stormed; when it answers again all are refreshed, also those
/// whose token was in doubt, and the log has a line for each change.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_probed_and_its_end_refreshes_all() -> anyhow::Result<()> {
    const PEOPLE: usize = 30;
    let app = TestApp::start_with(usual()).await?;
    crowd(&app, PEOPLE).await?;
    app.sandbox.inject(fails(Fault::Status { status: 503 }));
    make_all_due(&app).await?;
    until_brake(&app, true).await?;
    until_told(&app, "platform.degraded").await?;
    until_quiet(&app).await?;
    let before = calls(&app);
    assert!(before < PEOPLE, "{before} calls: not every account finds out by itself");
    until_next_probe(&app);
    eventually(|| async { Ok((calls(&app) > before).then_some(())) }).await?;
    app.sandbox.clear_faults();
    until_next_probe(&app);
    app.until_none("grants WHERE generation < 2").await?;
    let probes = calls(&app) - before - PEOPLE;
    assert!(probes <= 4, "{probes} calls were in vain");
    assert_eq!(of_kind(&app, Kind::RefreshRefused), 0);
    assert_eq!(count(&app, "accounts WHERE status <> 'connected'").await?, 0);
    until_brake(&app, false).await?;
    until_told(&app, "platform.recovered").await?;
    assert_eq!(events(&app, "platform.recovered").await?.len(), 1);
    let degraded = events(&app, "platform.degraded").await?;
    assert_eq!((degraded.len(), &degraded[0]["reason"]), (1, &json!("http_503")));
    let said = logs();
    let lines = |what: &str| said.lines().filter(|line| line.contains(what)).count();
    assert_eq!(lines("SANDBOX fails, since"), 1, "one line says that it fails");
    assert_eq!(lines("SANDBOX answers again after"), 1, "and one that it answers again");
    app.finish().await
}

/// For half a minute everybody is refused, by mistake; three of a hundred are dead in truth.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_refusals_of_everybody_expire_exactly_the_dead() -> anyhow::Result<()> {
    let app = TestApp::start_with(usual()).await?;
    let people = crowd(&app, 33).await?;
    app.sandbox.revoke_user("user-7");
    app.sandbox.inject(fails(Fault::InvalidGrant));
    make_all_due(&app).await?;
    until_brake(&app, true).await?;
    assert_eq!(events(&app, "account.token_expired").await?.len(), 0);
    app.sandbox.clear_faults();
    until_next_probe(&app);
    let living = "grants WHERE generation < 2 AND id <> \
                  (SELECT grant_id FROM accounts WHERE username = 'user-7')";
    app.until_none(living).await?;
    app.clock.advance(TimeDelta::seconds(61));
    let dead = &people[7].account_id;
    let shown = app.account_until(dead, |account| account["status"] == "token_expired").await?;
    assert_eq!(shown["statusReason"], "refused_by_platform");
    assert_eq!(count(&app, "accounts WHERE status <> 'connected'").await?, 1);
    assert_eq!(
        count(&app, "grants WHERE refused_since IS NOT NULL AND status = 'active'").await?,
        0
    );
    app.finish().await
}

/// A gateway spends the tokens of some and loses the answers. Their refusals prove no outage: the others are
/// the probes, though the tokens of those lost end first.
#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_account_is_the_probe_before_one_in_doubt() -> anyhow::Result<()> {
    let app = TestApp::start_with(usual()).await?;
    crowd(&app, 30).await?;
    app.sandbox.inject(fails(Fault::Status { status: 502 }).after());
    make_all_due(&app).await?;
    until_brake(&app, true).await?;
    until_quiet(&app).await?;
    app.sandbox.clear_faults();
    let before = calls(&app);
    app.execute(
        "UPDATE grants SET next_attempt_at = now(), access_expires_at = access_expires_at - interval '2 min'
         WHERE in_doubt_since IS NOT NULL",
    )
    .await?;
    until_next_probe(&app);
    app.until_none("grants WHERE generation < 2 AND in_doubt_since IS NULL").await?;
    let ledger = app.sandbox.ledger();
    let mut asked = ledger.iter().filter(|entry| {
        entry.endpoint == Some(Endpoint::TokenRefresh) && entry.kind != Kind::FamilyRevoked
    });
    assert_eq!(asked.nth(before).map(|entry| entry.kind), Some(Kind::Refreshed), "the first probe");
    until_brake(&app, false).await?;
    app.finish().await
}

/// Without the brake one refusal alone is no death, and a second one a minute later is.
#[tokio::test(flavor = "multi_thread")]
async fn one_refusal_is_tested_again() -> anyhow::Result<()> {
    let app = TestApp::start_with(usual()).await?;
    let people = crowd(&app, 2).await?;
    app.sandbox.inject(fails(Fault::InvalidGrant).for_user("user-0").times(1));
    app.sandbox.revoke_user("user-1");
    make_all_due(&app).await?;
    for person in &people {
        let id = &person.account_id;
        let shown = app.account_until(id, |shown| shown["lastError"].is_object()).await?;
        assert_eq!(shown["status"], "connected");
        assert_eq!(shown["lastError"]["code"], "invalid_grant");
    }
    app.clock.advance(TimeDelta::seconds(62));
    app.account_until(&people[0].account_id, |shown| shown["tokenGeneration"] == 2).await?;
    app.account_until(&people[1].account_id, |shown| shown["status"] == "token_expired").await?;
    app.finish().await
}

/// The platform asks for patience: it gets it, and when the time is over one call goes first.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_wish_for_patience_one_call_goes_first() -> anyhow::Result<()> {
    const PEOPLE: usize = 30;
    let app = TestApp::start_with(usual()).await?;
    crowd(&app, PEOPLE).await?;
    app.sandbox.inject(fails(Fault::RateLimited { retry_after_secs: Some(60) }));
    make_all_due(&app).await?;
    let paused = "app_pauses WHERE reason = 'http_429'";
    eventually(|| async { Ok((count(&app, paused).await? == 1).then_some(())) }).await?;
    until_quiet(&app).await?;
    let first = calls(&app);
    assert!(first <= 4, "{first} calls met the limit");
    app.clock.advance(TimeDelta::seconds(61));
    eventually(|| async { Ok((calls(&app) > first).then_some(())) }).await?;
    eventually(|| async {
        Ok((count(&app, "app_pauses WHERE until > now() + interval '90 s'").await? == 1)
            .then_some(()))
    })
    .await?;
    assert_eq!(calls(&app), first + 1, "one call found out that it goes on");
    assert_eq!(count(&app, "grants WHERE dispatches > 1").await?, 0, "nothing was called");
    app.sandbox.clear_faults();
    app.clock.advance(TimeDelta::seconds(66));
    app.until_none("grants WHERE generation < 2").await?;
    assert_eq!(calls(&app), first + 1 + PEOPLE);
    assert_eq!(events(&app, "platform.degraded").await?.len(), 0, "a limit is no outage");
    app.finish().await
}

/// One account whose refusal blames our client does not stop its neighbours; the client's fault stops all.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_blamed_when_two_are_refused_alike() -> anyhow::Result<()> {
    let app = TestApp::start_with(Options { brake_after: 5, ..usual() }).await?;
    let people = crowd(&app, 6).await?;
    let scope = Fault::Answer {
        status: 400,
        headers: [].into(),
        body: r#"{"error":"invalid_scope"}"#.to_owned(),
    };
    app.sandbox.inject(fails(scope).for_user("user-0"));
    make_all_due(&app).await?;
    let others = "grants WHERE generation < 2 AND id <> \
                  (SELECT grant_id FROM accounts WHERE username = 'user-0')";
    app.until_none(others).await?;
    let one = app.account(&people[0].account_id).await?;
    assert_eq!(
        (&one["status"], &one["lastError"]["code"]),
        (&json!("connected"), &json!("invalid_scope"))
    );
    app.sandbox.clear_faults();
    app.sandbox.inject(fails(Fault::InvalidClient));
    make_all_due(&app).await?;
    until_brake(&app, true).await?;
    let health = app.row("SELECT cause, reason FROM app_health").await?;
    assert_eq!(health, json!({ "cause": "client", "reason": "invalid_client" }));
    assert_eq!(count(&app, "accounts WHERE status <> 'connected'").await?, 0);
    app.sandbox.clear_faults();
    until_quiet(&app).await?;
    app.clock.advance(TimeDelta::minutes(6));
    app.until_none("grants WHERE generation < 2 OR last_error_at > last_refreshed_at").await?;
    until_brake(&app, false).await?;
    app.finish().await
}
