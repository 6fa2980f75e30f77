//! Platform apps that are left alone for a while: the platform asked for it, or refuses our client.
//! A pause holds back refreshes and checks, never a person in front of a browser.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Interval, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::schema::app_pauses;
use super::{DbError, now};
use crate::clock::Clock;
use crate::ids::AppId;

/// Leaves an app alone for so long, or longer if that was said before.
///
/// # Errors
/// When the query fails.
pub async fn pause(
    conn: &mut AsyncPgConnection,
    clock: &Clock,
    (platform, app): (&str, Option<&AppId>),
    (wait, reason): (TimeDelta, &str),
) -> Result<(), DbError> {
    let query = sql_query(
        "INSERT INTO app_pauses (platform, app_id, until, reason) VALUES ($1, $2, moment($3) + $4, $5)
         ON CONFLICT (platform, app_id) DO UPDATE SET until = excluded.until, reason = excluded.reason
         WHERE app_pauses.until < excluded.until",
    )
    .bind::<Text, _>(platform)
    .bind::<Text, _>(key(app))
    .bind::<Interval, _>(clock.offset())
    .bind::<Interval, _>(wait)
    .bind::<Text, _>(reason);
    query.execute(conn).await?;
    Ok(())
}

/// Until when an app is left alone, if it is.
///
/// # Errors
/// When the query fails.
pub async fn until(
    conn: &mut AsyncPgConnection,
    clock: &Clock,
    (platform, app): (&str, Option<&AppId>),
) -> Result<Option<DateTime<Utc>>, DbError> {
    let row = app_pauses::table
        .filter(app_pauses::platform.eq(platform))
        .filter(app_pauses::app_id.eq(key(app)))
        .filter(app_pauses::until.gt(now(clock)));
    Ok(row.select(app_pauses::until).first(conn).await.optional()?)
}

fn key(app: Option<&AppId>) -> &str {
    app.map_or("", AppId::as_str)
}
