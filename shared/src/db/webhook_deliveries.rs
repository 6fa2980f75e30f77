//! Deliveries: one event on its way to one endpoint. The row holds the schedule.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Interval, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::Value;

use super::events::LoggedEvent;
use super::schema::{events, webhook_deliveries, webhook_endpoints};
use super::webhook_endpoints::Endpoint;
use super::{DbError, now, now_plus, text_enum};
use crate::clock::Clock;
use crate::events::Envelope;
use crate::ids::{DeliveryId, EndpointId, EventId, OrganisationId, WorkspaceId};
use crate::messages::WebhookDue;

text_enum! {
    /// How far a delivery is.
    DeliveryStatus {
        /// It will be tried (again).
        Pending = "pending",
        /// The endpoint took it.
        Delivered = "delivered",
        /// Given up.
        Failed = "failed",
    }
}

/// A delivery.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = webhook_deliveries)]
pub struct Delivery {
    /// Id.
    pub id: DeliveryId,
    /// Whose it is.
    pub organisation_id: OrganisationId,
    /// Where to.
    pub endpoint_id: EndpointId,
    /// What.
    pub event_id: EventId,
    /// When the event happened: leads to its partition.
    pub event_at: DateTime<Utc>,
    /// How far it is.
    pub status: DeliveryStatus,
    /// How often it was tried.
    pub attempts: i32,
    /// When it will be tried (again).
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// The last HTTP status.
    pub last_status: Option<i32>,
    /// What went wrong the last time.
    pub last_error: Option<String>,
}

/// The process that wrote the event delivers at once; only after this does the sweep step in.
const FIRST_CHANCE: TimeDelta = TimeDelta::seconds(5);

#[derive(QueryableByName)]
struct Due {
    #[diesel(sql_type = Text)]
    organisation_id: OrganisationId,
    #[diesel(sql_type = Text)]
    id: DeliveryId,
}

impl From<Due> for WebhookDue {
    fn from(due: Due) -> Self {
        Self { organisation_id: due.organisation_id, delivery_id: due.id }
    }
}

/// Writes a delivery of `event` for every endpoint that wants to hear of it.
///
/// # Errors
/// When the query fails.
pub async fn insert_for(
    conn: &mut AsyncPgConnection,
    clock: &Clock,
    event: &LoggedEvent,
) -> Result<Vec<WebhookDue>, DbError> {
    let endpoints: Vec<EndpointId> = webhook_endpoints::table
        .filter(webhook_endpoints::organisation_id.eq(&event.organisation_id))
        .filter(webhook_endpoints::disabled_at.is_null())
        .filter(
            webhook_endpoints::workspace_id
                .is_null()
                .or(webhook_endpoints::workspace_id.eq(&event.workspace_id)),
        )
        .filter(
            webhook_endpoints::event_types
                .eq(Vec::<String>::new())
                .or(webhook_endpoints::event_types.contains(vec![event.kind.as_str()])),
        )
        .select(webhook_endpoints::id)
        .load(conn)
        .await?;
    let rows: Vec<_> = endpoints
        .into_iter()
        .map(|endpoint| {
            (
                webhook_deliveries::id.eq(DeliveryId::new(clock)),
                webhook_deliveries::organisation_id.eq(&event.organisation_id),
                webhook_deliveries::endpoint_id.eq(endpoint),
                webhook_deliveries::event_id.eq(&event.id),
                webhook_deliveries::event_at.eq(event.created_at),
                webhook_deliveries::status.eq(DeliveryStatus::Pending),
                webhook_deliveries::next_attempt_at.eq(now_plus(clock, FIRST_CHANCE).nullable()),
                webhook_deliveries::created_at.eq(now(clock)),
            )
        })
        .collect();
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<DeliveryId> = diesel::insert_into(webhook_deliveries::table)
        .values(rows)
        .returning(webhook_deliveries::id)
        .get_results(conn)
        .await?;
    let due = |id| WebhookDue { organisation_id: event.organisation_id.clone(), delivery_id: id };
    Ok(ids.into_iter().map(due).collect())
}

/// Takes due deliveries for dispatch, each moved 2 min ahead: a lost message comes due again.
/// Across tenants: for the sweep.
///
/// # Errors
/// When the query fails.
pub async fn take_due(
    conn: &mut AsyncPgConnection,
    clock: &Clock,
    limit: i64,
) -> Result<Vec<WebhookDue>, DbError> {
    let query = sql_query(
        "UPDATE webhook_deliveries SET next_attempt_at = moment($1) + interval '2 min'
         WHERE id IN (
             SELECT id FROM webhook_deliveries WHERE status = 'pending' AND next_attempt_at <= moment($1)
             ORDER BY next_attempt_at LIMIT $2 FOR UPDATE SKIP LOCKED)
           AND status = 'pending'
         RETURNING organisation_id, id",
    )
    .bind::<Interval, _>(clock.offset())
    .bind::<BigInt, _>(limit);
    Ok(query.load::<Due>(conn).await?.into_iter().map(WebhookDue::from).collect())
}

/// Counts an attempt before it is made, and keeps everybody else off for `lease`. `None` when the
/// delivery has ended or somebody else is at it.
///
/// # Errors
/// When the query fails.
pub async fn begin_attempt(
    conn: &mut AsyncPgConnection,
    clock: &Clock,
    delivery: &Delivery,
    lease: TimeDelta,
) -> Result<Option<i32>, DbError> {
    let row = diesel::update(webhook_deliveries::table)
        .filter(webhook_deliveries::organisation_id.eq(&delivery.organisation_id))
        .filter(webhook_deliveries::id.eq(&delivery.id))
        .filter(webhook_deliveries::status.eq(DeliveryStatus::Pending))
        .filter(
            webhook_deliveries::attempt_until
                .is_null()
                .or(webhook_deliveries::attempt_until.lt(now(clock).nullable())),
        )
        .set((
            webhook_deliveries::attempts.eq(webhook_deliveries::attempts + 1),
            webhook_deliveries::attempt_until.eq(now_plus(clock, lease).nullable()),
            webhook_deliveries::next_attempt_at.eq(now_plus(clock, lease).nullable()),
        ))
        .returning(webhook_deliveries::attempts);
    Ok(row.get_result(conn).await.optional()?)
}

/// How an attempt ended.
#[derive(Debug)]
pub struct AttemptResult<'a> {
    /// Where the delivery stands now.
    pub status: DeliveryStatus,
    /// From now to the next attempt; `None` when it has ended.
    pub next: Option<TimeDelta>,
    /// The HTTP status, if there was an answer.
    pub http_status: Option<i32>,
    /// What went wrong.
    pub error: Option<&'a str>,
}

/// Writes down how an attempt ended.
///
/// # Errors
/// When the query fails.
pub async fn end_attempt(
    conn: &mut AsyncPgConnection,
    clock: &Clock,
    delivery: &Delivery,
    result: &AttemptResult<'_>,
) -> Result<(), DbError> {
    let ended = result.status != DeliveryStatus::Pending;
    let next: Option<DateTime<Utc>> = match result.next {
        Some(after) => Some(diesel::select(now_plus(clock, after)).get_result(conn).await?),
        None => None,
    };
    diesel::update(webhook_deliveries::table)
        .filter(webhook_deliveries::organisation_id.eq(&delivery.organisation_id))
        .filter(webhook_deliveries::id.eq(&delivery.id))
        .filter(webhook_deliveries::status.eq(DeliveryStatus::Pending))
        .set((
            webhook_deliveries::status.eq(result.status),
            webhook_deliveries::next_attempt_at.eq(next),
            webhook_deliveries::attempt_until.eq(None::<DateTime<Utc>>),
            webhook_deliveries::last_status.eq(result.http_status),
            webhook_deliveries::last_error.eq(result.error),
            ended.then(|| webhook_deliveries::ended_at.eq(now(clock).nullable())),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// A delivery with its endpoint.
///
/// # Errors
/// When the query fails.
pub async fn find(
    conn: &mut AsyncPgConnection,
    organisation: &OrganisationId,
    id: &DeliveryId,
) -> Result<Option<(Delivery, Endpoint)>, DbError> {
    let row = webhook_deliveries::table
        .inner_join(webhook_endpoints::table)
        .filter(webhook_deliveries::organisation_id.eq(organisation))
        .filter(webhook_deliveries::id.eq(id))
        .select((Delivery::as_select(), Endpoint::as_select()));
    Ok(row.first(conn).await.optional()?)
}

/// The public form of the event that a delivery carries; `None` when its day was dropped.
///
/// # Errors
/// When the query fails.
pub async fn event_body(
    conn: &mut AsyncPgConnection,
    delivery: &Delivery,
) -> Result<Option<Value>, DbError> {
    type Columns = (Option<WorkspaceId>, String, Option<i64>, Value);
    let row: Option<Columns> = events::table
        .filter(events::created_at.eq(delivery.event_at))
        .filter(events::organisation_id.eq(&delivery.organisation_id))
        .filter(events::id.eq(&delivery.event_id))
        .select((events::workspace_id, events::kind, events::sequence, events::data))
        .first(conn)
        .await
        .optional()?;
    Ok(row.map(|(workspace, kind, sequence, data)| {
        let envelope = Envelope {
            id: &delivery.event_id,
            kind: &kind,
            at: delivery.event_at,
            workspace_id: workspace.as_ref(),
            sequence,
        };
        envelope.around(&data)
    }))
}

/// Deletes deliveries that ended before `keep` ago; answers how many. Across tenants: for pruning.
///
/// # Errors
/// When the query fails.
pub async fn prune(
    conn: &mut AsyncPgConnection,
    clock: &Clock,
    keep: TimeDelta,
    limit: i64,
) -> Result<usize, DbError> {
    let query = sql_query(
        "DELETE FROM webhook_deliveries WHERE id IN
             (SELECT id FROM webhook_deliveries WHERE ended_at < moment($1) - $2 LIMIT $3)",
    )
    .bind::<Interval, _>(clock.offset())
    .bind::<Interval, _>(keep)
    .bind::<BigInt, _>(limit);
    Ok(query.execute(conn).await?)
}
