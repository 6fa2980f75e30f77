//! The delivery log of an endpoint, as its owner reads it.

use chrono::{DateTime, Utc};
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::pg::{Pg, PgValue};
use diesel::sql_types::{BigInt, Integer, Jsonb, Nullable, Text, Timestamptz};
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
/// their attempts, so that the two never contradict each other.
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
        "SELECT d.id, d.event_id, coalesce(d.body->>'type', e.type) AS event_type, d.status, d.attempts,
             d.last_error, d.next_attempt_at, d.created_at, d.ended_at,
             (SELECT coalesce(jsonb_agg(to_jsonb(a) ORDER BY a.number), '[]') FROM webhook_attempts a
              WHERE a.delivery_id = d.id AND a.number > d.attempts - 20) AS log
         FROM webhook_deliveries d LEFT JOIN events e ON e.id = d.event_id AND e.created_at = d.event_at
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
    Ok(query.load(conn).await?)
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
