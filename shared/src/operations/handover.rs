//! Handing a connect to the workers: what they need is sealed on its row, and a command says so, in one
//! transaction.

use super::Unable;
use crate::db::DbError;
use crate::db::connects::{self, Advance, Connect, ConnectStatus};
use crate::ids::ConnectKey;
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
    key: ConnectKey<'_>,
    brought: Brought<'_>,
) -> Result<Option<Connect>, Unable> {
    let sealed = work.encrypt(connects::code_aad(key), brought.code).await?;
    let mut step = Advance::to(ConnectStatus::Authorized, &[ConnectStatus::Pending]);
    step.sealed_code = Some(&sealed);
    step.page_hash = brought.page_hash;
    step.code_hash = brought.code_hash;
    step.in_time = true;
    let authorized = connects::advance(work, key, &step).await?;
    if authorized.is_some() {
        go_on(work, key).await?;
    }
    Ok(authorized)
}

/// Has a worker go on with a connect.
///
/// # Errors
/// When the query fails.
pub async fn go_on(work: &mut Work, key: ConnectKey<'_>) -> Result<(), DbError> {
    let command = Command::CallbackReceived(CallbackReceived {
        workspace_id: key.workspace_id.clone(),
        connect_id: key.id.clone(),
    });
    work.send(&command).await
}
