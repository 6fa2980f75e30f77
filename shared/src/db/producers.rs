//! Producers: users of the broker that act with the role and reach of an API key.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::api_keys::ApiKey;
use super::schema::{api_keys, producers};
use super::{DbError, app_now};
use crate::ids::ApiKeyId;

/// A user of the broker, and the key that it acts with.
#[derive(Clone, Debug, Queryable)]
pub struct Producer {
    /// The user's name.
    pub broker_user: String,
    /// When it was linked.
    pub created_at: DateTime<Utc>,
    /// The key, which may be revoked by now.
    pub key: ApiKey,
}

/// The producer behind a user of the broker: who is asking, before any tenant is known.
///
/// # Errors
/// When the query fails.
pub async fn find(conn: &mut AsyncPgConnection, user: &str) -> Result<Option<Producer>, DbError> {
    let row = producers::table
        .inner_join(api_keys::table)
        .filter(producers::broker_user.eq(user))
        .select((producers::broker_user, producers::created_at, ApiKey::as_select()));
    Ok(row.first(conn).await.optional()?)
}

/// All of them, by name. Across tenants: for the operator.
///
/// # Errors
/// When the query fails.
pub async fn list(conn: &mut AsyncPgConnection) -> Result<Vec<Producer>, DbError> {
    let rows = producers::table.inner_join(api_keys::table).order(producers::broker_user).select((
        producers::broker_user,
        producers::created_at,
        ApiKey::as_select(),
    ));
    Ok(rows.load(conn).await?)
}

/// Ties a user of the broker to a key, instead of the one that it was tied to before.
///
/// # Errors
/// When the query fails, also when there is no such key.
pub async fn link(conn: &mut AsyncPgConnection, user: &str, key: &ApiKeyId) -> Result<(), DbError> {
    diesel::insert_into(producers::table)
        .values((
            producers::broker_user.eq(user),
            producers::api_key_id.eq(key),
            producers::created_at.eq(app_now()),
        ))
        .on_conflict(producers::broker_user)
        .do_update()
        .set((producers::api_key_id.eq(key), producers::created_at.eq(app_now())))
        .execute(conn)
        .await?;
    Ok(())
}

/// Unties a user of the broker; false when it was not tied.
///
/// # Errors
/// When the query fails.
pub async fn unlink(conn: &mut AsyncPgConnection, user: &str) -> Result<bool, DbError> {
    let row = producers::table.filter(producers::broker_user.eq(user));
    Ok(diesel::delete(row).execute(conn).await? == 1)
}
