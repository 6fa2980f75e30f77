//! The claim: what the redirect carries to the application, whose backend brings it back.

use chrono::TimeDelta;
use diesel::sql_query;
use diesel::sql_types::{Bytea, Interval, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::super::DbError;
use crate::ids::ConnectKey;
use crate::keyring::Aad;

/// What a connect's claim is encrypted with.
#[must_use]
pub fn claim_aad(key: ConnectKey<'_>) -> Aad<'_> {
    Aad::of_workspace("connects.sealed_claim", key.workspace_id, key.id.as_str())
}

/// Lays down what is to be connected and the claim that connects it, for so long. Part of the step to
/// `claiming`.
///
/// # Errors
/// When the query fails.
pub async fn set_claim(
    conn: &mut AsyncPgConnection,
    key: ConnectKey<'_>,
    sealed_claim: &[u8],
    sealed_candidates: &[u8],
    lifetime: TimeDelta,
) -> Result<(), DbError> {
    let query = sql_query(
        "UPDATE connects SET sealed_claim = $1, sealed_candidates = $2, expires_at = app_now() + $3,
             lease_until = NULL
         WHERE workspace_id = $4 AND id = $5 AND status = 'claiming'",
    )
    .bind::<Bytea, _>(sealed_claim)
    .bind::<Bytea, _>(sealed_candidates)
    .bind::<Interval, _>(lifetime)
    .bind::<Text, _>(key.workspace_id)
    .bind::<Text, _>(key.id);
    query.execute(conn).await?;
    Ok(())
}

/// Says that the application claimed it: once and in time. For a moment the broker may bring it to a
/// worker before the sweep does.
///
/// # Errors
/// When the query fails.
pub async fn claim(conn: &mut AsyncPgConnection, key: ConnectKey<'_>) -> Result<bool, DbError> {
    let query = sql_query(
        "UPDATE connects SET claimed_at = app_now(), lease_until = app_now() + interval '3 s'
         WHERE workspace_id = $1 AND id = $2 AND status = 'claiming' AND claimed_at IS NULL
           AND expires_at > app_now()",
    )
    .bind::<Text, _>(key.workspace_id)
    .bind::<Text, _>(key.id);
    Ok(query.execute(conn).await? == 1)
}
