//! Platform apps that are left alone for a while, because the platform asked for it, as a whole or for one
//! organisation. A pause holds back refreshes and checks, never a person in front of a browser.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::dsl::exists;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Interval, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::app_health::AppKey;
use super::schema::app_pauses;
use super::{DbError, app_now};
use crate::ids::{OrganisationId, WorkspaceId};

#[derive(QueryableByName)]
struct Paused {
    #[diesel(sql_type = Timestamptz)]
    until: DateTime<Utc>,
}

/// Leaves an app alone for so long; answers until when. `None` if it is left alone for longer already.
///
/// # Errors
/// When the query fails.
pub async fn pause(
    conn: &mut AsyncPgConnection,
    app: &AppKey,
    wait: TimeDelta,
    reason: &str,
) -> Result<Option<DateTime<Utc>>, DbError> {
    let query = sql_query(
        "INSERT INTO app_pauses (platform, app_id, until, reason) VALUES ($1, $2, app_now() + $3, $4)
         ON CONFLICT (platform, app_id) DO UPDATE SET until = excluded.until, reason = excluded.reason
         WHERE app_pauses.until < excluded.until RETURNING until",
    )
    .bind::<Text, _>(&app.platform)
    .bind::<Text, _>(&app.app)
    .bind::<Interval, _>(wait)
    .bind::<Text, _>(reason);
    let paused: Option<Paused> = query.get_result(conn).await.optional()?;
    Ok(paused.map(|paused| paused.until))
}

/// Until when an app is left alone for a workspace, if it is.
///
/// # Errors
/// When the query fails.
pub async fn until(
    conn: &mut AsyncPgConnection,
    app: &AppKey,
    workspace: &WorkspaceId,
) -> Result<Option<DateTime<Utc>>, DbError> {
    let query = sql_query(
        "SELECT until FROM app_pauses WHERE platform = $1 AND until > app_now()
           AND (app_id = $2 OR ($2 = '' AND app_id = (SELECT organisation_id FROM workspaces WHERE id = $3)))
         ORDER BY until DESC LIMIT 1",
    )
    .bind::<Text, _>(&app.platform)
    .bind::<Text, _>(&app.app)
    .bind::<Text, _>(workspace);
    let paused: Option<Paused> = query.get_result(conn).await.optional()?;
    Ok(paused.map(|paused| paused.until))
}

/// Whether the installation's app is left alone for an organisation other than this one.
///
/// # Errors
/// When the query fails.
pub async fn others_wait(
    conn: &mut AsyncPgConnection,
    platform: &str,
    own: &OrganisationId,
) -> Result<bool, DbError> {
    let others = app_pauses::table
        .filter(app_pauses::platform.eq(platform))
        .filter(app_pauses::app_id.like("org\\_%").and(app_pauses::app_id.ne(own.as_str())))
        .filter(app_pauses::until.gt(app_now()));
    Ok(diesel::select(exists(others)).get_result(conn).await?)
}

/// Until when just this is left alone, if it is.
///
/// # Errors
/// When the query fails.
pub async fn of_app(
    conn: &mut AsyncPgConnection,
    app: &AppKey,
) -> Result<Option<DateTime<Utc>>, DbError> {
    let row =
        app_pauses::table.find((&app.platform, &app.app)).filter(app_pauses::until.gt(app_now()));
    Ok(row.select(app_pauses::until).first(conn).await.optional()?)
}
