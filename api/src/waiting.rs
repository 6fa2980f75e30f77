//! Waiting for what becomes of a connect, but never for long.

use std::time::Duration;

use latchkey_shared::db::connects::{self, Connect, ConnectStatus};
use tokio::time::Instant;

use crate::nudge::Waiter;
use crate::problem::Problem;
use crate::state::App;

const REREAD_EVERY: Duration = Duration::from_millis(250);

/// Waits until the connect has ended, or somebody must choose or claim, for at most
/// `LATCHKEY_CALLBACK_WAIT`. It cannot fail: what went before is committed, and goes on without anybody.
pub(crate) async fn until_settled(app: &App, connect: Connect, waiter: &Waiter) -> Connect {
    let until = Instant::now() + app.limits.callback_wait;
    let mut latest = connect;
    while !is_settled(&latest) && !app.stopping.is_cancelled() {
        let next = until.min(Instant::now() + REREAD_EVERY);
        tokio::select! {
            () = waiter.woken() => {}
            () = tokio::time::sleep_until(next) => {}
            () = app.stopping.cancelled() => {}
        }
        match reread(app, &latest).await {
            Ok(Some(connect)) => latest = connect,
            Ok(None) => {}
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

/// Whether nothing more happens by itself.
fn is_settled(connect: &Connect) -> bool {
    match connect.status {
        ConnectStatus::Selecting => connect.selection.is_none(),
        ConnectStatus::Claiming => connect.claimed_at.is_none(),
        status => status.is_final(),
    }
}

async fn reread(app: &App, connect: &Connect) -> Result<Option<Connect>, Problem> {
    let mut conn = app.conn().await?;
    Ok(connects::find(&mut conn, &connect.workspace_id, &connect.id).await?)
}
