//! Handing a connect to the workers: what they need is sealed on its row, and a command says so, in one
//! transaction.

use latchkey_shared::db::connects::{self, Advance, Connect, ConnectStatus};
use latchkey_shared::ids::{ConnectId, WorkspaceId};
use latchkey_shared::keyring::Owner;
use latchkey_shared::messages::{CallbackReceived, Command};
use latchkey_shared::work::Work;

use crate::problem::Problem;
use crate::state::App;

/// Keeps a code, or an app password, and has it presented. `None` when the connect does not wait for
/// one any more: of two that bring one, the first wins, and none after the connect's end.
pub(crate) async fn authorize(
    app: &App,
    work: &mut Work,
    (workspace, id): (&WorkspaceId, &ConnectId),
    (code, page_hash): (&[u8], Option<&[u8]>),
) -> Result<Option<Connect>, Problem> {
    let key = app.store.vault().sealing_key(work, Owner::workspace(workspace)).await?;
    let sealed = key.seal(connects::code_place(workspace, id), code)?;
    let mut step = Advance::to(ConnectStatus::Authorized, &[ConnectStatus::Pending]);
    step.sealed_code = Some(&sealed);
    step.page_hash = page_hash;
    step.in_time = true;
    let authorized = connects::advance(work, app.clock(), (workspace, id), &step).await?;
    if authorized.is_some() {
        go_on(work, (workspace, id)).await?;
    }
    Ok(authorized)
}

/// Has a worker go on with a connect.
pub(crate) async fn go_on(
    work: &mut Work,
    (workspace, id): (&WorkspaceId, &ConnectId),
) -> Result<(), Problem> {
    let command = Command::CallbackReceived(CallbackReceived {
        workspace_id: workspace.clone(),
        connect_id: id.clone(),
    });
    Ok(work.send(&command).await?)
}
