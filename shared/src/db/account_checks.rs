//! When the platform is asked whether an account still lives, and the token of those that have one of their own.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::accounts::{Account, AccountStatus};
use super::grants::Refused;
use super::schema::accounts;
use super::{DbError, app_now};
use crate::ids::{AccountId, AccountKey, WorkspaceId};
use crate::keyring::Aad;
use crate::messages::CheckDue;

/// What an account's own token is encrypted with.
#[must_use]
pub fn token_aad(key: AccountKey<'_>) -> Aad<'_> {
    Aad::of_workspace("accounts.sealed_token", key.workspace_id, key.id.as_str())
}

/// Gives an account its own token, which is checked at once.
///
/// # Errors
/// When the query fails.
pub async fn set_token(
    conn: &mut AsyncPgConnection,
    account: &Account,
    sealed: &[u8],
) -> Result<(), DbError> {
    diesel::update(accounts::table)
        .filter(accounts::workspace_id.eq(&account.workspace_id))
        .filter(accounts::id.eq(&account.id))
        .set((
            accounts::sealed_token.eq(sealed),
            accounts::next_check_at.eq(app_now().nullable()),
            accounts::check_failures.eq(0),
            accounts::check_refused_since.eq(None::<DateTime<Utc>>),
            accounts::action_needed_since.eq(None::<DateTime<Utc>>),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Says when an account is looked at first.
///
/// # Errors
/// When the query fails.
pub async fn schedule(
    conn: &mut AsyncPgConnection,
    account: &Account,
    at: DateTime<Utc>,
) -> Result<(), DbError> {
    diesel::update(accounts::table)
        .filter(accounts::workspace_id.eq(&account.workspace_id))
        .filter(accounts::id.eq(&account.id))
        .set((
            accounts::next_check_at.eq(at),
            accounts::check_refused_since.eq(None::<DateTime<Utc>>),
            accounts::check_refused_as.eq(None::<String>),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Has the platform asked about an account's token soon.
///
/// # Errors
/// When the query fails.
pub async fn hasten(conn: &mut AsyncPgConnection, key: AccountKey<'_>) -> Result<(), DbError> {
    diesel::update(accounts::table)
        .filter(accounts::workspace_id.eq(key.workspace_id))
        .filter(accounts::id.eq(key.id))
        .filter(accounts::status.eq(AccountStatus::Connected))
        .filter(accounts::next_check_at.gt(app_now().nullable()))
        .set(accounts::next_check_at.eq(app_now().nullable()))
        .execute(conn)
        .await?;
    Ok(())
}

/// The next check of an account.
#[derive(Clone, Copy, Debug)]
pub struct NextCheck<'a> {
    /// When, if ever.
    pub at: Option<DateTime<Utc>>,
    /// Checks in a row that did not say that the token works.
    pub failures: i32,
    /// That the platform said that it does not, if it did.
    pub refused: Option<Refused<'a>>,
}

/// Sets, or with `None` clears, when the platform began to ask the person to act there.
/// False when it was set, or clear, before.
///
/// # Errors
/// When the query fails.
pub async fn note_action_needed(
    conn: &mut AsyncPgConnection,
    seen: &Account,
    since: Option<DateTime<Utc>>,
) -> Result<bool, DbError> {
    if seen.action_needed_since.is_some() == since.is_some() {
        return Ok(false);
    }
    let rows = diesel::update(accounts::table)
        .filter(accounts::workspace_id.eq(&seen.workspace_id))
        .filter(accounts::id.eq(&seen.id))
        .set(accounts::action_needed_since.eq(since))
        .execute(conn);
    Ok(rows.await? == 1)
}

/// Puts off the next check. False when the account is not what it was: checked by somebody else, or connected
/// anew.
///
/// # Errors
/// When the query fails.
pub async fn reschedule(
    conn: &mut AsyncPgConnection,
    seen: &Account,
    next: &NextCheck<'_>,
) -> Result<bool, DbError> {
    let rows = diesel::update(accounts::table)
        .filter(accounts::workspace_id.eq(&seen.workspace_id))
        .filter(accounts::id.eq(&seen.id))
        .filter(accounts::status.eq(AccountStatus::Connected))
        .filter(accounts::sealed_token.is_not_distinct_from(&seen.sealed_token))
        .filter(accounts::grant_id.is_not_distinct_from(&seen.grant_id))
        .set((
            accounts::next_check_at.eq(next.at),
            accounts::check_failures.eq(next.failures),
            accounts::check_refused_since.eq(next.refused.map(|refused| refused.since)),
            accounts::check_refused_as.eq(next.refused.map(|refused| refused.words)),
        ))
        .execute(conn);
    Ok(rows.await? == 1)
}

#[derive(QueryableByName)]
struct Due {
    #[diesel(sql_type = Text)]
    workspace_id: WorkspaceId,
    #[diesel(sql_type = Text)]
    id: AccountId,
}

/// Takes the accounts whose check is due, each moved 2 min ahead: a lost message comes due again.
/// Across tenants: for the planner.
///
/// # Errors
/// When the query fails.
pub async fn take_due(conn: &mut AsyncPgConnection, limit: i64) -> Result<Vec<CheckDue>, DbError> {
    let query = sql_query(
        "WITH due AS (
             SELECT id FROM accounts WHERE status = 'connected' AND next_check_at <= app_now()
               AND NOT EXISTS (SELECT FROM app_pauses pause WHERE pause.platform = accounts.platform
                   AND pause.until > app_now() AND (pause.app_id = coalesce(accounts.app_id, '')
                       OR (accounts.app_id IS NULL AND pause.app_id = (
                           SELECT organisation_id FROM workspaces WHERE workspaces.id = accounts.workspace_id))))
               AND NOT EXISTS (SELECT FROM app_health health WHERE health.platform = accounts.platform
                   AND health.app_id = coalesce(accounts.app_id, '') AND health.probe_at > app_now())
             ORDER BY next_check_at LIMIT $1 FOR UPDATE SKIP LOCKED)
         UPDATE accounts SET next_check_at = app_now() + interval '2 min'
         FROM due WHERE accounts.id = due.id RETURNING workspace_id, accounts.id",
    )
    .bind::<BigInt, _>(limit);
    let rows: Vec<Due> = query.load(conn).await?;
    let check = |row: Due| CheckDue { workspace_id: row.workspace_id, account_id: row.id };
    Ok(rows.into_iter().map(check).collect())
}
