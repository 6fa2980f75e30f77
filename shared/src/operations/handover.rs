//! Handing a connect to the workers: what they need is sealed on its row, and a command says so, in one
//! transaction.

use super::Unable;
use crate::db::DbError;
use crate::db::connects::{self, Advance, Connect, ConnectStatus};
use crate::ids::{ConnectId, WorkspaceId};
use crate::keyring::Owner;
use crate::messages::{CallbackReceived, Command};
use crate::work::Work;

/// What a connect waited for.
#[derive(Clone, Copy, Debug)]
pub struct Brought<'a> {
    /// The code, or the app password.
    pub code: &'a [u8],
    /// SHA-256 of the cookie that may see the page from now on.
    pub page_hash: Option<&'a [u8]>,
    /// What the same code is known by, should a browser bring it again.
    pub code_hash: Option<&'a [u8]>,
}

impl<'a> Brought<'a> {
    /// Without a browser that could bring it again.
    #[must_use]
    pub fn once(code: &'a [u8]) -> Self {
        Self { code, page_hash: None, code_hash: None }
    }
}

/// Keeps a code, or an app password, and has it presented. `None` when the connect does not wait for
/// one any more: of two that bring one, the first wins, and none after the connect's end.
///
/// # Errors
/// When the database or the keyring fails.
pub async fn authorize(
    work: &mut Work,
    (workspace, id): (&WorkspaceId, &ConnectId),
    brought: Brought<'_>,
) -> Result<Option<Connect>, Unable> {
    let store = work.store().clone();
    let key = store.vault().sealing_key(work, Owner::workspace(workspace)).await?;
    let sealed = key.seal(connects::code_place(workspace, id), brought.code)?;
    let mut step = Advance::to(ConnectStatus::Authorized, &[ConnectStatus::Pending]);
    step.sealed_code = Some(&sealed);
    step.page_hash = brought.page_hash;
    step.code_hash = brought.code_hash;
    step.in_time = true;
    let authorized = connects::advance(work, store.clock(), (workspace, id), &step).await?;
    if authorized.is_some() {
        go_on(work, (workspace, id)).await?;
    }
    Ok(authorized)
}

/// Has a worker go on with a connect.
///
/// # Errors
/// When the query fails.
pub async fn go_on(
    work: &mut Work,
    (workspace, id): (&WorkspaceId, &ConnectId),
) -> Result<(), DbError> {
    let command = Command::CallbackReceived(CallbackReceived {
        workspace_id: workspace.clone(),
        connect_id: id.clone(),
    });
    work.send(&command).await
}
