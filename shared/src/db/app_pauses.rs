//! Platform apps that are left alone for a while, because the platform asked for it. A pause holds back
//! refreshes and checks, never a person in front of a browser.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Interval, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::app_health::AppKey;
use super::schema::app_pauses;
use super::{DbError, now};
use crate::clock::Clock;

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
    clock: &Clock,
    app: &AppKey,
    (wait, reason): (TimeDelta, &str),
) -> Result<Option<DateTime<Utc>>, DbError> {
    let query = sql_query(
        "INSERT INTO app_pauses (platform, app_id, until, reason) VALUES ($1, $2, moment($3) + $4, $5)
         ON CONFLICT (platform, app_id) DO UPDATE SET until = excluded.until, reason = excluded.reason
         WHERE app_pauses.until < excluded.until RETURNING until",
    )
    .bind::<Text, _>(&app.platform)
    .bind::<Text, _>(&app.app)
    .bind::<Interval, _>(clock.offset())
    .bind::<Interval, _>(wait)
    .bind::<Text, _>(reason);
    let paused: Option<Paused> = query.get_result(conn).await.optional()?;
    Ok(paused.map(|paused| paused.until))
}

/// Until when an app is left alone, if it is.
///
/// # Errors
/// When the query fails.
pub async fn until(
    conn: &mut AsyncPgConnection,
    clock: &Clock,
    app: &AppKey,
) -> Result<Option<DateTime<Utc>>, DbError> {
    let row =
        app_pauses::table.find((&app.platform, &app.app)).filter(app_pauses::until.gt(now(clock)));
    Ok(row.select(app_pauses::until).first(conn).await.optional()?)
}
