//! Taking a connect back. A cancel during the exchange, or while the person chooses, wins: what came of
//! it is disposed of.

use latchkey_shared::db::connects::{self, Connect};
use latchkey_shared::ids::{ConnectId, ConnectKey, WorkspaceId};
use latchkey_shared::release;

use crate::code::Code;
use crate::problem::Problem;
use crate::state::App;

/// Cancels a connect that is open.
pub(crate) async fn run(
    app: &App,
    workspace: &WorkspaceId,
    id: &ConnectId,
) -> Result<Connect, Problem> {
    let found = {
        let mut conn = app.conn().await?;
        connects::find(&mut conn, workspace, id).await?
    };
    let connect = found.ok_or_else(Problem::not_found)?;
    if connect.status.is_final() {
        return Err(ended(&connect));
    }
    let mut work = app.store.begin().await?;
    let cancelled = release::cancel(&mut work, ConnectKey { workspace_id: workspace, id }).await?;
    let cancelled = cancelled.ok_or_else(|| ended(&connect))?;
    work.commit().await?;
    Ok(cancelled)
}

fn ended(connect: &Connect) -> Problem {
    let detail =
        format!("Only an open connect can be cancelled; `GET` says how {} ended.", connect.id);
    Problem::new(Code::ConnectEnded, detail)
}
