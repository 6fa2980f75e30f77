//! The delivery log of an endpoint, as its owner reads it.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::pg::{Pg, PgValue};
use diesel::sql_types::{Array, BigInt, Integer, Jsonb, Nullable, Text, Timestamptz};
use diesel::{QueryableByName, sql_query};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::Deserialize;

use super::DeliveryStatus;
use crate::db::webhook_endpoints::Endpoint;
use crate::db::{DbError, Page};
use crate::ids::{DeliveryId, EventId};

/// A delivery with the type of what it carries.
#[derive(Clone, Debug, QueryableByName)]
pub struct LoggedDelivery {
    /// Id.
    #[diesel(sql_type = Text)]
    pub id: DeliveryId,
    /// What is delivered.
    #[diesel(sql_type = Text)]
    pub event_id: EventId,
    /// When the event was written.
    #[diesel(sql_type = Timestamptz)]
    event_at: DateTime<Utc>,
    /// Its type; `None` when its day was dropped from the log.
    #[diesel(sql_type = Nullable<Text>)]
    pub event_type: Option<String>,
    /// How far it is.
    #[diesel(sql_type = Text)]
    pub status: DeliveryStatus,
    /// How often it was tried.
    #[diesel(sql_type = Integer)]
    pub attempts: i32,
    /// What went wrong the last time.
    #[diesel(sql_type = Nullable<Text>)]
    pub last_error: Option<String>,
    /// When it will be tried (again).
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// When it was written.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
    /// When it was delivered or given up.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub ended_at: Option<DateTime<Utc>>,
    /// The newest attempts.
    #[diesel(sql_type = Jsonb)]
    pub log: AttemptLog,
}

/// Attempts in order, at most 20 of them.
#[derive(Clone, Debug, Deserialize, FromSqlRow)]
pub struct AttemptLog(pub Vec<LoggedAttempt>);

impl FromSql<Jsonb, Pg> for AttemptLog {
    fn from_sql(bytes: PgValue<'_>) -> deserialize::Result<Self> {
        Ok(serde_json::from_value(FromSql::<Jsonb, Pg>::from_sql(bytes)?)?)
    }
}

/// One attempt.
#[derive(Clone, Debug, Deserialize)]
pub struct LoggedAttempt {
    /// Counts them from 1.
    pub number: i32,
    /// When it began.
    pub begun_at: DateTime<Utc>,
    /// How long it took; `None` while it is under way.
    pub duration_ms: Option<i32>,
    /// The HTTP status.
    pub http_status: Option<i32>,
    /// What went wrong.
    pub error: Option<String>,
    /// The beginning of what the receiver said.
    pub answer: Option<String>,
}

/// Which deliveries a reader wants.
#[derive(Debug, Default)]
pub struct LogFilter<'a> {
    /// This one alone.
    pub id: Option<&'a DeliveryId>,
    /// Those that are so far.
    pub status: Option<DeliveryStatus>,
}

/// The deliveries of an endpoint, newest first: those before `page.after`. One statement brings them with
/// their attempts, so that the two never contradict each other; an event's type never changes.
///
/// # Errors
/// When the query fails.
pub async fn list(
    conn: &mut AsyncPgConnection,
    endpoint: &Endpoint,
    filter: &LogFilter<'_>,
    page: Page<'_>,
) -> Result<Vec<LoggedDelivery>, DbError> {
    let query = sql_query(
        "SELECT d.id, d.event_id, d.event_at, d.body->>'type' AS event_type, d.status, d.attempts,
             d.last_error, d.next_attempt_at, d.created_at, d.ended_at,
             (SELECT coalesce(jsonb_agg(to_jsonb(a) ORDER BY a.number), '[]') FROM webhook_attempts a
              WHERE a.delivery_id = d.id AND a.number > d.attempts - 20) AS log
         FROM webhook_deliveries d
         WHERE d.organisation_id = $1 AND d.endpoint_id = $2 AND ($3::text IS NULL OR d.id < $3)
           AND ($4::text IS NULL OR d.id = $4) AND ($5::text IS NULL OR d.status = $5)
         ORDER BY d.id DESC LIMIT $6",
    )
    .bind::<Text, _>(&endpoint.organisation_id)
    .bind::<Text, _>(&endpoint.id)
    .bind::<Nullable<Text>, _>(page.after)
    .bind::<Nullable<Text>, _>(filter.id)
    .bind::<Nullable<Text>, _>(filter.status)
    .bind::<BigInt, _>(page.limit);
    let mut found = query.load(conn).await?;
    name_types(conn, endpoint, &mut found).await?;
    Ok(found)
}

#[derive(QueryableByName)]
struct EventType {
    #[diesel(sql_type = Text)]
    id: EventId,
    #[diesel(sql_type = Text)]
    kind: String,
}

/// Reads the types of the events from the log. The range of their times comes as values, so that PostgreSQL opens the days
/// between them alone; joined to the deliveries, it would open every day that is kept. The limit keeps it from reading such a
/// day as a whole.
async fn name_types(
    conn: &mut AsyncPgConnection,
    endpoint: &Endpoint,
    deliveries: &mut [LoggedDelivery],
) -> Result<(), DbError> {
    let unnamed = deliveries.iter().filter(|one| one.event_type.is_none());
    let (ids, times): (Vec<&EventId>, Vec<_>) =
        unnamed.map(|one| (&one.event_id, one.event_at)).unzip();
    let (Some(first), Some(last)) = (times.iter().min(), times.iter().max()) else {
        return Ok(());
    };
    let query = sql_query(
        "SELECT e.id, e.kind FROM unnest($1, $2) AS one (id, at) CROSS JOIN LATERAL (
             SELECT id, type AS kind FROM events
             WHERE organisation_id = $3 AND id = one.id AND created_at = one.at AND created_at BETWEEN $4 AND $5
             LIMIT 1
         ) e",
    )
    .bind::<Array<Text>, _>(&ids)
    .bind::<Array<Timestamptz>, _>(&times)
    .bind::<Text, _>(&endpoint.organisation_id)
    .bind::<Timestamptz, _>(first)
    .bind::<Timestamptz, _>(last);
    let rows: Vec<EventType> = query.load(conn).await?;
    let types: HashMap<_, _> = rows.into_iter().map(|one| (one.id, one.kind)).collect();
    for delivery in deliveries.iter_mut().filter(|one| one.event_type.is_none()) {
        delivery.event_type = types.get(&delivery.event_id).cloned();
    }
    Ok(())
}

/// One delivery of an endpoint.
///
/// # Errors
/// When the query fails.
pub async fn logged(
    conn: &mut AsyncPgConnection,
    endpoint: &Endpoint,
    id: &DeliveryId,
) -> Result<Option<LoggedDelivery>, DbError> {
    let filter = LogFilter { id: Some(id), status: None };
    let found = list(conn, endpoint, &filter, Page { after: None, limit: 1 }).await?;
    Ok(found.into_iter().next())
}
