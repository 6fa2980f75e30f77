//! The worker processes. Each renews its own row every few seconds, so that another can tell that it is gone
//! before a lease of minutes has ended. Time is the server's own here, whatever a test's clock says: a
//! process is alive or dead in real time.

use std::time::Duration;

use chrono::TimeDelta;
use diesel::QueryableByName;
use diesel::sql_query;
use diesel::sql_types::{Bool, Interval, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::DbError;
use crate::ids::WorkerId;

/// Says that a process is alive.
///
/// # Errors
/// When the query fails.
pub async fn renew(conn: &mut AsyncPgConnection, id: &WorkerId) -> Result<(), DbError> {
    let query = sql_query(
        "INSERT INTO workers (id, started_at, renewed_at) VALUES ($1, now(), now())
         ON CONFLICT (id) DO UPDATE SET renewed_at = now()",
    )
    .bind::<Text, _>(id);
    query.execute(conn).await?;
    Ok(())
}

#[derive(QueryableByName)]
struct Gone {
    #[diesel(sql_type = Bool)]
    gone: bool,
}

/// Whether the process that holds a lease has not renewed its row for `silence`. A holder that names no
/// process, as workers of an earlier version wrote it, is taken to be alive.
///
/// # Errors
/// When the query fails.
pub async fn is_gone(
    conn: &mut AsyncPgConnection,
    lease_holder: &str,
    silence: Duration,
) -> Result<bool, DbError> {
    let Some((worker, _)) = lease_holder.split_once('.') else { return Ok(false) };
    let query = sql_query(
        "SELECT NOT EXISTS (SELECT FROM workers WHERE id = $1 AND renewed_at > now() - $2) AS gone",
    )
    .bind::<Text, _>(worker)
    .bind::<Interval, _>(TimeDelta::from_std(silence).unwrap_or(TimeDelta::MAX));
    let row: Gone = query.get_result(conn).await?;
    Ok(row.gone)
}

/// Forgets a process that stops, whose calls have all ended.
///
/// # Errors
/// When the query fails.
pub async fn remove(conn: &mut AsyncPgConnection, id: &WorkerId) -> Result<(), DbError> {
    sql_query("DELETE FROM workers WHERE id = $1").bind::<Text, _>(id).execute(conn).await?;
    Ok(())
}

/// Forgets processes that were killed long ago; answers how many.
///
/// # Errors
/// When the query fails.
pub async fn prune(conn: &mut AsyncPgConnection) -> Result<usize, DbError> {
    let query = sql_query("DELETE FROM workers WHERE renewed_at < now() - interval '1 day'");
    Ok(query.execute(conn).await?)
}
