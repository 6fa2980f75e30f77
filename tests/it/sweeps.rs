//! What the sweeps repair.

use std::time::Duration;

use chrono::TimeDelta;
use latchkey_shared::messages::Command;
use latchkey_tests::app::{Options, eventually};
use latchkey_tests::{Person, TestApp};
use latchkey_worker::Outcome;
use latchkey_worker::context::Context;
use latchkey_worker::handlers;
use latchkey_worker::permits::Permits;
use latchkey_worker::settings::Pool;
use latchkey_worker::sweeps::Sweep;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_connect_that_nobody_finishes_expires() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let started = app.start_connect(json!({})).await?;
    let id = started["connectId"].as_str().unwrap_or_default();
    app.clock.advance(TimeDelta::minutes(11));
    assert_eq!(app.ended(id).await?["status"], "expired");
    app.event("connect.expired", id).await?;
    app.finish().await
}

/// No pool consumes the queue of connects: the sweep alone brings the code to the platform.
#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_the_broker_does_not_bring_is_taken_all_the_same() -> anyhow::Result<()> {
    let mut app = TestApp::start_with(Options {
        pools: vec![Pool::Sweeps, Pool::Webhook],
        callback_wait: Duration::from_secs(1),
        ..Options::default()
    })
    .await?;
    let started = app.start_connect(json!({})).await?;
    app.approve(&started, &Person::new("sam")?).await?.expect(303)?;
    app.clock.advance(TimeDelta::seconds(4));
    let ended = app.ended(started["connectId"].as_str().unwrap_or_default()).await?;
    assert_eq!(ended["status"], "connected");
    // The message itself is still in its queue: whoever takes it finds nothing left to do.
    let settings = app.worker_settings(vec![Pool::Connect], 4);
    app.add_worker_with(&settings).await?;
    eventually(|| async {
        Ok((app.row("SELECT count(*) AS n FROM outbox WHERE done_at IS NULL").await?["n"] == 0)
            .then_some(()))
    })
    .await?;
    let ending = app.row("SELECT ending FROM outbox WHERE kind = 'callback_received'").await?;
    assert_eq!(ending["ending"], "stale");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_whose_worker_is_gone_ends_and_never_presents_the_code_again()
-> anyhow::Result<()> {
    let app = TestApp::start_with(Options {
        pools: vec![Pool::Webhook, Pool::Sweeps],
        ..Options::default()
    })
    .await?;
    let started = app.start_connect(json!({})).await?;
    let id = started["connectId"].as_str().unwrap_or_default();
    app.execute("UPDATE connects SET status = 'exchanging', lease_until = now() + interval '45 s'")
        .await?;
    Sweep::TakeAuthorized.run(app.worker_context()).await?;
    assert_eq!(
        app.row("SELECT status FROM connects").await?["status"],
        "exchanging",
        "its worker may still be waiting"
    );
    app.clock.advance(TimeDelta::seconds(60));
    let ended = app.ended(id).await?;
    assert_eq!(
        (&ended["status"], &ended["reasonCode"]),
        (&json!("failed"), &json!("EXCHANGE_INTERRUPTED"))
    );
    assert!(app.sandbox.ledger().is_empty(), "nothing was presented");
    app.event("connect.failed", id).await?;
    app.finish().await
}

/// Behind a burst the sweep takes connects whose messages are still in the queue. Whoever then brings the
/// message must not keep it open for as long as an exchange may take.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_finds_another_at_its_connect_looks_again_within_seconds()
-> anyhow::Result<()> {
    let app = TestApp::start_with(Options { pools: vec![Pool::Webhook], ..Options::default() });
    let app = app.await?;
    let started = app.start_connect(json!({})).await?;
    let id = started["connectId"].as_str().unwrap_or_default();
    app.execute("UPDATE connects SET status = 'exchanging', lease_until = now() + interval '60 s'")
        .await?;
    let ids = json!({ "workspaceId": app.owner.workspace_id, "connectId": id });
    let command = Command::decode("callback_received", ids.to_string().as_bytes())?;
    // As a worker would that has the pool.
    let context = Context { permits: Permits::new(1), ..app.worker_context().clone() };
    match handlers::handle(&context, &command).await? {
        Outcome::Snooze(wait) => assert!(wait <= Duration::from_secs(5), "{wait:?}"),
        other => panic!("{other:?}"),
    }
    app.clock.advance(TimeDelta::seconds(61));
    assert!(matches!(handlers::handle(&context, &command).await?, Outcome::Done));
    assert_eq!(app.ended(id).await?["reasonCode"], "EXCHANGE_INTERRUPTED");
    app.event("connect.failed", id).await?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_made_ahead_and_dropped_when_old() -> anyhow::Result<()> {
    // No sweep runs by itself: one that ends the connect would write into a day that is not there yet.
    let pools = vec![Pool::Connect, Pool::Webhook];
    let app = TestApp::start_with(Options { pools, ..Options::default() }).await?;
    app.start_connect(json!({})).await?;
    eventually(|| async {
        Ok((app.row("SELECT count(*) AS n FROM outbox WHERE done_at IS NULL").await?["n"] == 0)
            .then_some(()))
    })
    .await?;
    let partitions = "SELECT count(*) AS n FROM pg_inherits WHERE inhparent = 'outbox'::regclass";
    assert_eq!(app.row(partitions).await?["n"], 9, "today, seven days ahead, and the default");
    app.clock.advance(TimeDelta::days(20));
    assert_eq!(
        Sweep::Partitions.run(app.worker_context()).await?,
        24,
        "eight days of three tables"
    );
    Sweep::Prune.run(app.worker_context()).await?;
    assert_eq!(app.row(partitions).await?["n"], 9, "the old days of the outbox are gone");
    let events = app.row("SELECT count(*) AS n FROM events").await?;
    assert_eq!(events["n"], 1, "events are kept longer");
    app.clock.advance(TimeDelta::days(100));
    Sweep::Prune.run(app.worker_context()).await?;
    assert_eq!(app.row("SELECT count(*) AS n FROM events").await?["n"], 0);
    app.finish().await
}

/// Of days that had no partition when they were written: by a clock that was set wrong, or after a long downtime.
#[tokio::test(flavor = "multi_thread")]
async fn rows_in_a_default_partition_are_pruned_like_the_others() -> anyhow::Result<()> {
    let app =
        TestApp::start_with(Options { pools: vec![Pool::Webhook], ..Options::default() }).await?;
    let (org, ws) = (&app.owner.organisation_id, &app.owner.workspace_id);
    for (days, name) in [(200, "old"), (20, "young")] {
        let at = format!("now() - interval '{days} days'");
        for row in [
            format!(
                "INSERT INTO events (id, organisation_id, workspace_id, type, data, xid, created_at)
                 VALUES ('evt_{name}', '{org}', '{ws}', 'connect.expired', '{{}}', 1, {at})"
            ),
            format!(
                "INSERT INTO account_history (workspace_id, account_id, type, data, created_at)
                 VALUES ('{ws}', 'acc_{name}', 'account.connected', '{{}}', {at})"
            ),
        ] {
            app.execute(&row).await?;
        }
    }
    for (done, name) in
        [(format!("now(), '{}'", "published"), "done"), ("NULL, NULL".to_owned(), "open")]
    {
        app.execute(&format!(
            "INSERT INTO outbox (id, kind, routing_key, body, available_at, done_at, ending, created_at)
             VALUES ('msg_{name}', 'reply', 'k', '{{}}', now() + interval '1 day', {done}, now() - interval '8 days')"
        ))
        .await?;
    }
    let left = "SELECT (SELECT json_agg(id) FROM events_default) AS events,
                       (SELECT json_agg(account_id) FROM account_history_default) AS history,
                       (SELECT json_agg(id) FROM outbox_default) AS outbox";
    assert_eq!(Sweep::Prune.run(app.worker_context()).await?, 3);
    let left = app.row(left).await?;
    assert_eq!(
        left,
        json!({"events": ["evt_young"], "history": ["acc_young"], "outbox": ["msg_open"]})
    );
    app.execute("DELETE FROM outbox_default; DELETE FROM events_default").await?;
    app.finish().await
}
