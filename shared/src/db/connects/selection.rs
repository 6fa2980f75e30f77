//! What a person may choose from, and what was chosen.

use chrono::TimeDelta;
use diesel::sql_query;
use diesel::sql_types::{Array, Bytea, Interval, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::super::DbError;
use crate::clock::Clock;
use crate::ids::{ConnectId, WorkspaceId};
use crate::keyring::Place;

/// Where a connect's candidates stand.
#[must_use]
pub fn candidates_place<'a>(workspace: &'a WorkspaceId, id: &'a ConnectId) -> Place<'a> {
    Place {
        column: "connects.sealed_candidates",
        tenant: workspace.as_str(),
        row: id.as_str(),
        generation: 0,
    }
}

/// Lays the candidates before the person, who has so long to choose. Part of the step to `selecting`.
///
/// # Errors
/// When the query fails.
pub async fn set_candidates(
    conn: &mut AsyncPgConnection,
    clock: &Clock,
    (workspace, id): (&WorkspaceId, &ConnectId),
    (sealed, lifetime): (&[u8], TimeDelta),
) -> Result<(), DbError> {
    let query = sql_query(
        "UPDATE connects SET sealed_candidates = $1, expires_at = moment($2) + $3, lease_until = NULL
         WHERE workspace_id = $4 AND id = $5 AND status = 'selecting'",
    )
    .bind::<Bytea, _>(sealed)
    .bind::<Interval, _>(clock.offset())
    .bind::<Interval, _>(lifetime)
    .bind::<Text, _>(workspace)
    .bind::<Text, _>(id);
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
    clock: &Clock,
    (workspace, id): (&WorkspaceId, &ConnectId),
    (selection, deselection): (&[String], &[String]),
) -> Result<bool, DbError> {
    let query = sql_query(
        "UPDATE connects SET selection = $1, deselection = $5, lease_until = moment($2) + interval '3 s'
         WHERE workspace_id = $3 AND id = $4 AND status = 'selecting' AND selection IS NULL
           AND expires_at > moment($2)",
    )
    .bind::<Array<Text>, _>(selection)
    .bind::<Interval, _>(clock.offset())
    .bind::<Text, _>(workspace)
    .bind::<Text, _>(id)
    .bind::<Array<Text>, _>(deselection);
    Ok(query.execute(conn).await? == 1)
}
