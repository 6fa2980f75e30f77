//! What becomes of an account: other scopes, another name, an end.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::Value;

use super::super::schema::accounts;
use super::super::{DbError, app_now};
use super::{Account, AccountStatus, Identity};

/// Other scopes than before: what is missing now counts from all that was asked for. Answers the
/// account as it is now.
///
/// # Errors
/// When the query fails.
pub async fn change_scopes(
    conn: &mut AsyncPgConnection,
    account: &Account,
    scopes: &[String],
) -> Result<Account, DbError> {
    let asked = account.scopes.iter().chain(&account.missing_scopes);
    // A provider need not repeat these: they are as they were.
    let unrepeated = |scope: &String| {
        ["openid", "offline_access"].contains(&scope.as_str())
            && !account.missing_scopes.contains(scope)
    };
    let missing: Vec<&String> =
        asked.filter(|scope| !scopes.contains(scope) && !unrepeated(scope)).collect();
    let row = diesel::update(accounts::table)
        .filter(accounts::workspace_id.eq(&account.workspace_id))
        .filter(accounts::id.eq(&account.id))
        .set((accounts::scopes.eq(scopes), accounts::missing_scopes.eq(missing)))
        .returning(Account::as_returning());
    Ok(row.get_result(conn).await?)
}

/// Writes down how the platform names an account now. Answers the account as it is then.
///
/// # Errors
/// When the query fails.
pub async fn rename(
    conn: &mut AsyncPgConnection,
    account: &Account,
    now: &Identity<'_>,
) -> Result<Account, DbError> {
    let row = diesel::update(accounts::table)
        .filter(accounts::workspace_id.eq(&account.workspace_id))
        .filter(accounts::id.eq(&account.id))
        .set((
            accounts::username.eq(now.username),
            accounts::display_name.eq(now.display_name),
            accounts::avatar_url.eq(now.avatar_url),
        ))
        .returning(Account::as_returning());
    Ok(row.get_result(conn).await?)
}

/// Says that only the person can help.
///
/// # Errors
/// When the query fails.
pub async fn expire(
    conn: &mut AsyncPgConnection,
    account: &Account,
    reason: &str,
) -> Result<bool, DbError> {
    let rows = diesel::update(accounts::table)
        .filter(accounts::workspace_id.eq(&account.workspace_id))
        .filter(accounts::id.eq(&account.id))
        .filter(accounts::status.eq(AccountStatus::Connected))
        .set((
            accounts::status.eq(AccountStatus::TokenExpired),
            accounts::status_reason.eq(reason),
            accounts::token_expired_at.eq(app_now().nullable()),
        ))
        .execute(conn);
    Ok(rows.await? == 1)
}

/// Brings back what expired, once its grant recovered.
///
/// # Errors
/// When the query fails.
pub async fn recover(conn: &mut AsyncPgConnection, account: &Account) -> Result<bool, DbError> {
    let rows = diesel::update(accounts::table)
        .filter(accounts::workspace_id.eq(&account.workspace_id))
        .filter(accounts::id.eq(&account.id))
        .filter(accounts::status.eq(AccountStatus::TokenExpired))
        .set((
            accounts::status.eq(AccountStatus::Connected),
            accounts::status_reason.eq(None::<String>),
            accounts::token_expired_at.eq(None::<DateTime<Utc>>),
        ))
        .execute(conn);
    Ok(rows.await? == 1)
}

/// Takes an account out of use, with the receipt as it stands now.
///
/// # Errors
/// When the query fails.
pub async fn disconnect(
    conn: &mut AsyncPgConnection,
    account: &Account,
    receipt: Option<&Value>,
) -> Result<Account, DbError> {
    let row = diesel::update(accounts::table)
        .filter(accounts::workspace_id.eq(&account.workspace_id))
        .filter(accounts::id.eq(&account.id))
        .set((
            accounts::status.eq(AccountStatus::Disconnected),
            accounts::disconnected_at.eq(app_now().nullable()),
            accounts::revocation.eq(receipt),
            accounts::sealed_token.eq(None::<Vec<u8>>),
            accounts::next_check_at.eq(None::<DateTime<Utc>>),
        ))
        .returning(Account::as_returning());
    Ok(row.get_result(conn).await?)
}
