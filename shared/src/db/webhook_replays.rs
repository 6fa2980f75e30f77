//! Replays: events behind a place in the log on their way to an endpoint again. The row says how far
//! that is; each batch moves it in its own transaction, so that a replay goes on where it was cut.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Integer, Nullable, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::events::LogPosition;
use super::webhook_endpoints::Endpoint;
use super::{DbError, Session, Yes};
use crate::ids::{DeliveryId, EndpointId, EventId, OrganisationId};

/// A replay that is not through.
#[derive(Clone, Debug, QueryableByName)]
pub struct Replay {
    /// To which endpoint.
    #[diesel(sql_type = Text)]
    pub endpoint_id: EndpointId,
    /// Whose.
    #[diesel(sql_type = Text)]
    pub organisation_id: OrganisationId,
    /// When it was asked for.
    #[diesel(sql_type = Timestamptz)]
    pub asked_at: DateTime<Utc>,
}

/// An event that is to be delivered again.
#[derive(Clone, Debug, QueryableByName)]
pub struct Replayed {
    /// Id.
    #[diesel(sql_type = Text)]
    pub id: EventId,
    /// Its epoch.
    #[diesel(sql_type = Integer)]
    pub epoch: i32,
    /// Its transaction.
    #[diesel(sql_type = BigInt)]
    pub xid: i64,
    /// When it happened.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
}

const COLUMNS: &str = "endpoint_id, organisation_id, asked_at";

/// Asks for the events behind a place that are there now. `None` while another replay of the endpoint
/// is under way.
///
/// # Errors
/// When the query fails.
pub async fn ask(
    conn: &mut AsyncPgConnection,
    endpoint: &Endpoint,
    after: &LogPosition,
) -> Result<Option<Replay>, DbError> {
    let query = sql_query(format!(
        "INSERT INTO webhook_replays
             (endpoint_id, organisation_id, after_epoch, after_xid, after_id, epoch, existing, asked_at, worked_at)
         SELECT $1, $2, $3, $4, $5, max(epoch), pg_current_snapshot()::text, app_now(), app_now() FROM event_epochs
         ON CONFLICT ON CONSTRAINT webhook_replays_pkey DO NOTHING RETURNING {COLUMNS}"
    ))
    .bind::<Text, _>(&endpoint.id)
    .bind::<Text, _>(&endpoint.organisation_id)
    .bind::<Integer, _>(after.epoch)
    .bind::<BigInt, _>(after.xid)
    .bind::<Text, _>(&after.id);
    Ok(query.get_result(conn).await.optional()?)
}

/// The replays of these endpoints.
///
/// # Errors
/// When the query fails.
pub async fn of_endpoints(
    conn: &mut AsyncPgConnection,
    organisation: &OrganisationId,
    endpoints: &[&EndpointId],
) -> Result<Vec<Replay>, DbError> {
    let query = sql_query(format!(
        "SELECT {COLUMNS} FROM webhook_replays WHERE organisation_id = $1 AND endpoint_id = ANY ($2)"
    ))
    .bind::<Text, _>(organisation)
    .bind::<Array<Text>, _>(endpoints);
    Ok(query.load(conn).await?)
}

/// Replays that are not through, the one first that waits longest for its turn. Across tenants: for the
/// sweep.
///
/// # Errors
/// When the query fails.
pub async fn open(conn: &mut AsyncPgConnection, limit: i64) -> Result<Vec<Replay>, DbError> {
    let query =
        sql_query(format!("SELECT {COLUMNS} FROM webhook_replays ORDER BY worked_at LIMIT $1"))
            .bind::<BigInt, _>(limit);
    Ok(query.load(conn).await?)
}

/// A replay, held until the transaction ends; `None` when it is through or somebody else is at it.
///
/// # Errors
/// When the query fails.
pub async fn lock(conn: &mut AsyncPgConnection, seen: &Replay) -> Result<Option<Replay>, DbError> {
    let query = sql_query(format!(
        "SELECT {COLUMNS} FROM webhook_replays WHERE organisation_id = $1 AND endpoint_id = $2
         FOR UPDATE SKIP LOCKED"
    ))
    .bind::<Text, _>(&seen.organisation_id)
    .bind::<Text, _>(&seen.endpoint_id);
    Ok(query.get_result(conn).await.optional()?)
}

/// The next events that an endpoint hears, of those that were there when the replay was asked for.
///
/// # Errors
/// When the query fails.
pub async fn next_events(
    conn: &mut AsyncPgConnection,
    replay: &Replay,
    endpoint: &Endpoint,
    limit: i64,
) -> Result<Vec<Replayed>, DbError> {
    let query = sql_query(
        "SELECT event.* FROM webhook_replays r
         CROSS JOIN generate_series(r.after_epoch, r.epoch) AS era (epoch) CROSS JOIN LATERAL (
             SELECT e.id, e.epoch, e.xid, e.created_at FROM events e
             WHERE e.organisation_id = r.organisation_id AND e.epoch = era.epoch
               AND (e.xid, e.id) > (CASE WHEN era.epoch = r.after_epoch THEN r.after_xid ELSE 0 END,
                   CASE WHEN era.epoch = r.after_epoch THEN r.after_id ELSE '' END)
               AND (e.epoch < r.epoch OR e.xid < pg_snapshot_xmax(r.existing::pg_snapshot)::text::bigint)
               AND (e.epoch < r.epoch OR pg_visible_in_snapshot(e.xid::text::xid8, r.existing::pg_snapshot))
               AND ($3::text IS NULL OR e.workspace_id = $3)
               AND (cardinality($4::text[]) = 0 OR e.type = ANY ($4))
             ORDER BY e.xid, e.id LIMIT $5) AS event
         WHERE r.organisation_id = $1 AND r.endpoint_id = $2
         ORDER BY event.epoch, event.xid, event.id LIMIT $5",
    )
    .bind::<Text, _>(&replay.organisation_id)
    .bind::<Text, _>(&replay.endpoint_id)
    .bind::<Nullable<Text>, _>(endpoint.workspace_id.as_ref())
    .bind::<Array<Text>, _>(&endpoint.event_types)
    .bind::<BigInt, _>(limit);
    Ok(query.load(conn).await?)
}

/// Puts events on their way to the endpoint again, from the beginning of the schedule. One that is being
/// sent at this moment is left alone: it is on its way.
///
/// # Errors
/// When the query fails.
pub async fn deliver(
    session: &mut Session,
    replay: &Replay,
    events: &[Replayed],
) -> Result<(), DbError> {
    let ids: Vec<DeliveryId> = events.iter().map(|_| DeliveryId::new(session.clock())).collect();
    let event_ids: Vec<&EventId> = events.iter().map(|event| &event.id).collect();
    let times: Vec<DateTime<Utc>> = events.iter().map(|event| event.created_at).collect();
    let query = sql_query(
        "INSERT INTO webhook_deliveries AS d
             (id, organisation_id, endpoint_id, event_id, event_at, status, next_attempt_at, created_at)
         SELECT one.id, $1, $2, one.event_id, one.event_at, 'pending', app_now(), app_now()
         FROM unnest($3::text[], $4::text[], $5::timestamptz[]) AS one (id, event_id, event_at)
         ON CONFLICT ON CONSTRAINT webhook_deliveries_event_key DO UPDATE
             SET status = 'pending', round_start = d.attempts, next_attempt_at = app_now(), ended_at = NULL
             WHERE d.attempt_until IS NULL OR d.attempt_until < app_now()",
    )
    .bind::<Text, _>(&replay.organisation_id)
    .bind::<Text, _>(&replay.endpoint_id)
    .bind::<Array<Text>, _>(ids)
    .bind::<Array<Text>, _>(event_ids)
    .bind::<Array<Timestamptz>, _>(times);
    query.execute(session).await?;
    Ok(())
}

/// Notes that everything up to this place was dealt with.
///
/// # Errors
/// When the query fails.
pub async fn advance(
    conn: &mut AsyncPgConnection,
    replay: &Replay,
    to: &Replayed,
) -> Result<(), DbError> {
    let query = sql_query(
        "UPDATE webhook_replays SET after_epoch = $3, after_xid = $4, after_id = $5, worked_at = app_now()
         WHERE organisation_id = $1 AND endpoint_id = $2",
    )
    .bind::<Text, _>(&replay.organisation_id)
    .bind::<Text, _>(&replay.endpoint_id)
    .bind::<Integer, _>(to.epoch)
    .bind::<BigInt, _>(to.xid)
    .bind::<Text, _>(&to.id);
    query.execute(conn).await?;
    Ok(())
}

/// Ends a replay.
///
/// # Errors
/// When the query fails.
pub async fn end(conn: &mut AsyncPgConnection, replay: &Replay) -> Result<(), DbError> {
    let query =
        sql_query("DELETE FROM webhook_replays WHERE organisation_id = $1 AND endpoint_id = $2")
            .bind::<Text, _>(&replay.organisation_id)
            .bind::<Text, _>(&replay.endpoint_id);
    query.execute(conn).await?;
    Ok(())
}

/// Lets a replay wait for its next turn; true when its endpoint has `ahead` deliveries or more to take
/// first.
///
/// # Errors
/// When the query fails.
pub async fn is_far_ahead(
    conn: &mut AsyncPgConnection,
    replay: &Replay,
    ahead: i64,
) -> Result<bool, DbError> {
    let query = sql_query(
        "UPDATE webhook_replays SET worked_at = app_now()
         WHERE organisation_id = $1 AND endpoint_id = $2
         RETURNING (SELECT count(*) FROM (SELECT FROM webhook_deliveries
             WHERE endpoint_id = $2 AND next_attempt_at IS NOT NULL LIMIT $3) AS queue) >= $3 AS yes",
    )
    .bind::<Text, _>(&replay.organisation_id)
    .bind::<Text, _>(&replay.endpoint_id)
    .bind::<BigInt, _>(ahead);
    let far: Yes = query.get_result(conn).await?;
    Ok(far.yes)
}
