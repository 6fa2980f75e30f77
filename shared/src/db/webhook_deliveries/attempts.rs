//! Attempts: each has its row before anything is sent, so that one whose process died is seen, too.

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Integer, Interval, Nullable, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::{Delivery, DeliveryStatus};
use crate::db::DbError;

/// What is said of an attempt whose end nobody wrote down.
const ABANDONED: &str = "the worker was gone before it ended; the receiver may have got it";

#[derive(QueryableByName)]
struct Begun {
    #[diesel(sql_type = Integer)]
    number: i32,
}

/// Counts an attempt before it is made, and keeps everybody else off for `lease`. `None` when the
/// delivery has ended or somebody else is at it.
///
/// # Errors
/// When the query fails.
pub async fn begin_attempt(
    conn: &mut AsyncPgConnection,
    delivery: &Delivery,
    lease: TimeDelta,
) -> Result<Option<i32>, DbError> {
    let query = sql_query(
        "WITH begun AS (
             UPDATE webhook_deliveries SET attempts = attempts + 1, attempt_until = app_now() + $3,
                 next_attempt_at = app_now() + $3
             WHERE organisation_id = $1 AND id = $2 AND status = 'pending'
               AND (attempt_until IS NULL OR attempt_until < app_now())
             RETURNING id, organisation_id, attempts),
         abandoned AS (
             UPDATE webhook_attempts a SET error = $4 FROM begun
             WHERE a.delivery_id = begun.id AND a.duration_ms IS NULL AND a.error IS NULL)
         INSERT INTO webhook_attempts (delivery_id, number, organisation_id, begun_at)
         SELECT id, attempts, organisation_id, app_now() FROM begun
         RETURNING number",
    )
    .bind::<Text, _>(&delivery.organisation_id)
    .bind::<Text, _>(&delivery.id)
    .bind::<Interval, _>(lease)
    .bind::<Text, _>(ABANDONED);
    let begun: Option<Begun> = query.get_result(conn).await.optional()?;
    Ok(begun.map(|begun| begun.number))
}

/// How an attempt ended.
#[derive(Debug)]
pub struct AttemptResult<'a> {
    /// Which attempt.
    pub number: i32,
    /// Where the delivery stands now.
    pub status: DeliveryStatus,
    /// From now to the next attempt; `None` when it has ended.
    pub next: Option<TimeDelta>,
    /// How long it took, in milliseconds.
    pub duration_ms: i32,
    /// The HTTP status, if there was an answer.
    pub http_status: Option<i32>,
    /// What went wrong.
    pub error: Option<&'a str>,
    /// The beginning of what the receiver said.
    pub answer: Option<&'a str>,
}

/// Writes down how an attempt ended. The delivery moves only by its newest attempt.
///
/// # Errors
/// When the query fails.
pub async fn end_attempt(
    conn: &mut AsyncPgConnection,
    delivery: &Delivery,
    result: &AttemptResult<'_>,
) -> Result<(), DbError> {
    let query = sql_query(
        "WITH ended AS (
             UPDATE webhook_attempts SET duration_ms = $4, http_status = $5, error = $6, answer = $7
             WHERE organisation_id = $1 AND delivery_id = $2 AND number = $3)
         UPDATE webhook_deliveries SET status = $8, next_attempt_at = app_now() + $9, attempt_until = NULL,
             last_status = $5, last_error = $6,
             ended_at = CASE WHEN $8 = 'pending' THEN NULL ELSE app_now() END
         WHERE organisation_id = $1 AND id = $2 AND attempts = $3 AND status = 'pending'",
    )
    .bind::<Text, _>(&delivery.organisation_id)
    .bind::<Text, _>(&delivery.id)
    .bind::<Integer, _>(result.number)
    .bind::<Integer, _>(result.duration_ms)
    .bind::<Nullable<Integer>, _>(result.http_status)
    .bind::<Nullable<Text>, _>(result.error)
    .bind::<Nullable<Text>, _>(result.answer)
    .bind::<Text, _>(result.status)
    .bind::<Nullable<Interval>, _>(result.next);
    query.execute(conn).await?;
    Ok(())
}
