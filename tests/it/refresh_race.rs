//! One refresh per grant at a time, however many workers there are.

use anyhow::Context as _;
use latchkey_shared::db::grants;
use latchkey_shared::messages::{Command, GrantRef, RefreshDue};
use latchkey_tests::TestApp;
use latchkey_tests::app::Options;
use latchkey_tests::sandbox::{Endpoint, Fault, FaultRule, Kind};
use latchkey_worker::settings::Pool;

/// Fifty workers, each with its own connections, and two hundred messages for one due grant.
#[tokio::test(flavor = "multi_thread")]
async fn fifty_workers_racing_for_one_due_grant_make_one_call() -> anyhow::Result<()> {
    let mut app = TestApp::start_with(Options {
        pools: vec![Pool::Connect, Pool::Webhook, Pool::Revocation],
        ..Options::default()
    })
    .await?;
    let sam = app.connect("sam").await?;
    // Slow enough that all of them are there before the winner has its answer.
    app.sandbox.inject(FaultRule::new(Endpoint::TokenRefresh, Fault::Delay { ms: 1500 }).before());
    let settings = app.worker_settings(vec![Pool::Refresh], 4);
    app.add_workers(50, &settings).await?;
    let (command, workspace, grant) = due_command(&app).await?;
    let store = app.worker_context().store.clone();
    {
        let mut conn = store.conn().await?;
        let row = grants::find(&mut conn, &workspace, &grant).await?.context("it is there")?;
        grants::make_due(&mut conn, &row, app.clock.now()).await?;
    }
    let nudges = (0..200).map(|_| store.nudge(&command));
    for nudge in futures_util::future::join_all(nudges).await {
        nudge?;
    }
    let account =
        app.account_until(&sam.account_id, |account| account["tokenGeneration"] == 2).await?;
    assert_eq!(account["status"], "connected");
    // Every message is settled once the workers have stopped; only then is the count final.
    let sandbox = app.sandbox.clone();
    app.finish().await?;
    let calls: Vec<_> = sandbox
        .ledger()
        .into_iter()
        .filter(|entry| entry.endpoint == Some(Endpoint::TokenRefresh))
        .collect();
    assert_eq!(calls.len(), 1, "{calls:#?}");
    assert_eq!(calls[0].kind, Kind::Refreshed);
    Ok(())
}

async fn due_command(
    app: &TestApp,
) -> anyhow::Result<(Command, latchkey_shared::ids::WorkspaceId, latchkey_shared::ids::GrantId)> {
    let row = app.row("SELECT workspace_id, id FROM grants").await?;
    let workspace_id: latchkey_shared::ids::WorkspaceId =
        serde_json::from_value(row["workspace_id"].clone())?;
    let grant_id: latchkey_shared::ids::GrantId = serde_json::from_value(row["id"].clone())?;
    let grants = vec![GrantRef { workspace_id: workspace_id.clone(), grant_id: grant_id.clone() }];
    let command = Command::RefreshDue(RefreshDue { platform: "SANDBOX".to_owned(), grants });
    Ok((command, workspace_id, grant_id))
}
