//! The claim: what the redirect carries to the application, whose backend brings it back.

use chrono::TimeDelta;
use diesel::sql_query;
use diesel::sql_types::{Bytea, Interval, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::super::DbError;
use crate::clock::Clock;
use crate::ids::{ConnectId, WorkspaceId};
use crate::keyring::Place;

/// Where a connect's claim stands.
#[must_use]
pub fn claim_place<'a>(workspace: &'a WorkspaceId, id: &'a ConnectId) -> Place<'a> {
    Place {
        column: "connects.sealed_claim",
        tenant: workspace.as_str(),
        row: id.as_str(),
        generation: 0,
    }
}

/// Lays down what is to be connected and the claim that connects it, for so long. Part of the step to
/// `claiming`.
///
/// # Errors
/// When the query fails.
pub async fn set_claim(
    conn: &mut AsyncPgConnection,
    clock: &Clock,
    (workspace, id): (&WorkspaceId, &ConnectId),
    (sealed_claim, sealed_candidates, lifetime): (&[u8], &[u8], TimeDelta),
) -> Result<(), DbError> {
    let query = sql_query(
        "UPDATE connects SET sealed_claim = $1, sealed_candidates = $2, expires_at = moment($3) + $4,
             lease_until = NULL
         WHERE workspace_id = $5 AND id = $6 AND status = 'claiming'",
    )
    .bind::<Bytea, _>(sealed_claim)
    .bind::<Bytea, _>(sealed_candidates)
    .bind::<Interval, _>(clock.offset())
    .bind::<Interval, _>(lifetime)
    .bind::<Text, _>(workspace)
    .bind::<Text, _>(id);
    query.execute(conn).await?;
    Ok(())
}

/// Says that the application claimed it: once and in time. For a moment the broker may bring it to a
/// worker before the sweep does.
///
/// # Errors
/// When the query fails.
pub async fn claim(
    conn: &mut AsyncPgConnection,
    clock: &Clock,
    (workspace, id): (&WorkspaceId, &ConnectId),
) -> Result<bool, DbError> {
    let query = sql_query(
        "UPDATE connects SET claimed_at = moment($1), lease_until = moment($1) + interval '3 s'
         WHERE workspace_id = $2 AND id = $3 AND status = 'claiming' AND claimed_at IS NULL
           AND expires_at > moment($1)",
    )
    .bind::<Interval, _>(clock.offset())
    .bind::<Text, _>(workspace)
    .bind::<Text, _>(id);
    Ok(query.execute(conn).await? == 1)
}
