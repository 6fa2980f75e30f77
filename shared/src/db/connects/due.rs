//! Which connects a sweep must look at. Across tenants.

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Interval, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::super::DbError;
use super::super::schema::connects;
use super::ConnectStatus;
use crate::ids::{AppId, ConnectId, WorkspaceId};
use crate::messages::CallbackReceived;

#[derive(QueryableByName)]
struct Open {
    #[diesel(sql_type = Text)]
    workspace_id: WorkspaceId,
    #[diesel(sql_type = Text)]
    id: ConnectId,
}

impl From<Open> for CallbackReceived {
    fn from(open: Open) -> Self {
        Self { workspace_id: open.workspace_id, connect_id: open.id }
    }
}

/// Connects whose code waits for longer than `patience`, whose worker has not come back from an
/// exchange, or whose person has chosen, or whose application has claimed it. Across tenants: for the sweep.
///
/// # Errors
/// When the query fails.
pub async fn left_behind(
    conn: &mut AsyncPgConnection,
    patience: TimeDelta,
    limit: i64,
) -> Result<Vec<CallbackReceived>, DbError> {
    let query = sql_query(
        "SELECT workspace_id, id FROM connects
         WHERE (status = 'authorized' AND status_at < app_now() - $1 AND (lease_until IS NULL OR lease_until < app_now()))
            OR (status = 'exchanging' AND status_at < app_now() - $1 AND (lease_until IS NULL OR lease_until < app_now()))
            OR (status = 'selecting' AND selection IS NOT NULL AND lease_until < app_now())
            OR (status = 'claiming' AND claimed_at IS NOT NULL AND lease_until < app_now())
         ORDER BY status_at LIMIT $2",
    )
    .bind::<Interval, _>(patience)
    .bind::<BigInt, _>(limit);
    Ok(query.load::<Open>(conn).await?.into_iter().map(CallbackReceived::from).collect())
}

/// Connects that nobody finished in time: pending, without a choice or unclaimed past their end, or stuck behind the code for
/// `stuck` beyond it. Across tenants: for the sweep.
///
/// # Errors
/// When the query fails.
pub async fn overdue(
    conn: &mut AsyncPgConnection,
    stuck: TimeDelta,
    limit: i64,
) -> Result<Vec<CallbackReceived>, DbError> {
    let query = sql_query(
        "SELECT workspace_id, id FROM connects
         WHERE (status IN ('pending', 'selecting') AND selection IS NULL AND expires_at <= app_now())
            OR (status = 'claiming' AND claimed_at IS NULL AND expires_at <= app_now())
            OR (status IN ('authorized', 'exchanging', 'selecting', 'claiming') AND expires_at <= app_now() - $1)
         LIMIT $2",
    )
    .bind::<Interval, _>(stuck)
    .bind::<BigInt, _>(limit);
    Ok(query.load::<Open>(conn).await?.into_iter().map(CallbackReceived::from).collect())
}

/// Open connects through an app, of whichever workspace: for the deletion of the app.
///
/// # Errors
/// When the query fails.
pub async fn open_of_app(
    conn: &mut AsyncPgConnection,
    app: &AppId,
    limit: i64,
) -> Result<Vec<(WorkspaceId, ConnectId)>, DbError> {
    let open = connects::table
        .filter(connects::app_id.eq(app))
        .filter(connects::status.eq_any(ConnectStatus::OPEN))
        .select((connects::workspace_id, connects::id))
        .limit(limit);
    Ok(open.load(conn).await?)
}
