//! How far the log can be read, and who holds it back.

use diesel::sql_query;
use diesel::sql_types::{BigInt, Integer, Text};
use diesel::{OptionalExtension as _, QueryableByName};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::LogPosition;
use crate::db::DbError;

#[derive(QueryableByName)]
struct Horizon {
    #[diesel(sql_type = Integer)]
    epoch: i32,
    #[diesel(sql_type = BigInt)]
    xid: i64,
}

/// How far the log can be read: nothing will ever be written before this place, since every
/// transaction before it has ended.
///
/// # Errors
/// When the query fails.
pub async fn horizon(conn: &mut AsyncPgConnection) -> Result<LogPosition, DbError> {
    let query = sql_query(
        "SELECT (SELECT max(epoch) FROM event_epochs) AS epoch,
                pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS xid",
    );
    let Horizon { epoch, xid } = query.get_result(conn).await?;
    Ok(LogPosition { epoch, xid, id: String::new() })
}

/// A transaction that writes and has not ended.
#[derive(Clone, Debug, Eq, PartialEq, QueryableByName)]
pub struct OpenWriter {
    /// Its number.
    #[diesel(sql_type = BigInt)]
    pub xid: i64,
    /// For operators: the session with its pid, or the prepared transaction.
    #[diesel(sql_type = Text)]
    pub name: String,
    /// The database that it writes to, which may be another than ours.
    #[diesel(sql_type = Text)]
    pub database: String,
}

/// The oldest one of the whole server: the log ends before it.
///
/// Those of other databases count, although they cannot write an event: PostgreSQL does not read a session's database
/// and its transaction in one step, so a session that ended and one of ours that took its place could be mistaken
/// for each other, and a reader would pass over an event for ever.
///
/// # Errors
/// When the query fails.
pub async fn oldest_writer(conn: &mut AsyncPgConnection) -> Result<Option<OpenWriter>, DbError> {
    let query = sql_query(
        "SELECT xid::text::bigint AS xid, name, database FROM (
             SELECT backend_xid, 'session ' || pid, coalesce(datname, '') FROM pg_stat_activity
             WHERE backend_xid IS NOT NULL
             UNION ALL SELECT transaction, 'prepared transaction ' || gid, database FROM pg_prepared_xacts
         ) AS open (xid, name, database)
         ORDER BY age(xid) DESC LIMIT 1",
    );
    Ok(query.get_result(conn).await.optional()?)
}
