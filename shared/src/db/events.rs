//! The event log.

mod heads;
mod horizon;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Integer, Jsonb, Nullable, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::Value;

pub use heads::{EventHead, heads};
pub use horizon::{OpenWriter, horizon, oldest_writer};

use super::{DbError, Session, around};
use crate::events::{Envelope, NewEvent, Scope};
use crate::ids::{AccountId, EventId, OrganisationId, WorkspaceId};

/// An event as the log holds it.
#[derive(Clone, Debug, QueryableByName)]
pub struct LoggedEvent {
    /// Id.
    #[diesel(sql_type = Text)]
    pub id: EventId,
    /// Whose it is.
    #[diesel(sql_type = Text)]
    pub organisation_id: OrganisationId,
    /// Where it happened; `None`: to the organisation.
    #[diesel(sql_type = Nullable<Text>)]
    pub workspace_id: Option<WorkspaceId>,
    /// What happened.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// Counts the events of one account.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub sequence: Option<i64>,
    /// What the type's schema lists.
    #[diesel(sql_type = Jsonb)]
    pub data: Value,
    /// Since the database was restored for how many times.
    #[diesel(sql_type = Integer)]
    pub epoch: i32,
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
        let envelope = Envelope {
            id: &self.id,
            kind: &self.kind,
            at: self.created_at,
            workspace_id: self.workspace_id.as_ref(),
            sequence: self.sequence,
        };
        envelope.around(&self.data)
    }

    /// Where it stands in the log.
    #[must_use]
    pub fn position(&self) -> LogPosition {
        LogPosition { epoch: self.epoch, xid: self.xid, id: self.id.to_string() }
    }

    /// The AMQP routing key: whose it is, and its type.
    #[must_use]
    pub fn routing_key(&self) -> String {
        let whose = self.workspace_id.as_ref().map(WorkspaceId::as_str);
        format!("{}.{}", whose.unwrap_or(self.organisation_id.as_str()), self.kind)
    }
}

/// Writes an event. One that happened to an account is numbered, and stands in the account's history,
/// too, which has refreshes from elsewhere. The number comes from the account's row, whose lock the
/// transaction then holds.
///
/// # Errors
/// When the query fails.
pub async fn insert(session: &mut Session, event: &NewEvent) -> Result<LoggedEvent, DbError> {
    let (workspace, organisation) = match &event.scope {
        Scope::Workspace(workspace) => (Some(workspace), None),
        Scope::Organisation(organisation) => (None, Some(organisation)),
    };
    let data = serde_json::to_value(&event.data).expect("events are always JSON");
    let query = sql_query(
        "WITH numbered AS (
             UPDATE accounts SET event_sequence = event_sequence + 1
             WHERE workspace_id = $2 AND id = $4
             RETURNING event_sequence),
         remembered AS (
             INSERT INTO account_history (workspace_id, account_id, type, data, created_at)
             SELECT $2, $4, $3, $5, app_now() FROM numbered WHERE $3 <> 'account.refreshed')
         INSERT INTO events
             (id, organisation_id, workspace_id, type, account_id, sequence, data, created_at, epoch)
         SELECT $1, organisation_id, $2, $3, $4, (SELECT event_sequence FROM numbered), $5, app_now(),
             (SELECT max(epoch) FROM event_epochs)
         FROM (SELECT organisation_id FROM workspaces WHERE id = $2
               UNION ALL SELECT $6 WHERE $6 IS NOT NULL) AS owner
         RETURNING id, organisation_id, workspace_id, type AS kind, sequence, data, epoch, xid, created_at",
    )
    .bind::<Text, _>(EventId::new(session.clock()))
    .bind::<Nullable<Text>, _>(workspace)
    .bind::<Text, _>(event.data.kind())
    .bind::<Nullable<Text>, _>(event.data.account_id())
    .bind::<Jsonb, _>(&data)
    .bind::<Nullable<Text>, _>(organisation);
    Ok(query.get_result(session).await?)
}

/// Begins an epoch if this is another server than the one that wrote the log so far: a dump was restored
/// into it, or a backup was rolled forward. There transaction ids begin anew, or fall back behind what
/// readers have seen. Called by every process before it begins.
///
/// # Errors
/// When the query fails.
pub async fn begin_epoch(conn: &mut AsyncPgConnection) -> Result<(), DbError> {
    let query = sql_query(
        "INSERT INTO event_epochs (epoch, cluster, started_at)
         SELECT last.epoch + 1, here.cluster, app_now()
         FROM (SELECT epoch, cluster FROM event_epochs ORDER BY epoch DESC LIMIT 1) AS last,
              (SELECT s.system_identifier || '/' || c.timeline_id AS cluster
               FROM pg_control_system() s, pg_control_checkpoint() c) AS here
         WHERE last.cluster <> here.cluster
         ON CONFLICT ON CONSTRAINT event_epochs_pkey DO NOTHING",
    );
    if query.execute(conn).await? > 0 {
        tracing::warn!("the database was restored: the event log goes on in a new epoch");
    }
    Ok(())
}

/// A place in the log: behind this event.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct LogPosition {
    /// Its epoch.
    pub epoch: i32,
    /// Its transaction.
    pub xid: i64,
    /// Its id; empty: before all of the transaction's.
    pub id: String,
}

impl LogPosition {
    /// The place before everything.
    #[must_use]
    pub fn start() -> Self {
        Self { epoch: 0, xid: 0, id: String::new() }
    }
}

/// Which events a reader wants.
#[derive(Debug)]
pub struct LogFilter<'a> {
    /// Of this workspace only.
    pub workspace: Option<&'a WorkspaceId>,
    /// Of this account only.
    pub account: Option<&'a AccountId>,
    /// Of these types only; empty: all.
    pub types: &'a [String],
    /// How many at most.
    pub limit: i64,
}

/// The events behind a place and before the [`horizon`], in the log's order, in which no late commit is
/// skipped. Epoch by epoch, since the planner takes a comparison that begins with the epoch for one that few rows
/// pass, and sorts the whole log; and from a day before the place, since an event with a later place was made a
/// transaction's length earlier at most.
///
/// # Errors
/// When the query fails.
pub async fn read_log(
    conn: &mut AsyncPgConnection,
    organisation: &OrganisationId,
    after: &LogPosition,
    before: &LogPosition,
    filter: &LogFilter<'_>,
) -> Result<Vec<LoggedEvent>, DbError> {
    let query = sql_query(
        "SELECT event.* FROM generate_series($2, $5) AS era (epoch) CROSS JOIN LATERAL (
             SELECT id, organisation_id, workspace_id, type AS kind, sequence, data, e.epoch, xid, created_at
             FROM events e
             WHERE organisation_id = $1 AND e.epoch = era.epoch
               AND (xid, id) > (CASE WHEN e.epoch = $2 THEN $3 ELSE 0 END, CASE WHEN e.epoch = $2 THEN $4 ELSE '' END)
               AND xid < CASE WHEN e.epoch = $5 THEN $6 ELSE 9223372036854775807 END
               AND created_at >= $11
               AND ($7::text IS NULL OR workspace_id = $7)
               AND ($8::text IS NULL OR account_id = $8)
               AND (cardinality($9::text[]) = 0 OR type = ANY ($9))
             ORDER BY xid, id LIMIT $10) AS event
         ORDER BY epoch, xid, id LIMIT $10",
    )
    .bind::<Text, _>(organisation)
    .bind::<Integer, _>(after.epoch)
    .bind::<BigInt, _>(after.xid)
    .bind::<Text, _>(&after.id)
    .bind::<Integer, _>(before.epoch)
    .bind::<BigInt, _>(before.xid)
    .bind::<Nullable<Text>, _>(filter.workspace)
    .bind::<Nullable<Text>, _>(filter.account)
    .bind::<Array<Text>, _>(filter.types)
    .bind::<BigInt, _>(filter.limit)
    .bind::<Timestamptz, _>(around(&after.id, TimeDelta::days(1)).0);
    Ok(query.load(conn).await?)
}

/// The place of an event in the log; `None` when its day was dropped, or a key that reaches one workspace
/// alone does not reach it.
///
/// # Errors
/// When the query fails.
pub async fn position_of(
    conn: &mut AsyncPgConnection,
    organisation: &OrganisationId,
    only: Option<&WorkspaceId>,
    id: &EventId,
) -> Result<Option<LogPosition>, DbError> {
    let query = sql_query(
        "SELECT id, organisation_id, workspace_id, type AS kind, sequence, data, epoch, xid, created_at
         FROM events WHERE organisation_id = $1 AND id = $2 AND ($3::text IS NULL OR workspace_id = $3)
             AND created_at BETWEEN $4 AND $5",
    )
    .bind::<Text, _>(organisation)
    .bind::<Text, _>(id)
    .bind::<Nullable<Text>, _>(only)
    .bind::<Timestamptz, _>(around(id.as_str(), TimeDelta::days(1)).0)
    .bind::<Timestamptz, _>(around(id.as_str(), TimeDelta::days(1)).1);
    let found: Option<LoggedEvent> = query.get_result(conn).await.optional()?;
    Ok(found.map(|event| event.position()))
}
