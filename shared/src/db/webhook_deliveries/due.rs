//! Which deliveries get their turn: each endpoint has a queue of its own, and no more of it is taken than
//! the endpoint may have attempts open. So a long queue is nobody else's wait.

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Integer, Interval, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::Due;
use crate::db::DbError;
use crate::db::webhook_endpoints::Endpoint;
use crate::messages::WebhookDue;

/// The endpoints with something in their queues, as the first part of a recursive query: from one to the next, so that what is
/// read does not grow with how long the queues are.
const QUEUES: &str = "queues AS (
    (SELECT endpoint_id FROM webhook_deliveries WHERE next_attempt_at IS NOT NULL ORDER BY endpoint_id LIMIT 1)
    UNION ALL
    SELECT (SELECT d.endpoint_id FROM webhook_deliveries d
            WHERE d.next_attempt_at IS NOT NULL AND d.endpoint_id > q.endpoint_id ORDER BY d.endpoint_id LIMIT 1)
    FROM queues q WHERE q.endpoint_id IS NOT NULL)";

/// To so many endpoints of an organisation that are not known to be prompt one round dispatches. Most find no room,
/// and what they cost would keep other organisations' deliveries waiting.
const NOT_PROMPT: i64 = 16;

/// Takes due deliveries for dispatch, each moved 2 min ahead: a lost message comes due again. Of each
/// endpoint as many as it has room for below `cap` (one, while it is not prompt), the first of every queue
/// before the second of any. Across tenants: for the sweep.
///
/// # Errors
/// When the query fails.
pub async fn take_due(
    conn: &mut AsyncPgConnection,
    cap: i32,
    limit: i64,
) -> Result<Vec<WebhookDue>, DbError> {
    // What is due is looked at again behind the lock, in words that only a look at the row can answer.
    let query = sql_query(format!(
        "WITH RECURSIVE {QUEUES}, room AS (
             SELECT e.id, e.pace = 'prompt' AS is_prompt,
                 row_number() OVER (PARTITION BY e.organisation_id, e.pace = 'prompt' ORDER BY random()) AS turn,
                 CASE e.pace WHEN 'prompt' THEN $1 ELSE 1 END - (SELECT count(*) FROM webhook_deliveries d
                    WHERE d.endpoint_id = e.id AND d.attempt_until > app_now()) AS free
             FROM queues JOIN webhook_endpoints e ON e.id = queues.endpoint_id
             WHERE e.disabled_at IS NULL),
         fair AS (
             SELECT first.id FROM room CROSS JOIN LATERAL (
                 SELECT d.id, d.next_attempt_at, row_number() OVER (ORDER BY d.next_attempt_at, d.id) AS place
                 FROM webhook_deliveries d
                 WHERE d.endpoint_id = room.id AND d.next_attempt_at <= app_now()
                 ORDER BY d.next_attempt_at, d.id LIMIT greatest(room.free, 0)) first
             WHERE room.is_prompt OR room.turn <= $3
             ORDER BY first.place, first.next_attempt_at LIMIT $2)
         UPDATE webhook_deliveries SET next_attempt_at = app_now() + interval '2 min'
         WHERE id IN (
             SELECT id FROM webhook_deliveries WHERE id IN (SELECT id FROM fair)
                 AND coalesce(next_attempt_at, 'infinity') <= app_now() FOR UPDATE SKIP LOCKED)
           AND status = 'pending'
         RETURNING organisation_id, id",
    ))
    .bind::<Integer, _>(cap)
    .bind::<BigInt, _>(limit)
    .bind::<BigInt, _>(NOT_PROMPT);
    Ok(query.load::<Due>(conn).await?.into_iter().map(WebhookDue::from).collect())
}

/// The next of an endpoint's queue, if one is due: for who has just made room.
///
/// # Errors
/// When the query fails.
pub async fn take_next(
    conn: &mut AsyncPgConnection,
    endpoint: &Endpoint,
) -> Result<Option<WebhookDue>, DbError> {
    let query = sql_query(
        "UPDATE webhook_deliveries SET next_attempt_at = app_now() + interval '2 min'
         WHERE status = 'pending' AND id = (
             SELECT id FROM webhook_deliveries
             WHERE organisation_id = $1 AND endpoint_id = $2 AND next_attempt_at <= app_now()
             ORDER BY next_attempt_at LIMIT 1 FOR UPDATE SKIP LOCKED)
         RETURNING organisation_id, id",
    )
    .bind::<Text, _>(&endpoint.organisation_id)
    .bind::<Text, _>(&endpoint.id);
    let due: Option<Due> = query.get_result(conn).await.optional()?;
    Ok(due.map(WebhookDue::from))
}

/// Puts a delivery back into its endpoint's queue without an attempt, unless one is under way.
///
/// # Errors
/// When the query fails.
pub async fn put_off(
    conn: &mut AsyncPgConnection,
    delivery: &WebhookDue,
    by: TimeDelta,
) -> Result<(), DbError> {
    let query = sql_query(
        "UPDATE webhook_deliveries SET next_attempt_at = app_now() + $3
         WHERE organisation_id = $1 AND id = $2 AND status = 'pending'
           AND (attempt_until IS NULL OR attempt_until < app_now())",
    )
    .bind::<Text, _>(&delivery.organisation_id)
    .bind::<Text, _>(&delivery.delivery_id)
    .bind::<Interval, _>(by);
    query.execute(conn).await?;
    Ok(())
}

/// Ends what waits for endpoints that are disabled or were deleted; answers how many. Across tenants: for the sweep.
///
/// # Errors
/// When the query fails.
pub async fn fail_disabled(conn: &mut AsyncPgConnection, limit: i64) -> Result<usize, DbError> {
    let query = sql_query(format!(
        "WITH RECURSIVE {QUEUES}
         UPDATE webhook_deliveries SET status = 'failed', next_attempt_at = NULL, attempt_until = NULL,
             last_error = $2, ended_at = app_now()
         WHERE status = 'pending' AND id IN (
             SELECT waiting.id FROM queues LEFT JOIN webhook_endpoints e ON e.id = queues.endpoint_id
             CROSS JOIN LATERAL (
                 SELECT d.id FROM webhook_deliveries d
                 WHERE d.endpoint_id = queues.endpoint_id AND d.next_attempt_at IS NOT NULL
                   AND (d.attempt_until IS NULL OR d.attempt_until < app_now())
                 LIMIT $1 FOR UPDATE SKIP LOCKED) AS waiting
             WHERE e.id IS NULL OR e.disabled_at IS NOT NULL LIMIT $1)",
    ))
    .bind::<BigInt, _>(limit)
    .bind::<Text, _>(super::ENDPOINT_DISABLED);
    Ok(query.execute(conn).await?)
}
