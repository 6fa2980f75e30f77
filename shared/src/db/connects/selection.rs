//! What a person may choose from, and what was chosen.

use chrono::TimeDelta;
use diesel::sql_query;
use diesel::sql_types::{Array, Bytea, Interval, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::super::DbError;
use crate::ids::ConnectKey;
use crate::keyring::Aad;

/// Where a connect's candidates stand.
#[must_use]
pub fn candidates_aad(key: ConnectKey<'_>) -> Aad<'_> {
    Aad::of_workspace("connects.sealed_candidates", key.workspace_id, key.id.as_str())
}

/// Lays the candidates before the person, who has so long to choose. Part of the step to `selecting`.
///
/// # Errors
/// When the query fails.
pub async fn set_candidates(
    conn: &mut AsyncPgConnection,
    key: ConnectKey<'_>,
    sealed: &[u8],
    lifetime: TimeDelta,
) -> Result<(), DbError> {
    let query = sql_query(
        "UPDATE connects SET sealed_candidates = $1, expires_at = app_now() + $2, lease_until = NULL
         WHERE workspace_id = $3 AND id = $4 AND status = 'selecting'",
    )
    .bind::<Bytea, _>(sealed)
    .bind::<Interval, _>(lifetime)
    .bind::<Text, _>(key.workspace_id)
    .bind::<Text, _>(key.id);
    query.execute(conn).await?;
    Ok(())
}

/// Says what was chosen, and what that was connected was not: once, in time, and only while the choice is open. For a moment the broker may
/// bring it to a worker before the sweep does.
///
/// # Errors
/// When the query fails.
pub async fn select(
    conn: &mut AsyncPgConnection,
    key: ConnectKey<'_>,
    selection: &[String],
    deselection: &[String],
) -> Result<bool, DbError> {
    let query = sql_query(
        "UPDATE connects SET selection = $1, deselection = $4, lease_until = app_now() + interval '3 s'
         WHERE workspace_id = $2 AND id = $3 AND status = 'selecting' AND selection IS NULL
           AND expires_at > app_now()",
    )
    .bind::<Array<Text>, _>(selection)
    .bind::<Text, _>(key.workspace_id)
    .bind::<Text, _>(key.id)
    .bind::<Array<Text>, _>(deselection);
    Ok(query.execute(conn).await? == 1)
}
