//! Only the person can help: an account's end, until it is connected again.

use latchkey_shared::clock::Clock;
use latchkey_shared::db::DbError;
use latchkey_shared::db::accounts::{self, Account};
use latchkey_shared::events::{EventType, NewEvent};
use latchkey_shared::work::Work;
use serde_json::{Value, json};

/// Expires one account and says so; one that is not connected stays as it is.
///
/// # Errors
/// When the database fails.
pub async fn expire_account(
    work: &mut Work,
    clock: &Clock,
    account: &Account,
    (reason, platform_error): (&str, &Value),
) -> Result<(), DbError> {
    if !accounts::expire(work, clock, account, reason).await? {
        return Ok(());
    }
    metrics::counter!("latchkey_accounts_expired_total", "platform" => account.platform.clone(), "reason" => reason.to_owned())
        .increment(1);
    let data = json!({
        "accountId": account.id,
        "platform": account.platform,
        "username": account.username,
        "profileId": account.profile_id,
        "reason": reason,
        "error": platform_error,
        "whatToDo": "ask the person to connect the account again",
    });
    work.emit(NewEvent {
        workspace_id: account.workspace_id.clone(),
        kind: EventType::AccountTokenExpired,
        account_id: Some(account.id.clone()),
        data,
    })
    .await
    .map(drop)
}
