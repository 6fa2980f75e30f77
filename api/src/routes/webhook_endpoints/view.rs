//! Webhook endpoints and their deliveries as the API shows them. Never a secret.

use latchkey_shared::db::webhook_deliveries::{
    self, DeliveryStatus, LoggedAttempt, LoggedDelivery,
};
use latchkey_shared::db::webhook_endpoints::{DisabledReason, Endpoint};
use latchkey_shared::db::webhook_replays;
use latchkey_shared::events::EventType;
use latchkey_shared::ids::{DeliveryId, EndpointId, EventId, WorkspaceId};
use latchkey_shared::timestamp::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::problem::Problem;

/// A webhook endpoint, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookEndpoint)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EndpointView {
    #[schema(value_type = String, example = "whe_01JCZ5M2V8Q4T6W8Y0A2B4C6D8")]
    pub(super) id: EndpointId,
    /// Whose events it hears; null: those of every workspace.
    #[schema(value_type = Option<String>)]
    workspace_id: Option<WorkspaceId>,
    url: String,
    /// Which types it hears; empty: all.
    #[schema(value_type = Vec<EventType>)]
    event_types: Vec<String>,
    /// Until when the secret before the last rotation signs along; null: it does not.
    old_secret_until: Option<Timestamp>,
    /// Since when nothing but failure came of its deliveries; null: the last one was taken.
    failing_since: Option<Timestamp>,
    /// Since when nothing is delivered to it.
    disabled_at: Option<Timestamp>,
    /// Why: it answered 410, it failed for five days, or you wanted it so.
    disabled_reason: Option<DisabledReason>,
    /// Since when a replay is put into its queue; null: none is.
    replaying_since: Option<Timestamp>,
    created_at: Timestamp,
}

impl From<Endpoint> for EndpointView {
    fn from(row: Endpoint) -> Self {
        Self {
            id: row.id,
            workspace_id: row.workspace_id,
            url: row.url,
            event_types: row.event_types,
            old_secret_until: row.old_secret_until.map(Into::into),
            failing_since: row.failing_since.map(Into::into),
            disabled_at: row.disabled_at.map(Into::into),
            disabled_reason: row.disabled_reason,
            replaying_since: None,
            created_at: row.created_at.into(),
        }
    }
}

/// A delivery: one event on its way to one endpoint.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookDelivery)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeliveryView {
    #[schema(value_type = String, example = "dlv_01JCZ5M2V8Q4T6W8Y0A2B4C6D8")]
    id: DeliveryId,
    /// The event, and the `webhook-id` of each attempt.
    #[schema(value_type = String)]
    event_id: EventId,
    /// Its type, `webhook_endpoint.test` for a test; null once it was dropped from the event log.
    event_type: Option<String>,
    status: DeliveryStatus,
    /// When it is tried next; null once it has ended.
    next_attempt_at: Option<Timestamp>,
    /// What went wrong the last time, also where nothing was sent.
    error: Option<String>,
    created_at: Timestamp,
    /// When it was taken, or given up.
    ended_at: Option<Timestamp>,
    /// The attempts in order, the newest 20 of them.
    attempts: Vec<AttemptView>,
}

/// One attempt to deliver.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookAttempt)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AttemptView {
    /// Counts them from 1.
    number: i32,
    /// When it began.
    at: Timestamp,
    /// How long it took; null while it is under way.
    duration_ms: Option<i32>,
    /// The HTTP status, if there was an answer.
    status: Option<i32>,
    /// What went wrong; null where nothing did.
    error: Option<String>,
    /// The beginning of the answer's body, at most 1 KiB, control characters replaced.
    answer: Option<String>,
}

impl From<LoggedAttempt> for AttemptView {
    fn from(row: LoggedAttempt) -> Self {
        Self {
            number: row.number,
            at: row.begun_at.into(),
            duration_ms: row.duration_ms,
            status: row.http_status,
            error: row.error,
            answer: row.answer,
        }
    }
}

impl From<LoggedDelivery> for DeliveryView {
    fn from(row: LoggedDelivery) -> Self {
        Self {
            id: row.id,
            event_id: row.event_id,
            event_type: row.event_type,
            status: row.status,
            next_attempt_at: row.next_attempt_at.map(Into::into),
            error: row.last_error,
            created_at: row.created_at.into(),
            ended_at: row.ended_at.map(Into::into),
            attempts: row.log.0.into_iter().map(Into::into).collect(),
        }
    }
}

/// Endpoints with what is replayed to them.
pub(super) async fn with_replays(
    conn: &mut diesel_async::AsyncPgConnection,
    rows: Vec<Endpoint>,
) -> Result<Vec<EndpointView>, Problem> {
    let Some(first) = rows.first() else { return Ok(Vec::new()) };
    let ids: Vec<&EndpointId> = rows.iter().map(|row| &row.id).collect();
    let replays = webhook_replays::of_endpoints(conn, &first.organisation_id, &ids).await?;
    let view = |row: Endpoint| {
        let replay = replays.iter().find(|replay| replay.endpoint_id == row.id);
        let replaying_since = replay.map(|replay| replay.asked_at.into());
        EndpointView { replaying_since, ..row.into() }
    };
    Ok(rows.into_iter().map(view).collect())
}

/// One endpoint with what is replayed to it.
pub(super) async fn with_replay(
    conn: &mut diesel_async::AsyncPgConnection,
    row: Endpoint,
) -> Result<EndpointView, Problem> {
    let views = with_replays(conn, vec![row]).await?;
    Ok(views.into_iter().next().expect("one row makes one view"))
}

/// One delivery with its attempts.
pub(super) async fn delivery(
    conn: &mut diesel_async::AsyncPgConnection,
    endpoint: &Endpoint,
    id: &DeliveryId,
) -> Result<DeliveryView, Problem> {
    let found = webhook_deliveries::logged(conn, endpoint, id).await?;
    found.map(DeliveryView::from).ok_or_else(Problem::not_found)
}
