//! A network that drops connections without a word: no end, no reset. New ones work once it is back.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::TimeDelta;
use futures_util::future::try_join_all;
use latchkey_shared::config::SecretRef;
use latchkey_tests::app::{Crowd, Options, eventually};
use latchkey_tests::sandbox::{Endpoint, Fault, FaultRule, Kind, When};
use latchkey_tests::{Relay, TestApp};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use tokio::time::Instant;

const ACCOUNTS: usize = 20;
/// After the network is back.
const HEALED_WITHIN: Duration = Duration::from_secs(10);

async fn relays() -> anyhow::Result<[Relay; 2]> {
    let url =
        |variable: &str| SecretRef::Env(variable.to_owned()).resolve().map_err(anyhow::Error::msg);
    let (database, broker) = (url("DATABASE_URL")?, url("AMQP_URL")?);
    let database = Relay::to(database.expose_secret()).await?;
    Ok([database, Relay::to(broker.expose_secret()).await?])
}

async fn ready(app: &TestApp) -> anyhow::Result<Value> {
    Ok(app.http.browse(&format!("{}/readyz", app.http.base())).await?.json())
}

/// Every account is there, and none of its tokens is the old one. A code lives for a minute, and may end in the silence.
async fn nobody_is_lost(app: &TestApp) -> anyhow::Result<()> {
    let late = "platform_error->>'description' = 'the code has expired'";
    app.until_none(&format!(
        "connects WHERE status NOT IN ('connected', 'expired') AND ({late}) IS NOT TRUE"
    ))
    .await?;
    app.until_none("accounts WHERE status <> 'connected'").await?;
    app.clock.advance(TimeDelta::minutes(55));
    app.until_none("grants WHERE status <> 'active' OR generation < 2").await
}

async fn silent_for(at_least: Duration) -> anyhow::Result<()> {
    let relays = relays().await?;
    let through = Some(relays.each_ref().map(Relay::address));
    let app = TestApp::start_with(Options { through, ..Options::default() }).await?;
    let people: Vec<String> = (0..ACCOUNTS).map(|number| format!("early-{number}")).collect();
    try_join_all(people.iter().map(|person| app.connect(person))).await?;
    let crowd = Crowd::gather(&app, 2);
    let slow = FaultRule::new(Endpoint::TokenRefresh, Fault::Delay { ms: 1000 });
    app.sandbox.inject(FaultRule { when: Some(When::After), ..slow });
    app.clock.advance(TimeDelta::minutes(55));
    // The platform has new tokens for some, and will answer into the silence.
    let refreshed =
        || app.sandbox.ledger().iter().filter(|entry| entry.kind == Kind::Refreshed).count();
    eventually(|| async { Ok((refreshed() > 0).then_some(())) }).await?;

    let silent = Instant::now();
    relays.iter().for_each(Relay::go_silent);
    eventually(|| async {
        let parts = ready(&app).await?;
        Ok((parts["database"] == "down" && parts["broker"] == "down").then_some(()))
    })
    .await?;
    while silent.elapsed() < at_least {
        assert_eq!(ready(&app).await?["database"], "down");
    }
    relays.iter().for_each(Relay::heal);
    let healed = Instant::now();
    eventually(|| async {
        let parts = ready(&app).await?;
        let served = app.http.get("/v1/workspaces").await?.status == 200;
        Ok((served && parts["database"] == "up" && parts["broker"] == "up").then_some(()))
    })
    .await?;
    let took = healed.elapsed();
    app.connect("late").await?;
    let seconds = (healed - silent).as_secs();
    println!(
        "| network | meanwhile | accounts lost | new connections served |\n| --- | --- | --- | --- |"
    );
    println!(
        "| a silent network, for {seconds} s | {ACCOUNTS} accounts refreshing | 0 lost | healed after {took:.1?} |"
    );
    assert!(took < HEALED_WITHIN, "healed after {took:?}");

    let seen = crowd.stop().await?;
    assert!(seen.statuses.is_subset(&BTreeSet::from([201, 303, 409, 503])), "{seen:?}");
    app.sandbox.clear_faults();
    nobody_is_lost(&app).await?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_goes_silent_costs_nobody_an_account() -> anyhow::Result<()> {
    silent_for(Duration::ZERO).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute and a half: scripts/faults runs it"]
async fn silent_for_a_minute() -> anyhow::Result<()> {
    silent_for(Duration::from_secs(60)).await
}

/// Sessions that nobody uses go silent, too, and the first to be asked speaks for all.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_went_silent_while_idle_cost_one_wait() -> anyhow::Result<()> {
    let relays = relays().await?;
    let through = Some(relays.each_ref().map(Relay::address));
    let options = Options { through, worker: false, ..Options::default() };
    let app = TestApp::start_with(options).await?;
    let asking = || app.http.get("/v1/workspaces");
    let some = try_join_all((0..8).map(|_| asking())).await?;
    assert!(some.iter().all(|answer| answer.status == 200), "{some:?}");
    // Forgotten by the network, which is there.
    relays.iter().for_each(|relay| {
        relay.go_silent();
        relay.heal();
    });
    let begun = Instant::now();
    let mut failed = 0;
    for _ in 0..20 {
        failed += usize::from(asking().await?.status != 200);
    }
    assert!(failed <= 1, "{failed} of 20 failed");
    assert!(begun.elapsed() < HEALED_WITHIN, "{:?}", begun.elapsed());
    app.finish().await
}
