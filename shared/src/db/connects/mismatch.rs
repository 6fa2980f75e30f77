//! Whether another person came last than the one whose account was to be reconnected.

use chrono::TimeDelta;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Interval, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::super::{DbError, Yes};
use crate::ids::{AccountId, WorkspaceId};

/// The reason of a connect that brought another person's account than the one that it names.
pub const IDENTITY_MISMATCH: &str = "IDENTITY_MISMATCH";
/// After this the owner may try again.
const REMEMBERED_FOR: TimeDelta = TimeDelta::hours(1);
/// Among so many newest connects of the workspace it is looked for.
const LOOKED_AT: i64 = 50;

/// Whether the last connect within the hour that named this account and ended was by another person.
///
/// # Errors
/// When the query fails.
pub async fn was_another_person(
    conn: &mut AsyncPgConnection,
    workspace: &WorkspaceId,
    account: &AccountId,
) -> Result<bool, DbError> {
    let query = sql_query(
        "SELECT coalesce((
             SELECT reason_code = $1 FROM (
                 SELECT id, account_id, status, reason_code, created_at FROM connects
                 WHERE workspace_id = $2 ORDER BY id DESC LIMIT $3) AS newest
             WHERE account_id = $4 AND status = 'failed' AND created_at > app_now() - $5
             ORDER BY id DESC LIMIT 1), false) AS yes",
    )
    .bind::<Text, _>(IDENTITY_MISMATCH)
    .bind::<Text, _>(workspace)
    .bind::<BigInt, _>(LOOKED_AT)
    .bind::<Text, _>(account)
    .bind::<Interval, _>(REMEMBERED_FOR);
    Ok(query.get_result::<Yes>(conn).await?.yes)
}
