//! Which grants a sweep must look at. Across tenants.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::super::DbError;
use super::super::app_health::AppKey;
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

/// A due grant with the platform app that it belongs to, for grouping.
#[derive(Debug)]
pub struct DueGrant {
    /// The app.
    pub app: AppKey,
    /// The grant.
    pub grant: GrantRef,
}

/// How many grants one run of the planner takes of each app.
#[derive(Clone, Copy, Debug)]
pub struct PlanLimits {
    /// At most.
    pub per_app: i64,
    /// Of an app for which the workers have no permits left.
    pub busy: i64,
    /// Among so many that came due first, those whose tokens end first are found.
    pub window: i64,
}

/// The apps that have grants to refresh, as the first part of a recursive query. They are found by skipping
/// through the index: one step for each.
pub(in crate::db) const REFRESHED_APPS: &str = "apps AS (
    (SELECT platform, coalesce(app_id, '') AS app FROM grants
    WHERE status = 'active' AND next_attempt_at IS NOT NULL ORDER BY 1, 2 LIMIT 1)
    UNION ALL
    SELECT next.platform, next.app FROM apps CROSS JOIN LATERAL (
       SELECT platform, coalesce(app_id, '') AS app FROM grants
       WHERE status = 'active' AND next_attempt_at IS NOT NULL
         AND (platform, coalesce(app_id, '')) > (apps.platform, apps.app)
       ORDER BY 1, 2 LIMIT 1) AS next)";

/// Takes due grants, app by app, those first whose access tokens end first. A paused app is left out; of a
/// braked one a single grant is taken when a probe is due, one that was not refused and is not in doubt before
/// others: that a dead one is refused proves nothing. Each grant moves 2 min ahead, doubling: a lost message
/// comes due again. Answers in the order of the tokens' ends. Across tenants: for the planner.
///
/// # Errors
/// When the query fails.
pub async fn take_due(
    conn: &mut AsyncPgConnection,
    limits: PlanLimits,
) -> Result<Vec<DueGrant>, DbError> {
    let query = sql_query(format!(
        "WITH RECURSIVE {REFRESHED_APPS}, allowed AS (
             SELECT apps.platform, apps.app, h.braked_since IS NOT NULL AS braked, CASE
                 WHEN h.braked_since IS NOT NULL THEN CASE WHEN h.probe_at <= app_now() THEN 1 ELSE 0 END
                 WHEN h.busy_until > app_now() THEN $2 ELSE $1 END AS wanted
             FROM apps LEFT JOIN app_health h ON h.platform = apps.platform AND h.app_id = apps.app
             WHERE NOT EXISTS (SELECT FROM app_pauses pause WHERE pause.platform = apps.platform
                   AND pause.app_id = apps.app AND pause.until > app_now())),
         due AS (
             SELECT locked.id, locked.access_expires_at FROM allowed CROSS JOIN LATERAL (
                 SELECT g.id, g.access_expires_at FROM grants g WHERE g.id IN (
                     SELECT oldest.id FROM (
                         SELECT id, access_expires_at, refused_since, in_doubt_since FROM grants
                         WHERE status = 'active' AND next_attempt_at IS NOT NULL
                           AND platform = allowed.platform AND coalesce(app_id, '') = allowed.app
                           AND next_attempt_at <= app_now()
                         ORDER BY next_attempt_at LIMIT $3) AS oldest
                     ORDER BY allowed.braked AND num_nonnulls(refused_since, in_doubt_since) > 0,
                         oldest.access_expires_at NULLS LAST LIMIT allowed.wanted)
                   AND g.next_attempt_at <= app_now()
                 FOR UPDATE OF g SKIP LOCKED) AS locked),
         taken AS (
             UPDATE grants SET dispatches = dispatches + 1,
                 next_attempt_at = app_now() + interval '2 min' * power(2, least(dispatches, 6))
             FROM due WHERE grants.id = due.id
             RETURNING platform, coalesce(app_id, '') AS app, workspace_id, grants.id, grants.access_expires_at)
         SELECT platform, app, workspace_id, id FROM taken ORDER BY access_expires_at NULLS LAST",
    ))
    .bind::<BigInt, _>(limits.per_app)
    .bind::<BigInt, _>(limits.busy)
    .bind::<BigInt, _>(limits.window);
    let rows: Vec<Due> = query.load(conn).await?;
    let due = |row: Due| DueGrant {
        app: AppKey { platform: row.platform, app: row.app },
        grant: GrantRef { workspace_id: row.workspace_id, grant_id: row.id },
    };
    Ok(rows.into_iter().map(due).collect())
}

/// The grants whose access token has ended, and of which nobody has noticed it yet. Across tenants: for the
/// sweep.
///
/// # Errors
/// When the query fails.
pub async fn lapsed(conn: &mut AsyncPgConnection, limit: i64) -> Result<Vec<GrantRef>, DbError> {
    let query = sql_query(
        "SELECT platform, '' AS app, workspace_id, id FROM grants
         WHERE status = 'active' AND renewable AND overdue_since IS NULL AND access_expires_at <= app_now()
         ORDER BY access_expires_at LIMIT $1",
    )
    .bind::<BigInt, _>(limit);
    let rows: Vec<Due> = query.load(conn).await?;
    let grant = |row: Due| GrantRef { workspace_id: row.workspace_id, grant_id: row.id };
    Ok(rows.into_iter().map(grant).collect())
}

/// The active grants that nothing can renew any more: the refresh token's own end has passed, or
/// there is none and the access token's end has. Nobody may be calling for them. Across tenants:
/// for the sweep.
///
/// # Errors
/// When the query fails.
pub async fn ended(conn: &mut AsyncPgConnection, limit: i64) -> Result<Vec<GrantRef>, DbError> {
    let query = sql_query(
        "SELECT '' AS platform, '' AS app, workspace_id, id FROM grants
         WHERE status = 'active'
           AND CASE WHEN renewable THEN refresh_expires_at ELSE access_expires_at END IS NOT NULL
           AND CASE WHEN renewable THEN refresh_expires_at ELSE access_expires_at END <= app_now()
           AND (lease_until IS NULL OR lease_until < app_now())
         ORDER BY CASE WHEN renewable THEN refresh_expires_at ELSE access_expires_at END LIMIT $1",
    )
    .bind::<BigInt, _>(limit);
    let rows: Vec<Due> = query.load(conn).await?;
    Ok(rows
        .into_iter()
        .map(|row| GrantRef { workspace_id: row.workspace_id, grant_id: row.id })
        .collect())
}
