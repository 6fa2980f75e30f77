//! Browsers that signed in with an API key. A session is as good as its key, and never outlives it.

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Bytea, Interval, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::api_keys::ApiKey;
use super::schema::{api_keys, sessions};
use super::{DbError, app_now};

/// How long a person stays signed in.
pub const LIFETIME: TimeDelta = TimeDelta::hours(12);

/// Adds a session of a key, known by the hash of its cookie.
///
/// # Errors
/// When the query fails.
pub async fn insert(
    conn: &mut AsyncPgConnection,
    key: &ApiKey,
    hash: &[u8],
) -> Result<(), DbError> {
    let query = sql_query(
        "INSERT INTO sessions (hash, organisation_id, api_key_id, expires_at, created_at)
         VALUES ($1, $2, $3, app_now() + $4, app_now())",
    )
    .bind::<Bytea, _>(hash)
    .bind::<Text, _>(&key.organisation_id)
    .bind::<Text, _>(&key.id)
    .bind::<Interval, _>(LIFETIME);
    query.execute(conn).await?;
    Ok(())
}

/// The key that a living session stands for: who is calling, before any tenant is known.
///
/// # Errors
/// When the query fails.
pub async fn authenticate(
    conn: &mut AsyncPgConnection,
    hash: &[u8],
) -> Result<Option<ApiKey>, DbError> {
    let row = sessions::table
        .inner_join(api_keys::table)
        .filter(sessions::hash.eq(hash))
        .filter(sessions::expires_at.gt(app_now()))
        .filter(api_keys::revoked_at.is_null())
        .select(ApiKey::as_select());
    Ok(row.first(conn).await.optional()?)
}

/// Ends a session. Whoever holds its cookie may.
///
/// # Errors
/// When the query fails.
pub async fn delete(conn: &mut AsyncPgConnection, hash: &[u8]) -> Result<(), DbError> {
    diesel::delete(sessions::table.filter(sessions::hash.eq(hash))).execute(conn).await?;
    Ok(())
}

/// Deletes what nobody can use any more. Across tenants: for the sweep.
///
/// # Errors
/// When the query fails.
pub async fn prune(conn: &mut AsyncPgConnection, limit: i64) -> Result<usize, DbError> {
    let query = sql_query(
        "DELETE FROM sessions WHERE hash = ANY (ARRAY(
             SELECT hash FROM sessions WHERE expires_at <= app_now() LIMIT $1
             FOR UPDATE SKIP LOCKED))",
    )
    .bind::<BigInt, _>(limit);
    Ok(query.execute(conn).await?)
}
