//! The link to a connect's first page, and what is refused on the way through a browser.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Bytea, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::super::DbError;
use super::super::schema::connects;
use super::Connect;
use crate::ids::{ConnectId, ConnectKey};

/// A timeline takes no more refusals than this: whoever replays a state for ever fills no row.
const MAX_STEPS: i32 = 40;

/// The connect to whose first page this link leads. A browser shows no key: the link is what it may be
/// asked by.
///
/// # Errors
/// When the query fails.
pub async fn find_by_link(
    conn: &mut AsyncPgConnection,
    id: &ConnectId,
    link_hash: &[u8],
) -> Result<Option<Connect>, DbError> {
    let row = connects::table.filter(connects::id.eq(id)).filter(connects::link_hash.eq(link_hash));
    Ok(row.select(Connect::as_select()).first(conn).await.optional()?)
}

/// Trades the link for a cookie: once, in time, while the person has not come back.
///
/// # Errors
/// When the query fails.
pub async fn trade_link(
    conn: &mut AsyncPgConnection,
    key: ConnectKey<'_>,
    page_hash: &[u8],
) -> Result<bool, DbError> {
    let query = sql_query(
        "UPDATE connects SET page_hash = $1
         WHERE workspace_id = $2 AND id = $3 AND status = 'pending' AND page_hash IS NULL
           AND expires_at > app_now()",
    )
    .bind::<Bytea, _>(page_hash)
    .bind::<Text, _>(key.workspace_id)
    .bind::<Text, _>(key.id);
    Ok(query.execute(conn).await? == 1)
}

/// Notes on the timeline that somebody was refused, in whatever status the connect is.
///
/// # Errors
/// When the query fails.
pub async fn note_refusal(
    conn: &mut AsyncPgConnection,
    key: ConnectKey<'_>,
    code: &str,
) -> Result<(), DbError> {
    let query = sql_query(format!(
        "UPDATE connects SET timeline = timeline || jsonb_build_array(jsonb_build_object(
             'status', status, 'at', to_char(app_now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'),
             'refused', $1))
         WHERE workspace_id = $2 AND id = $3 AND jsonb_array_length(timeline) < {MAX_STEPS}"
    ))
    .bind::<Text, _>(code)
    .bind::<Text, _>(key.workspace_id)
    .bind::<Text, _>(key.id);
    query.execute(conn).await?;
    Ok(())
}
