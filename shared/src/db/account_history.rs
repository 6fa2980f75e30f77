//! What happened to each account: its events, and every refresh that was answered or failed. Never
//! a token.
//!
//! Rows are written by the queries that write what they tell of, in the same transaction.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Jsonb, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::Value;

use super::schema::account_history;
use super::{DbError, Page, text_enum};
use crate::ids::{AccountId, GrantKey, WorkspaceId};

text_enum! {
    /// How a refresh ended. Everything else in a history is an event.
    RefreshEnding {
        /// The platform gave new tokens.
        Succeeded = "refresh.succeeded",
        /// It did not; it will be tried again.
        Failed = "refresh.failed",
    }
}

/// One thing that happened to an account.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = account_history)]
pub struct HistoryEntry {
    /// Where it stands in the history.
    pub position: i64,
    /// An event type, or how a refresh ended.
    pub kind: String,
    /// What there is to say of it.
    pub data: Value,
    /// When it happened.
    pub created_at: DateTime<Utc>,
}

/// Notes how a refresh ended with every account that the grant keeps alive.
///
/// # Errors
/// When the query fails.
pub async fn note_refresh(
    conn: &mut AsyncPgConnection,
    key: GrantKey<'_>,
    ending: RefreshEnding,
    data: &Value,
) -> Result<(), DbError> {
    let query = sql_query(
        "INSERT INTO account_history (workspace_id, account_id, type, data, created_at)
         SELECT workspace_id, id, $3, $4, app_now() FROM accounts
         WHERE workspace_id = $1 AND grant_id = $2 AND status <> 'disconnected'",
    )
    .bind::<Text, _>(key.workspace_id)
    .bind::<Text, _>(key.id)
    .bind::<Text, _>(ending)
    .bind::<Jsonb, _>(data);
    query.execute(conn).await?;
    Ok(())
}

/// What happened to an account, newest first; `page.after` is the position of the last entry seen.
///
/// # Errors
/// When the query fails.
pub async fn list(
    conn: &mut AsyncPgConnection,
    workspace: &WorkspaceId,
    account: &AccountId,
    page: Page<'_>,
) -> Result<Vec<HistoryEntry>, DbError> {
    let before = page.after.and_then(|position| position.parse().ok()).unwrap_or(i64::MAX);
    let rows = account_history::table
        .filter(account_history::workspace_id.eq(workspace))
        .filter(account_history::account_id.eq(account))
        .filter(account_history::position.lt(before))
        .order(account_history::position.desc())
        .limit(page.limit);
    Ok(rows.select(HistoryEntry::as_select()).load(conn).await?)
}
