//! Ends that no refresh moves, and when applications are told of them.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::super::DbError;
use super::super::schema::grants;
use super::Reauth;
use crate::ids::{GrantId, GrantKey, WorkspaceId};
use crate::messages::GrantRef;

/// Says by when the person must consent again, and when applications are told of it next.
///
/// # Errors
/// When the query fails.
pub async fn set_reauth(
    conn: &mut AsyncPgConnection,
    key: GrantKey<'_>,
    reauth: Option<Reauth>,
) -> Result<(), DbError> {
    one!(key)
        .set((
            grants::reauth_at.eq(reauth.map(|reauth| reauth.at)),
            grants::reauth_notice_at.eq(reauth.and_then(|reauth| reauth.notice_at)),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// The same after a refresh: an end that stays where it is, to the second or not, keeps its notice, so
/// that one which is due just now is told all the same.
///
/// # Errors
/// When the query fails.
pub(super) async fn renew(
    conn: &mut AsyncPgConnection,
    key: GrantKey<'_>,
    reauth: Option<Reauth>,
) -> Result<(), DbError> {
    let query = sql_query(
        "UPDATE grants SET reauth_at = $1, reauth_notice_at = CASE
             WHEN abs(extract(epoch FROM reauth_at - $1)) < 3600 THEN reauth_notice_at ELSE $2 END
         WHERE workspace_id = $3 AND id = $4",
    )
    .bind::<Nullable<Timestamptz>, _>(reauth.map(|reauth| reauth.at))
    .bind::<Nullable<Timestamptz>, _>(reauth.and_then(|reauth| reauth.notice_at))
    .bind::<Text, _>(key.workspace_id)
    .bind::<Text, _>(key.id);
    query.execute(conn).await?;
    Ok(())
}

#[derive(QueryableByName)]
struct Noticeable {
    #[diesel(sql_type = Text)]
    workspace_id: WorkspaceId,
    #[diesel(sql_type = Text)]
    id: GrantId,
}

/// Active grants whose end is near enough to be told of. Across tenants: for the sweep.
///
/// # Errors
/// When the query fails.
pub async fn noticeable(
    conn: &mut AsyncPgConnection,
    limit: i64,
) -> Result<Vec<GrantRef>, DbError> {
    let query = sql_query(
        "SELECT workspace_id, id FROM grants
         WHERE status = 'active' AND reauth_notice_at <= app_now() ORDER BY reauth_notice_at LIMIT $1",
    )
    .bind::<BigInt, _>(limit);
    let rows: Vec<Noticeable> = query.load(conn).await?;
    let grant = |row: Noticeable| GrantRef { workspace_id: row.workspace_id, grant_id: row.id };
    Ok(rows.into_iter().map(grant).collect())
}

/// Takes the notice of a grant, so that it is told once: answers the end it is about, and puts the
/// next notice in its place. `None` when there is nothing to tell any more. The row must be locked.
///
/// # Errors
/// When the query fails.
pub async fn take_notice(
    conn: &mut AsyncPgConnection,
    key: GrantKey<'_>,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, DbError> {
    let due = grants::table
        .filter(grants::workspace_id.eq(key.workspace_id))
        .filter(grants::id.eq(key.id))
        .filter(grants::reauth_notice_at.le(now))
        .select(grants::reauth_at);
    let Some(Some(at)) = due.first::<Option<DateTime<Utc>>>(conn).await.optional()? else {
        return Ok(None);
    };
    set_reauth(conn, key, Some(Reauth::new(at, now))).await?;
    Ok(Some(at))
}
