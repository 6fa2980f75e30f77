//! Which grants a sweep must look at. Across tenants.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Interval, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::super::DbError;
use crate::clock::Clock;
use crate::ids::{GrantId, WorkspaceId};
use crate::messages::GrantRef;

#[derive(QueryableByName)]
struct Due {
    #[diesel(sql_type = Text)]
    platform: String,
    #[diesel(sql_type = Text)]
    app: String,
    #[diesel(sql_type = Text)]
    workspace_id: WorkspaceId,
    #[diesel(sql_type = Text)]
    id: GrantId,
}

/// A due grant with the platform and app that it belongs to, for grouping.
#[derive(Debug)]
pub struct DueGrant {
    /// Platform and app (empty: the installation's).
    pub platform_app: (String, String),
    /// The grant.
    pub grant: GrantRef,
}

/// Takes due grants of apps that are not paused, in the order of their deadlines, each moved 2 min ahead, doubling: a lost
/// message comes due again. Across tenants: for the planner.
///
/// # Errors
/// When the query fails.
pub async fn take_due(
    conn: &mut AsyncPgConnection,
    clock: &Clock,
    limit: i64,
) -> Result<Vec<DueGrant>, DbError> {
    let query = sql_query(
        "WITH due AS (
             SELECT id FROM grants WHERE status = 'active' AND next_attempt_at <= moment($1)
               AND NOT EXISTS (SELECT FROM app_pauses pause WHERE pause.platform = grants.platform
                   AND pause.app_id = coalesce(grants.app_id, '') AND pause.until > moment($1))
             ORDER BY next_attempt_at LIMIT $2 FOR UPDATE SKIP LOCKED)
         UPDATE grants SET dispatches = dispatches + 1,
             next_attempt_at = moment($1) + interval '2 min' * power(2, least(dispatches, 6))
         FROM due WHERE grants.id = due.id
         RETURNING platform, coalesce(app_id, '') AS app, workspace_id, grants.id",
    )
    .bind::<Interval, _>(clock.offset())
    .bind::<BigInt, _>(limit);
    let rows: Vec<Due> = query.load(conn).await?;
    let due = |row: Due| DueGrant {
        platform_app: (row.platform, row.app),
        grant: GrantRef { workspace_id: row.workspace_id, grant_id: row.id },
    };
    Ok(rows.into_iter().map(due).collect())
}

/// The active grants that nothing can renew any more: the refresh token's own end has passed, or
/// there is none and the access token's end has. Nobody may be calling for them. Across tenants:
/// for the sweep.
///
/// # Errors
/// When the query fails.
pub async fn ended(
    conn: &mut AsyncPgConnection,
    clock: &Clock,
    limit: i64,
) -> Result<Vec<GrantRef>, DbError> {
    let query = sql_query(
        "SELECT '' AS platform, '' AS app, workspace_id, id FROM grants
         WHERE status = 'active'
           AND CASE WHEN renewable THEN refresh_expires_at ELSE access_expires_at END <= moment($1)
           AND (lease_until IS NULL OR lease_until < moment($1))
         LIMIT $2",
    )
    .bind::<Interval, _>(clock.offset())
    .bind::<BigInt, _>(limit);
    let rows: Vec<Due> = query.load(conn).await?;
    Ok(rows
        .into_iter()
        .map(|row| GrantRef { workspace_id: row.workspace_id, grant_id: row.id })
        .collect())
}
