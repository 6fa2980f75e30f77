//! Exclusive connects: one account of a platform in a workspace. What is judged here is judged again, under
//! the workspace's lock, when the account is added.

use diesel_async::AsyncPgConnection;
use latchkey_shared::db::accounts::{self, AccountStatus};
use latchkey_shared::db::workspaces::Workspace;
use latchkey_shared::ids::AccountId;
use latchkey_shared::platforms::Platform;

use crate::code::Code;
use crate::problem::Problem;

/// The account that holds the slot and can be reconnected; `None` where the slot is free.
///
/// # Errors
/// When the slot is taken.
pub(super) async fn find(
    conn: &mut AsyncPgConnection,
    workspace: &Workspace,
    platform: &Platform,
) -> Result<Option<AccountId>, Problem> {
    let holders = accounts::in_use(conn, &workspace.id, &platform.id).await?;
    match holders.as_slice() {
        [] => Ok(None),
        [one] if one.status == AccountStatus::TokenExpired => Ok(Some(one.id.clone())),
        _ => Err(taken(platform)),
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
) -> Result<(), Problem> {
    let holders = accounts::in_use(conn, &workspace.id, &platform.id).await?;
    if holders.iter().all(|holder| holder.id == *account) { Ok(()) } else { Err(taken(platform)) }
}

fn taken(platform: &Platform) -> Problem {
    let detail = format!(
        "The workspace has an account of {} already, and this connect takes one alone: disconnect it \
         first, name it as `accountId` to reconnect it, or use another workspace.",
        platform.name
    );
    Problem::new(Code::AccountAlreadyConnected, detail).at("/platform")
}
