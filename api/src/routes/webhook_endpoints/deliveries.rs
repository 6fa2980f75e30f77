//! What was delivered to an endpoint, and what is to be delivered again.

use axum::http::StatusCode;
use latchkey_shared::db;
use latchkey_shared::db::events::{self, LogPosition};
use latchkey_shared::db::webhook_deliveries::{self, DeliveryStatus, LogFilter};
use latchkey_shared::db::webhook_replays;
use latchkey_shared::events::Envelope;
use latchkey_shared::ids::{DeliveryId, EndpointId, EventId};
use latchkey_shared::messages::Command;
use latchkey_shared::refused::{FieldError, Refused};
use latchkey_shared::work::Work;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::change::must_be_enabled;
use super::view::{self, DeliveryView, EndpointView};
use super::{find, lock};
use crate::auth::Caller;
use crate::code::Code;
use crate::idempotency::Once;
use crate::pagination::{Limit, List, PageQuery, Wanted};
use crate::problem::Problem;
use crate::routes::events as event_log;
use crate::state::App;

/// No event of the log: it is sent to one endpoint alone, whatever types that hears.
const TEST: &str = "webhook_endpoint.test";

/// Which deliveries are wanted.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeliveriesQuery {
    /// Only those that are so far.
    #[param(inline)]
    status: Option<DeliveryStatus>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
    /// How many rows at most.
    #[param(value_type = Option<i64>, minimum = 1, maximum = 200, default = 50)]
    limit: Option<Limit>,
}

/// From where on events are to be delivered again.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ReplayWebhooks)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ReplayRequest {
    /// A cursor of `GET /v1/events`, or the id of an event: every event behind it is delivered again.
    #[schema(max_length = 200)]
    after: String,
}

pub(super) async fn list(
    app: &App,
    caller: &Caller,
    id: &EndpointId,
    query: DeliveriesQuery,
) -> Result<List<DeliveryView>, Problem> {
    let page = PageQuery { cursor: query.cursor, limit: query.limit };
    let wanted = Wanted::of::<DeliveryId>(&page)?;
    let mut conn = app.conn().await?;
    let endpoint = find(&mut conn, caller, id).await?;
    let filter = LogFilter { id: None, status: query.status };
    let rows = webhook_deliveries::list(&mut conn, &endpoint, &filter, wanted.page()).await?;
    Ok(wanted.list(rows, |row| row.id.to_string(), DeliveryView::from))
}

pub(super) async fn test(
    app: &App,
    caller: &Caller,
    once: &Once,
    id: &EndpointId,
) -> Result<DeliveryView, Problem> {
    let mut work = app.store.begin().await?;
    let endpoint = lock(&mut work, caller, id).await?;
    must_be_enabled(&endpoint)?;
    let event = EventId::new(app.clock());
    let at = db::read_now(&mut work).await?;
    let envelope = Envelope {
        id: &event,
        kind: TEST,
        at,
        workspace_id: endpoint.workspace_id.as_ref(),
        sequence: None,
    };
    let data = json!({ "endpointId": endpoint.id, "url": endpoint.url });
    let body = envelope.around(&data);
    let due = webhook_deliveries::insert_test(&mut work, &endpoint, &event, at, &body).await?;
    let delivery = view::delivery(&mut work, &endpoint, &due.delivery_id).await?;
    work.nudge(Command::WebhookDue(due));
    accept(work, once, &delivery).await?;
    Ok(delivery)
}

pub(super) async fn redeliver(
    app: &App,
    caller: &Caller,
    once: &Once,
    id: &EndpointId,
    delivery: &DeliveryId,
) -> Result<DeliveryView, Problem> {
    let mut work = app.store.begin().await?;
    let endpoint = lock(&mut work, caller, id).await?;
    // Of a delivery that is not there nothing is said of the endpoint.
    view::delivery(&mut work, &endpoint, delivery).await?;
    must_be_enabled(&endpoint)?;
    let due = webhook_deliveries::restart(&mut work, &endpoint, delivery).await?;
    work.nudge(Command::WebhookDue(due.ok_or_else(Problem::not_found)?));
    let delivery = view::delivery(&mut work, &endpoint, delivery).await?;
    accept(work, once, &delivery).await?;
    Ok(delivery)
}

pub(super) async fn replay(
    app: &App,
    caller: &Caller,
    once: &Once,
    id: &EndpointId,
    request: &ReplayRequest,
) -> Result<EndpointView, Problem> {
    let mut work = app.store.begin().await?;
    let endpoint = lock(&mut work, caller, id).await?;
    let after = position(&mut work, caller, &request.after).await?;
    must_be_enabled(&endpoint)?;
    if webhook_replays::ask(&mut work, &endpoint, &after).await?.is_none() {
        return Err(Problem::new(
            Code::ReplayRunning,
            "Wait until `replayingSince` of the endpoint is null: it takes one replay at a time.",
        ));
    }
    let view = view::with_replay(&mut work, endpoint).await?;
    accept(work, once, &view).await?;
    Ok(view)
}

async fn accept(mut work: Work, once: &Once, view: &impl serde::Serialize) -> Result<(), Problem> {
    once.keep(&mut work, StatusCode::ACCEPTED, view).await?;
    Ok(work.commit().await?)
}

/// # Errors
/// `VALIDATION_FAILED` when it is neither a cursor nor an event that the key reaches.
async fn position(work: &mut Work, caller: &Caller, after: &str) -> Result<LogPosition, Problem> {
    let found = match after.parse::<EventId>() {
        Ok(event) => {
            let only = caller.workspace_id.as_ref();
            events::position_of(work, &caller.organisation_id, only, &event).await?
        }
        Err(_) => event_log::decode(after),
    };
    found.ok_or_else(|| {
        let message =
            "must be a cursor of `GET /v1/events`, or the id of an event that is in the log";
        Refused::invalid(vec![FieldError::at("/after", message)]).into()
    })
}
