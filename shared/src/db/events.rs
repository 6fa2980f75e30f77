//! The event log.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Interval, Jsonb, Nullable, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::Value;

use super::DbError;
use crate::clock::Clock;
use crate::events::NewEvent;
use crate::ids::{EventId, OrganisationId, WorkspaceId};

/// An event as the log holds it.
#[derive(Clone, Debug, QueryableByName)]
pub struct LoggedEvent {
    /// Id.
    #[diesel(sql_type = Text)]
    pub id: EventId,
    /// Whose it is.
    #[diesel(sql_type = Text)]
    pub organisation_id: OrganisationId,
    /// Where it happened.
    #[diesel(sql_type = Text)]
    pub workspace_id: WorkspaceId,
    /// What happened.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// Counts the events of one account.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub sequence: Option<i64>,
    /// What the type's schema lists.
    #[diesel(sql_type = Jsonb)]
    pub data: Value,
    /// The transaction that wrote it.
    #[diesel(sql_type = BigInt)]
    pub xid: i64,
    /// When it happened.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
}

impl LoggedEvent {
    /// The public form.
    #[must_use]
    pub fn body(&self) -> Value {
        crate::events::body(
            &self.id,
            &self.kind,
            self.created_at,
            &self.workspace_id,
            (self.sequence, &self.data),
        )
    }
}

/// Writes an event. One that happened to an account is numbered, and stands in the account's history,
/// too. The number comes from the account's row, whose lock the transaction then holds.
///
/// # Errors
/// When the query fails.
pub async fn insert(
    conn: &mut AsyncPgConnection,
    clock: &Clock,
    event: &NewEvent,
) -> Result<LoggedEvent, DbError> {
    let query = sql_query(
        "WITH numbered AS (
             UPDATE accounts SET event_sequence = event_sequence + 1
             WHERE workspace_id = $2 AND id = $4
             RETURNING event_sequence),
         remembered AS (
             INSERT INTO account_history (workspace_id, account_id, type, data, created_at)
             SELECT $2, $4, $3, $5, moment($6) FROM numbered)
         INSERT INTO events (id, organisation_id, workspace_id, type, account_id, sequence, data, created_at)
         SELECT $1, organisation_id, $2, $3, $4, (SELECT event_sequence FROM numbered), $5, moment($6)
         FROM workspaces WHERE id = $2
         RETURNING id, organisation_id, workspace_id, type AS kind, sequence, data, xid, created_at",
    )
    .bind::<Text, _>(EventId::new(clock))
    .bind::<Text, _>(&event.workspace_id)
    .bind::<Text, _>(event.kind)
    .bind::<Nullable<Text>, _>(event.account_id.as_ref())
    .bind::<Jsonb, _>(&event.data)
    .bind::<Interval, _>(clock.offset());
    Ok(query.get_result(conn).await?)
}

/// Where a reader of the log stands: behind this event.
#[derive(Clone, Copy, Debug)]
pub struct LogPosition<'a> {
    /// The transaction of the last event read.
    pub xid: i64,
    /// Its id.
    pub id: &'a str,
}

/// Which events a reader wants.
#[derive(Debug)]
pub struct LogFilter<'a> {
    /// Of this workspace only.
    pub workspace: Option<&'a WorkspaceId>,
    /// Of these types only; empty: all.
    pub types: &'a [String],
    /// How many at most.
    pub limit: i64,
}

/// The events behind a position, in an order in which no late commit is skipped: only events of
/// transactions below the oldest one still running are shown.
///
/// # Errors
/// When the query fails.
pub async fn read_log(
    conn: &mut AsyncPgConnection,
    organisation: &OrganisationId,
    after: LogPosition<'_>,
    filter: &LogFilter<'_>,
) -> Result<Vec<LoggedEvent>, DbError> {
    let query = sql_query(
        "SELECT id, organisation_id, workspace_id, type AS kind, sequence, data, xid, created_at
         FROM events
         WHERE organisation_id = $1 AND (xid, id) > ($2, $3)
           AND xid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
           AND ($4::text IS NULL OR workspace_id = $4)
           AND (cardinality($5::text[]) = 0 OR type = ANY ($5))
         ORDER BY xid, id LIMIT $6",
    )
    .bind::<Text, _>(organisation)
    .bind::<BigInt, _>(after.xid)
    .bind::<Text, _>(after.id)
    .bind::<Nullable<Text>, _>(filter.workspace)
    .bind::<Array<Text>, _>(filter.types)
    .bind::<BigInt, _>(filter.limit);
    Ok(query.load(conn).await?)
}
