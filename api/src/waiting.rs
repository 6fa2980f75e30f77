//! Waiting for what becomes of a connect, but never for long.

use std::time::Duration;

use latchkey_shared::db::connects::{self, Connect, ConnectStatus};
use latchkey_shared::ids::{ConnectId, ConnectKey, WorkspaceId};
use tokio::time::Instant;

use crate::code::Code;
use crate::nudge::Waiter;
use crate::problem::Problem;
use crate::routes::connects::cancel;
use crate::state::App;

const REREAD_EVERY: Duration = Duration::from_millis(250);

/// Waits until the connect has ended, or somebody must choose or claim, for at most
/// `LATCHKEY_CALLBACK_WAIT`. It cannot fail: what went before is committed, and goes on without anybody.
pub(crate) async fn until_settled(app: &App, connect: Connect, waiter: &Waiter) -> Connect {
    settled_within(app, connect, waiter, app.limits.callback_wait).await
}

/// The same for at most so long.
async fn settled_within(app: &App, connect: Connect, waiter: &Waiter, within: Duration) -> Connect {
    let until = Instant::now() + within;
    let mut latest = connect;
    while !is_settled(&latest) && !app.stopping.is_cancelled() {
        let next = until.min(Instant::now() + REREAD_EVERY);
        tokio::select! {
            () = waiter.woken() => {}
            () = tokio::time::sleep_until(next) => {}
            () = app.stopping.cancelled() => {}
        }
        match find(app, &latest.workspace_id, &latest.id).await {
            Ok(connect) => latest = connect,
            Err(problem) => {
                tracing::debug!(connect.id = %latest.id, "cannot follow it: {problem:?}")
            }
        }
        if Instant::now() >= until {
            break;
        }
    }
    latest
}

/// The end of a connect that goes on by itself. One that takes longer is cancelled: whoever stops waiting must
/// not find an account later that nobody told them of.
///
/// # Errors
/// `CONNECT_TIMEOUT` once it is cancelled.
pub(crate) async fn for_the_end(
    app: &App,
    key: ConnectKey<'_>,
    within: Duration,
) -> Result<Connect, Problem> {
    let waiter = app.waiters.wait_for(key.id);
    let latest =
        settled_within(app, find(app, key.workspace_id, key.id).await?, &waiter, within).await;
    if latest.status.is_final() {
        return Ok(latest);
    }
    match cancel::run(app, key.workspace_id, key.id).await {
        Ok(_) => Err(too_slow()),
        Err(problem) if problem.code() == Code::ConnectEnded => {
            find(app, key.workspace_id, key.id).await
        }
        Err(problem) => Err(problem),
    }
}

/// The platform took too long.
pub(crate) fn too_slow() -> Problem {
    let detail = "The platform did not answer in time, so nothing was connected: try again.";
    Problem::new(Code::ConnectTimeout, detail)
}

/// Whether nothing more happens by itself.
fn is_settled(connect: &Connect) -> bool {
    match connect.status {
        ConnectStatus::Selecting => connect.selection.is_none(),
        ConnectStatus::Claiming => connect.claimed_at.is_none(),
        status => status.is_final(),
    }
}

async fn find(app: &App, workspace: &WorkspaceId, id: &ConnectId) -> Result<Connect, Problem> {
    let mut conn = app.conn().await?;
    connects::find(&mut conn, workspace, id).await?.ok_or_else(Problem::not_found)
}
