//! Deliveries: one event on its way to one endpoint. The row holds the schedule.

mod attempts;
mod due;
mod log;

pub use attempts::{AttemptResult, begin_attempt, end_attempt};
pub use due::{fail_disabled, put_off, take_due, take_next};
pub use log::{AttemptLog, LogFilter, LoggedAttempt, LoggedDelivery, list, logged};

use chrono::{DateTime, TimeDelta, Utc};
use diesel::dsl::{exists, not};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Interval, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::Value;

use super::events::LoggedEvent;
use super::schema::{events, webhook_deliveries, webhook_endpoints};
use super::webhook_endpoints::{Endpoint, Pace};
use super::{DbError, Session, app_now, app_now_plus, text_enum};
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
    /// What is sent, if it is no event of the log.
    pub body: Option<Value>,
    /// How far it is.
    pub status: DeliveryStatus,
    /// How often it was tried.
    pub attempts: i32,
    /// How often it had been tried when it was last put on the schedule from its beginning.
    pub round_start: i32,
    /// When it will be tried (again).
    pub next_attempt_at: Option<DateTime<Utc>>,
}

/// Why a delivery to an endpoint that is disabled has failed.
pub const ENDPOINT_DISABLED: &str = "the endpoint is disabled";

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

/// Where so many wait at an endpoint that is not prompt, the sweep dispatches the next: how much of that goes through
/// the broker must not depend on how many events there are.
const AT_ONCE: i64 = 4;

/// Writes a delivery of `event` for every endpoint that wants to hear of it. Answers those to dispatch at once.
///
/// # Errors
/// When the query fails.
pub async fn insert_for(
    session: &mut Session,
    event: &LoggedEvent,
) -> Result<Vec<WebhookDue>, DbError> {
    let waiting = webhook_deliveries::table
        .filter(webhook_deliveries::endpoint_id.eq(webhook_endpoints::id))
        .filter(webhook_deliveries::next_attempt_at.is_not_null())
        .offset(AT_ONCE - 1);
    let is_at_once = webhook_endpoints::pace.eq(Pace::Prompt).or(not(exists(waiting)));
    let endpoints: Vec<(EndpointId, bool)> = webhook_endpoints::table
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
        .select((webhook_endpoints::id, is_at_once))
        .load(session)
        .await?;
    let mut at_once = Vec::new();
    let rows: Vec<_> = endpoints
        .into_iter()
        .map(|(endpoint, is_at_once)| {
            let id = DeliveryId::new(session.clock());
            if is_at_once {
                at_once.push(id.clone());
            }
            let patience = if is_at_once { FIRST_CHANCE } else { TimeDelta::zero() };
            (
                webhook_deliveries::id.eq(id),
                webhook_deliveries::organisation_id.eq(&event.organisation_id),
                webhook_deliveries::endpoint_id.eq(endpoint),
                webhook_deliveries::event_id.eq(&event.id),
                webhook_deliveries::event_at.eq(event.created_at),
                webhook_deliveries::status.eq(DeliveryStatus::Pending),
                webhook_deliveries::next_attempt_at.eq(app_now_plus(patience).nullable()),
                webhook_deliveries::created_at.eq(app_now()),
            )
        })
        .collect();
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    diesel::insert_into(webhook_deliveries::table).values(rows).execute(session).await?;
    let due = |id| WebhookDue { organisation_id: event.organisation_id.clone(), delivery_id: id };
    Ok(at_once.into_iter().map(due).collect())
}

/// Writes the delivery of a body that is no event of the log, to one endpoint alone.
///
/// # Errors
/// When the query fails.
pub async fn insert_test(
    session: &mut Session,
    endpoint: &Endpoint,
    event: &EventId,
    at: DateTime<Utc>,
    body: &Value,
) -> Result<WebhookDue, DbError> {
    let id = DeliveryId::new(session.clock());
    diesel::insert_into(webhook_deliveries::table)
        .values((
            webhook_deliveries::id.eq(&id),
            webhook_deliveries::organisation_id.eq(&endpoint.organisation_id),
            webhook_deliveries::endpoint_id.eq(&endpoint.id),
            webhook_deliveries::event_id.eq(event),
            webhook_deliveries::event_at.eq(at),
            webhook_deliveries::body.eq(body),
            webhook_deliveries::status.eq(DeliveryStatus::Pending),
            webhook_deliveries::next_attempt_at.eq(app_now_plus(FIRST_CHANCE).nullable()),
            webhook_deliveries::created_at.eq(app_now()),
        ))
        .execute(session)
        .await?;
    Ok(WebhookDue { organisation_id: endpoint.organisation_id.clone(), delivery_id: id })
}

/// Puts a delivery on the schedule again, from its beginning, wherever it stands. An attempt under way
/// counts as the first. `None` when the endpoint has no such delivery.
///
/// # Errors
/// When the query fails.
pub async fn restart(
    conn: &mut AsyncPgConnection,
    endpoint: &Endpoint,
    id: &DeliveryId,
) -> Result<Option<WebhookDue>, DbError> {
    let query = sql_query(
        "UPDATE webhook_deliveries SET status = 'pending', round_start = attempts, ended_at = NULL,
             next_attempt_at = CASE WHEN attempt_until > app_now() THEN next_attempt_at ELSE app_now() + $4 END
         WHERE organisation_id = $1 AND endpoint_id = $2 AND id = $3
         RETURNING organisation_id, id",
    )
    .bind::<Text, _>(&endpoint.organisation_id)
    .bind::<Text, _>(&endpoint.id)
    .bind::<Text, _>(id)
    .bind::<Interval, _>(FIRST_CHANCE);
    let due: Option<Due> = query.get_result(conn).await.optional()?;
    Ok(due.map(WebhookDue::from))
}

/// Ends a delivery that cannot be attempted.
///
/// # Errors
/// When the query fails.
pub async fn give_up(
    conn: &mut AsyncPgConnection,
    delivery: &Delivery,
    why: &str,
) -> Result<(), DbError> {
    diesel::update(webhook_deliveries::table)
        .filter(webhook_deliveries::organisation_id.eq(&delivery.organisation_id))
        .filter(webhook_deliveries::id.eq(&delivery.id))
        .filter(webhook_deliveries::status.eq(DeliveryStatus::Pending))
        .set((
            webhook_deliveries::status.eq(DeliveryStatus::Failed),
            webhook_deliveries::next_attempt_at.eq(None::<DateTime<Utc>>),
            webhook_deliveries::attempt_until.eq(None::<DateTime<Utc>>),
            webhook_deliveries::last_error.eq(why),
            webhook_deliveries::ended_at.eq(app_now().nullable()),
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

/// What a delivery carries: the public form of its event, or what it brought along; `None` when the
/// event's day was dropped.
///
/// # Errors
/// When the query fails.
pub async fn event_body(
    conn: &mut AsyncPgConnection,
    delivery: &Delivery,
) -> Result<Option<Value>, DbError> {
    if let Some(body) = &delivery.body {
        return Ok(Some(body.clone()));
    }
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
    keep: TimeDelta,
    limit: i64,
) -> Result<usize, DbError> {
    let query = sql_query(
        "DELETE FROM webhook_deliveries WHERE id IN
             (SELECT id FROM webhook_deliveries WHERE ended_at < app_now() - $1 LIMIT $2)",
    )
    .bind::<Interval, _>(keep)
    .bind::<BigInt, _>(limit);
    Ok(query.execute(conn).await?)
}
