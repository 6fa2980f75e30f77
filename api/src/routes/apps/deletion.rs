//! Deleting an app: never while an account lives by it, nor before the tokens that it got are revoked.

use std::time::Duration;

use latchkey_shared::db::apps;
use latchkey_shared::db::connects;
use latchkey_shared::ids::AppId;
use tokio::time::Instant;

use super::lock;
use crate::auth::Caller;
use crate::code::Code;
use crate::problem::Problem;
use crate::routes::connects::cancel;
use crate::state::App;

/// How long tokens may take to be revoked while the caller waits.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// So many connects are cancelled between two looks.
const BATCH: i64 = 50;

fn in_use() -> Problem {
    Problem::new(
        Code::AppInUse,
        "Disconnect the accounts that were connected through it and cancel its open connects; their \
         tokens must be revoked before the secret may go.",
    )
}

/// Deletes an app that nothing needs any more.
pub(crate) async fn run(app: &App, caller: &Caller, id: &AppId) -> Result<(), Problem> {
    let mut work = app.store.begin().await?;
    let found = lock(&mut work, caller, id).await?;
    if apps::is_in_use(&mut work, &found).await? {
        return Err(in_use());
    }
    let deleted = apps::delete(&mut work, &found).await;
    deleted.map_err(|error| match error {
        error if error.is_foreign_key_violation() => in_use(),
        error => error.into(),
    })?;
    Ok(work.commit().await?)
}

/// The same for a door whose clients can neither cancel a connect nor see a revocation: its open connects are
/// cancelled first, and revocations are waited for.
pub(crate) async fn run_patiently(app: &App, caller: &Caller, id: &AppId) -> Result<(), Problem> {
    let until = Instant::now() + PATIENCE;
    loop {
        match run(app, caller, id).await {
            Err(problem) if problem.code() == Code::AppInUse => {}
            result => return result,
        }
        cancel_connects(app, caller, id).await?;
        if Instant::now() >= until || app.stopping.is_cancelled() {
            return Err(in_use().worded(
                "Its tokens are being revoked at the platform, for which it is needed: try again in a minute.",
            ));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Cancels what waits for a person, unless an account keeps the app anyway.
async fn cancel_connects(app: &App, caller: &Caller, id: &AppId) -> Result<(), Problem> {
    let open = {
        let mut conn = app.conn().await?;
        let only = caller.workspace_id.as_ref();
        let found = apps::get(&mut conn, &caller.organisation_id, only, id).await?;
        let found = found.ok_or_else(Problem::not_found)?;
        if apps::has_accounts(&mut conn, &found).await? {
            return Err(in_use().worded(
                "Accounts are connected through it: disconnect them, or connect them through another app, first.",
            ));
        }
        connects::open_of_app(&mut conn, id, BATCH).await?
    };
    for (workspace, connect) in open {
        match cancel::run(app, &workspace, &connect).await {
            Err(problem) if problem.code() != Code::ConnectEnded => return Err(problem),
            _ => {}
        }
    }
    Ok(())
}
