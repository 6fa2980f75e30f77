//! What refreshes are owed, app by app. Counting is bounded: it reads what is due, what will be within the hour,
//! and the few that are in trouble, up to a cap.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::DbError;
use super::grants::REFRESHED_APPS;
use crate::ids::{OrganisationId, WorkspaceId};

/// How many rows of an app are read at most; a count that reaches it is a lower bound.
pub const CAP: i64 = 100_000;

/// Whose grants are counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct DebtFilter<'a> {
    /// Those of one organisation; `None`: all.
    pub organisation: Option<&'a OrganisationId>,
    /// Those of one workspace.
    pub workspace: Option<&'a WorkspaceId>,
}

/// What refreshes one platform app owes.
#[derive(Clone, Debug, QueryableByName)]
pub struct RefreshDebt {
    /// Which platform.
    #[diesel(sql_type = Text)]
    pub platform: String,
    /// The customer's own app; empty: the installation's.
    #[diesel(sql_type = Text)]
    pub app: String,
    /// Grants whose refresh is due and not done.
    #[diesel(sql_type = BigInt)]
    pub due: i64,
    /// Those of them that have been due for more than 5 minutes.
    #[diesel(sql_type = BigInt)]
    pub overdue: i64,
    /// Grants whose access token has ended.
    #[diesel(sql_type = BigInt)]
    pub lapsed: i64,
    /// Grants of which nobody knows whether the refresh token was spent.
    #[diesel(sql_type = BigInt)]
    pub in_doubt: i64,
    /// Since when the oldest of those that are due is due.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub oldest_due_at: Option<DateTime<Utc>>,
    /// Grants that come due within the next hour.
    #[diesel(sql_type = BigInt)]
    pub due_next_hour: i64,
    /// Since when the app's brake is on.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub braked_since: Option<DateTime<Utc>>,
    /// When the next probe of a braked app may call.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub probe_at: Option<DateTime<Utc>>,
    /// Why it is braked.
    #[diesel(sql_type = Nullable<Text>)]
    pub brake_reason: Option<String>,
    /// Until when the platform wants the app to be left alone.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub paused_until: Option<DateTime<Utc>>,
    /// What it said.
    #[diesel(sql_type = Nullable<Text>)]
    pub pause_reason: Option<String>,
}

/// The debt of each app that has grants among those of the filter.
///
/// # Errors
/// When the query fails.
pub async fn list(
    conn: &mut AsyncPgConnection,
    filter: DebtFilter<'_>,
) -> Result<Vec<RefreshDebt>, DbError> {
    let query = sql_query(format!(
        "WITH RECURSIVE {REFRESHED_APPS}
         SELECT apps.platform, apps.app, planned.due, planned.overdue, trouble.lapsed, trouble.in_doubt,
             planned.oldest_due_at, planned.due_next_hour, h.braked_since,
             CASE WHEN h.braked_since IS NOT NULL THEN h.probe_at END AS probe_at,
             CASE WHEN h.braked_since IS NOT NULL THEN h.reason END AS brake_reason,
             pause.until AS paused_until, pause.reason AS pause_reason
         FROM apps
         CROSS JOIN LATERAL (
             SELECT count(*) FILTER (WHERE refresh_at <= app_now()) AS due,
                 count(*) FILTER (WHERE refresh_at <= app_now() - interval '5 min') AS overdue,
                 min(refresh_at) FILTER (WHERE refresh_at <= app_now()) AS oldest_due_at,
                 count(*) FILTER (WHERE refresh_at > app_now()) AS due_next_hour
             FROM (SELECT refresh_at, workspace_id FROM grants
                   WHERE status = 'active' AND next_attempt_at IS NOT NULL AND platform = apps.platform
                     AND coalesce(app_id, '') = apps.app AND next_attempt_at <= app_now() + interval '1 hour'
                   ORDER BY next_attempt_at LIMIT $3) AS g
             JOIN workspaces w ON w.id = g.workspace_id
             WHERE ($1 IS NULL OR w.organisation_id = $1) AND ($2 IS NULL OR w.id = $2)) AS planned
         CROSS JOIN LATERAL (
             SELECT count(*) FILTER (WHERE overdue_since IS NOT NULL) AS lapsed,
                 count(*) FILTER (WHERE in_doubt_since IS NOT NULL) AS in_doubt
             FROM (SELECT overdue_since, in_doubt_since, workspace_id FROM grants
                   WHERE status = 'active' AND platform = apps.platform AND coalesce(app_id, '') = apps.app
                     AND (wake_at IS NOT NULL OR in_doubt_since IS NOT NULL OR overdue_since IS NOT NULL)
                   LIMIT $3) AS g
             JOIN workspaces w ON w.id = g.workspace_id
             WHERE ($1 IS NULL OR w.organisation_id = $1) AND ($2 IS NULL OR w.id = $2)) AS trouble
         LEFT JOIN app_health h ON h.platform = apps.platform AND h.app_id = apps.app
         LEFT JOIN LATERAL (
             SELECT until, reason FROM app_pauses
             WHERE app_pauses.platform = apps.platform AND until > app_now()
               AND (app_id = apps.app OR (apps.app = '' AND app_id = $1))
             ORDER BY until DESC LIMIT 1) AS pause ON true
         WHERE $1 IS NULL OR EXISTS (
             SELECT FROM workspaces w JOIN accounts a ON a.workspace_id = w.id AND a.platform = apps.platform
             WHERE w.organisation_id = $1 AND ($2 IS NULL OR w.id = $2) AND coalesce(a.app_id, '') = apps.app)
         ORDER BY apps.platform, apps.app",
    ))
    .bind::<Nullable<Text>, _>(filter.organisation)
    .bind::<Nullable<Text>, _>(filter.workspace)
    .bind::<BigInt, _>(CAP);
    Ok(query.load(conn).await?)
}
