//! Disconnecting: the account is out of use at once, and its grant with its last account.
//!
//! Grant and account are locked in this order, so that two disconnects of one grant do not each see
//! the other's account, and nobody waits for each other.

use latchkey_shared::db::accounts::{self, Account, AccountStatus};
use latchkey_shared::db::grants::{self, Grant};
use latchkey_shared::events::{EventType, NewEvent};
use latchkey_shared::ids::{AccountId, WorkspaceId};
use latchkey_shared::work::Work;
use serde_json::{Value, json};

use crate::problem::Problem;
use crate::release::release;
use crate::state::App;

/// How often a reconnect may move the account to another grant while we look.
const TRIES: usize = 5;

/// Disconnects. An account that is disconnected already stays as it is.
pub(crate) async fn run(
    app: &App,
    workspace: &WorkspaceId,
    id: &AccountId,
) -> Result<(Account, Option<Grant>), Problem> {
    for _ in 0..TRIES {
        let (seen, grant) = super::find(app, workspace, id).await?;
        if seen.status == AccountStatus::Disconnected {
            return Ok((seen, grant));
        }
        if attempt(app, &seen).await? {
            return super::find(app, workspace, id).await;
        }
    }
    Err(Problem::internal(anyhow::anyhow!(
        "account {id} moved to another grant {TRIES} times while it was disconnected"
    )))
}

/// False when the account changed since it was `seen`.
async fn attempt(app: &App, seen: &Account) -> Result<bool, Problem> {
    let workspace = &seen.workspace_id;
    let mut work = app.store.begin().await?;
    if let Some(grant) = &seen.grant_id {
        grants::lock(&mut work, workspace, grant).await?;
    }
    let Some(account) = accounts::lock(&mut work, workspace, &seen.id).await? else {
        return Ok(false);
    };
    if account.grant_id != seen.grant_id || account.status == AccountStatus::Disconnected {
        return Ok(false);
    }
    // Out of use first: whether the grant is in use is asked of what is left.
    let pending = receipt("pending");
    let account = accounts::disconnect(&mut work, app.clock(), &account, Some(&pending)).await?;
    let receipt = settle_grant(app, &mut work, &account).await?;
    if receipt != pending {
        accounts::disconnect(&mut work, app.clock(), &account, Some(&receipt)).await?;
    }
    work.emit(event(&account)).await?;
    work.commit().await?;
    Ok(true)
}

/// Releases the grant with its last account; answers the receipt.
async fn settle_grant(app: &App, work: &mut Work, account: &Account) -> Result<Value, Problem> {
    let workspace = &account.workspace_id;
    let Some(grant) = &account.grant_id else {
        return Ok(receipt("nothing_to_revoke"));
    };
    if accounts::grant_is_in_use(work, workspace, grant).await? {
        return Ok(receipt("kept_for_other_accounts"));
    }
    if release(app, work, (workspace, grant), "disconnected").await? {
        Ok(receipt("pending"))
    } else {
        Ok(receipt("nothing_to_revoke"))
    }
}

fn receipt(status: &str) -> Value {
    json!({ "status": status })
}

fn event(account: &Account) -> NewEvent {
    NewEvent {
        workspace_id: account.workspace_id.clone(),
        kind: EventType::AccountDisconnected,
        account_id: Some(account.id.clone()),
        data: json!({
            "accountId": account.id,
            "platform": account.platform,
            "platformUserId": account.platform_user_id,
            "username": account.username,
            "by": "api",
        }),
    }
}
