//! Only the person can help: an account's end, until it is connected again.

use latchkey_shared::db::DbError;
use latchkey_shared::db::accounts::{self, Account};
use latchkey_shared::events::{AccountTokenExpired, EventData, NewEvent};
use latchkey_shared::work::Work;
use serde_json::Value;

/// Expires one account and says so; one that is not connected stays as it is.
///
/// # Errors
/// When the database fails.
pub async fn expire_account(
    work: &mut Work,
    account: &Account,
    reason: &str,
    platform_error: &Value,
) -> Result<(), DbError> {
    if !accounts::expire(work, account, reason).await? {
        return Ok(());
    }
    metrics::counter!("latchkey_accounts_expired_total", "platform" => account.platform.clone(), "reason" => reason.to_owned())
        .increment(1);
    let about = account.about();
    let expired = EventData::AccountTokenExpired(AccountTokenExpired {
        reconnect: about.reconnect(&account.workspace_id),
        account: about,
        reason: reason.to_owned(),
        error: Some(platform_error.clone()).filter(|said| !said.is_null()),
        what_to_do: "ask the person to connect the account again".to_owned(),
    });
    work.emit(NewEvent::of_workspace(&account.workspace_id, expired)).await.map(drop)
}
