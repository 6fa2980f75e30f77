//! Exclusive connects: one account of a platform in a workspace. What is judged here is judged again, under
//! the workspace's lock, when the account is added.

use diesel_async::AsyncPgConnection;

use super::{Door, StartConnect};
use crate::code::Code;
use crate::db::accounts::{self, Account, AccountStatus};
use crate::db::connects;
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
    request: &StartConnect,
    door: Door,
) -> Result<Option<AccountId>, Unable> {
    let holders = accounts::in_use(conn, &workspace.id, &platform.id).await?;
    let Some(first) = holders.first() else { return Ok(None) };
    let expired = holders.len() == 1 && first.status == AccountStatus::TokenExpired;
    if !expired || first.is_of_another(request.profile_id.as_ref()) {
        return Err(taken(platform, first).into());
    }
    // Clients of this door cannot say whom they mean: without an answer here another person would be led through
    // the platform again and again.
    if door.exclusive && connects::was_another_person(conn, &workspace.id, &first.id).await? {
        return Err(taken(platform, first).into());
    }
    Ok(Some(first.id.clone()))
}

/// Whether this account may be reconnected: no other holds the slot.
///
/// # Errors
/// When the slot is taken.
pub(super) async fn check(
    conn: &mut AsyncPgConnection,
    workspace: &Workspace,
    platform: &Platform,
    account: &AccountId,
) -> Result<(), Unable> {
    let holders = accounts::in_use(conn, &workspace.id, &platform.id).await?;
    match holders.iter().find(|holder| holder.id != *account) {
        Some(holder) => Err(taken(platform, holder).into()),
        None => Ok(()),
    }
}

fn taken(platform: &Platform, holder: &Account) -> Refused {
    let how = match holder.status {
        AccountStatus::TokenExpired => ", which its owner alone can connect again",
        _ => "",
    };
    let detail = format!(
        "The workspace takes one account of {} and has {}{how}: disconnect that one first, or use another \
         workspace.",
        platform.name,
        holder.called(),
    );
    Refused::new(Code::AccountAlreadyConnected, detail).at("/platform")
}
