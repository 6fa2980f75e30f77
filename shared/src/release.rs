//! Letting go of what was connected: connects are cancelled, accounts disconnected, grants released and
//! their revocations sent, each in the caller's transaction. Nothing here talks to a platform.

use serde_json::{Value, json};

use crate::db::accounts::{self, Account, AccountStatus};
use crate::db::connects::{self, Advance, Connect, ConnectStatus};
use crate::db::{DbError, grants};
use crate::events::{AccountDisconnected, DisconnectedBy, EventData, NewEvent};
use crate::ids::{ApiKeyId, ConnectKey, GrantKey};
use crate::messages::{Command, RevocationDue};
use crate::work::Work;

/// Puts a grant out of use and has the platform told; false when it was out of use already.
///
/// # Errors
/// When a query fails.
pub async fn release(work: &mut Work, key: GrantKey<'_>, reason: &str) -> Result<bool, DbError> {
    if !grants::release(work, key.workspace_id, key.id, reason).await? {
        return Ok(false);
    }
    let command =
        RevocationDue { workspace_id: key.workspace_id.clone(), grant_id: key.id.clone() };
    work.send(&Command::RevocationDue(command)).await?;
    Ok(true)
}

/// Takes an open connect back; what came of it is disposed of. `None` when it has ended.
///
/// # Errors
/// When a query fails.
pub async fn cancel(work: &mut Work, key: ConnectKey<'_>) -> Result<Option<Connect>, DbError> {
    let step = Advance::to(ConnectStatus::Cancelled, &ConnectStatus::OPEN);
    let Some(cancelled) = connects::advance(work, key, &step).await? else {
        return Ok(None);
    };
    if let Some(grant) = &cancelled.grant_id {
        release(work, GrantKey { workspace_id: key.workspace_id, id: grant }, "connect_cancelled")
            .await?;
    }
    work.emit(cancelled.event(EventData::ConnectCancelled)).await?;
    Ok(Some(cancelled))
}

/// Takes an account out of use, and its grant with its last account. False when the account changed
/// since it was `seen`. `by` says who wants that, `key` with which API key.
///
/// Grant and account are locked in this order, so that two disconnects of one grant do not each see
/// the other's account, and nobody waits for each other.
///
/// # Errors
/// When a query fails.
pub async fn disconnect(
    work: &mut Work,
    seen: &Account,
    by: DisconnectedBy,
    key: Option<&ApiKeyId>,
) -> Result<bool, DbError> {
    let workspace = &seen.workspace_id;
    if let Some(grant) = &seen.grant_id {
        grants::lock(work, workspace, grant).await?;
    }
    let Some(account) = accounts::lock(work, workspace, &seen.id).await? else {
        return Ok(false);
    };
    if account.grant_id != seen.grant_id || account.status == AccountStatus::Disconnected {
        return Ok(false);
    }
    // Out of use first: whether the grant is in use is asked of what is left.
    let pending = receipt("pending");
    let account = accounts::disconnect(work, &account, Some(&pending)).await?;
    let receipt = settle_grant(work, &account).await?;
    if receipt != pending {
        accounts::disconnect(work, &account, Some(&receipt)).await?;
    }
    work.emit(event(&account, by, key)).await?;
    Ok(true)
}

/// Releases the grant with its last account; answers the receipt.
async fn settle_grant(work: &mut Work, account: &Account) -> Result<Value, DbError> {
    let workspace = &account.workspace_id;
    let Some(grant) = &account.grant_id else {
        return Ok(receipt("nothing_to_revoke"));
    };
    if accounts::grant_is_in_use(work, workspace, grant).await? {
        return Ok(receipt("kept_for_other_accounts"));
    }
    let released =
        release(work, GrantKey { workspace_id: workspace, id: grant }, "disconnected").await?;
    Ok(receipt(if released { "pending" } else { "nothing_to_revoke" }))
}

fn receipt(status: &str) -> Value {
    json!({ "status": status })
}

fn event(account: &Account, by: DisconnectedBy, key: Option<&ApiKeyId>) -> NewEvent {
    let data = AccountDisconnected { account: account.about(), by, api_key_id: key.cloned() };
    NewEvent::of_workspace(&account.workspace_id, EventData::AccountDisconnected(data))
}
