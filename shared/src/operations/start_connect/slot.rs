//! Exclusive connects: one account of a platform in a workspace. What is judged here is judged again, under
//! the workspace's lock, when the account is added.

use diesel_async::AsyncPgConnection;

use crate::code::Code;
use crate::db::accounts::{self, AccountStatus};
use crate::db::workspaces::Workspace;
use crate::ids::AccountId;
use crate::operations::Unable;
use crate::platforms::Platform;
use crate::refused::Refused;

/// The account that holds the slot and can be reconnected; `None` where the slot is free.
///
/// # Errors
/// When the slot is taken.
pub(super) async fn find(
    conn: &mut AsyncPgConnection,
    workspace: &Workspace,
    platform: &Platform,
) -> Result<Option<AccountId>, Unable> {
    let holders = accounts::in_use(conn, &workspace.id, &platform.id).await?;
    match holders.as_slice() {
        [] => Ok(None),
        [one] if one.status == AccountStatus::TokenExpired => Ok(Some(one.id.clone())),
        _ => Err(taken(platform).into()),
    }
}

/// Whether this account may be reconnected: no other holds the slot.
///
/// # Errors
/// When the slot is taken.
pub(super) async fn check(
    conn: &mut AsyncPgConnection,
    workspace: &Workspace,
    (platform, account): (&Platform, &AccountId),
) -> Result<(), Unable> {
    let holders = accounts::in_use(conn, &workspace.id, &platform.id).await?;
    let held = holders.iter().any(|holder| holder.id != *account);
    if held { Err(taken(platform).into()) } else { Ok(()) }
}

fn taken(platform: &Platform) -> Refused {
    let detail = format!(
        "The workspace has an account of {} already, and this connect takes one alone: disconnect it \
         first, name it as `accountId` to reconnect it, or use another workspace.",
        platform.name
    );
    Refused::new(Code::AccountAlreadyConnected, detail).at("/platform")
}
