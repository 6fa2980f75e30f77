//! `/v1/webhook-endpoints`. The signing secret is shown once, when it is made.

mod change;
mod deliveries;
mod secret;
mod url;
mod view;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use diesel_async::AsyncPgConnection;
use latchkey_shared::db::organisations;
use latchkey_shared::db::webhook_endpoints::{self, Endpoint, NewEndpoint};
use latchkey_shared::events::EventType;
use latchkey_shared::ids::{DeliveryId, EndpointId, WorkspaceId};
use latchkey_shared::net_guard::NetGuard;
use latchkey_shared::work::Work;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub(crate) use change::UpdateEndpoint;
pub(crate) use deliveries::{DeliveriesQuery, ReplayRequest};
pub(crate) use secret::RotatedSecret;
pub(crate) use view::{DeliveryView, EndpointView};

use crate::auth::{Admin, Caller};
use crate::code::Code;
use crate::extract::{Ids, JsonBody, Params};
use crate::idempotency::Once;
use crate::pagination::{List, PageQuery, Wanted};
use crate::problem::{Problem, ProblemBody};
use crate::state::App;
use crate::validate::Checks;

/// Endpoints of one organisation: each event has a delivery for each that hears it.
const MAX_ENDPOINTS: i64 = 200;
/// Far more than there are.
const MAX_TYPES: usize = 100;

/// A new webhook endpoint with its secret, shown this once.
#[derive(Serialize, ToSchema)]
#[schema(as = CreatedWebhookEndpoint)]
pub(crate) struct CreatedEndpoint {
    #[serde(flatten)]
    about: EndpointView,
    /// What deliveries are signed with (Standard Webhooks). It cannot be shown again.
    #[schema(example = "whsec_…")]
    secret: String,
}

/// A webhook endpoint to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = CreateWebhookEndpoint)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CreateEndpoint {
    /// Where it is: https, or http on a loopback address that the operator allows.
    #[schema(max_length = 2048)]
    url: String,
    /// Whose events it shall hear; a key that is limited to a workspace implies it.
    #[schema(value_type = Option<String>)]
    workspace_id: Option<WorkspaceId>,
    /// Which types it shall hear; empty: all.
    #[serde(default)]
    #[schema(value_type = Vec<EventType>)]
    event_types: Vec<String>,
}

impl CreateEndpoint {
    fn check(mut self, guard: &NetGuard) -> Result<Self, Problem> {
        let mut checks = Checks::default();
        match url::check(&self.url, guard) {
            Ok(url) => self.url = url.into(),
            Err(message) => checks.wrong("/url", message),
        }
        check_types(&mut checks, &mut self.event_types);
        checks.finish()?;
        Ok(self)
    }
}

/// Each must be a type; twice is as good as once.
fn check_types(checks: &mut Checks, types: &mut Vec<String>) {
    checks.elements("/eventTypes", MAX_TYPES, types, |word| {
        EventType::of(word).is_none().then(|| "names no event type".to_owned())
    });
    types.sort_unstable();
    types.dedup();
}

async fn find(
    conn: &mut AsyncPgConnection,
    caller: &Caller,
    id: &EndpointId,
) -> Result<Endpoint, Problem> {
    let only = caller.workspace_id.as_ref();
    let found = webhook_endpoints::find(conn, &caller.organisation_id, only, id).await?;
    found.ok_or_else(Problem::not_found)
}

async fn lock(work: &mut Work, caller: &Caller, id: &EndpointId) -> Result<Endpoint, Problem> {
    let only = caller.workspace_id.as_ref();
    let found = webhook_endpoints::lock(work, &caller.organisation_id, only, id).await?;
    found.ok_or_else(Problem::not_found)
}

/// # Errors
/// `TOO_MANY_WEBHOOK_ENDPOINTS`.
async fn make_room(work: &mut Work, caller: &Caller) -> Result<(), Problem> {
    organisations::lock(work, &caller.organisation_id).await?;
    if webhook_endpoints::count(work, &caller.organisation_id).await? < MAX_ENDPOINTS {
        return Ok(());
    }
    let detail = format!("Delete one first: an organisation has at most {MAX_ENDPOINTS}.");
    Err(Problem::new(Code::TooManyWebhookEndpoints, detail))
}

async fn make(
    app: &App,
    caller: &Caller,
    once: &Once,
    new: CreateEndpoint,
) -> Result<CreatedEndpoint, Problem> {
    let new = new.check(&app.net_guard)?;
    let mut work = app.store.begin().await?;
    let workspace = caller.place(&mut work, new.workspace_id).await?;
    make_room(&mut work, caller).await?;
    let organisation = &caller.organisation_id;
    let id = EndpointId::new(app.clock());
    let aad = webhook_endpoints::secret_aad(organisation, &id, 0);
    let (secret, sealed) = secret::make(&mut work, aad).await?;
    let row = NewEndpoint {
        id: id.clone(),
        organisation_id: organisation,
        workspace_id: workspace.as_ref(),
        url: &new.url,
        event_types: &new.event_types,
        sealed_secret: &sealed,
    };
    let about = webhook_endpoints::insert(&mut work, &row).await?;
    let created = CreatedEndpoint { about: about.into(), secret };
    once.keep(&mut work, StatusCode::CREATED, &created).await?;
    work.commit().await?;
    Ok(created)
}

/// Make a webhook endpoint.
#[utoipa::path(
    post, path = "/v1/webhook-endpoints", tag = "webhook-endpoints", operation_id = "createWebhookEndpoint",
    security(("apiKey" = ["admin"])),
    request_body = CreateEndpoint,
    responses(
        (status = CREATED, description = "The endpoint with its secret, shown this once", body = CreatedEndpoint),
        (status = NOT_FOUND, description = "`WORKSPACE_NOT_FOUND`", body = ProblemBody, content_type = "application/problem+json"),
        (status = CONFLICT, description = "`TOO_MANY_WEBHOOK_ENDPOINTS`", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn create(
    Admin(caller): Admin,
    State(app): State<Arc<App>>,
    once: Once,
    JsonBody(new): JsonBody<CreateEndpoint>,
) -> Result<(StatusCode, Json<CreatedEndpoint>), Problem> {
    let created = make(&app, &caller, &once, new).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

/// List the webhook endpoints.
#[utoipa::path(
    get, path = "/v1/webhook-endpoints", tag = "webhook-endpoints", operation_id = "listWebhookEndpoints",
    security(("apiKey" = ["admin"])),
    params(PageQuery),
    responses((status = OK, description = "A page of endpoints, without secrets", body = List<EndpointView>)),
)]
pub(crate) async fn list(
    Admin(caller): Admin,
    State(app): State<Arc<App>>,
    Params(query): Params<PageQuery>,
) -> Result<Json<List<EndpointView>>, Problem> {
    let wanted = Wanted::of::<EndpointId>(&query)?;
    let mut conn = app.conn().await?;
    let only = caller.workspace_id.as_ref();
    let organisation = &caller.organisation_id;
    let rows = webhook_endpoints::list(&mut conn, organisation, only, wanted.page()).await?;
    let rows = view::with_replays(&mut conn, rows).await?;
    Ok(Json(wanted.list(rows, |row| row.id.to_string(), |row| row)))
}

/// Delete a webhook endpoint with everything that waits for it.
#[utoipa::path(
    delete, path = "/v1/webhook-endpoints/{whe}", tag = "webhook-endpoints", operation_id = "deleteWebhookEndpoint",
    security(("apiKey" = ["admin"])),
    params(("whe" = String, Path, description = "The endpoint")),
    responses((status = NO_CONTENT, description = "Deleted")),
)]
pub(crate) async fn delete(
    Admin(caller): Admin,
    State(app): State<Arc<App>>,
    Ids(id): Ids<EndpointId>,
) -> Result<StatusCode, Problem> {
    let mut conn = app.conn().await?;
    let only = caller.workspace_id.as_ref();
    if webhook_endpoints::delete(&mut conn, &caller.organisation_id, only, &id).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::not_found())
    }
}

/// Get a webhook endpoint.
#[utoipa::path(
    get, path = "/v1/webhook-endpoints/{whe}", tag = "webhook-endpoints", operation_id = "getWebhookEndpoint",
    security(("apiKey" = ["admin"])),
    params(("whe" = String, Path, description = "The endpoint")),
    responses((status = OK, description = "The endpoint, without its secret", body = EndpointView)),
)]
pub(crate) async fn get(
    Admin(caller): Admin,
    State(app): State<Arc<App>>,
    Ids(id): Ids<EndpointId>,
) -> Result<Json<EndpointView>, Problem> {
    let mut conn = app.conn().await?;
    let found = find(&mut conn, &caller, &id).await?;
    view::with_replay(&mut conn, found).await.map(Json)
}

/// Change a webhook endpoint, disable it, or enable it again.
#[utoipa::path(
    patch, path = "/v1/webhook-endpoints/{whe}", tag = "webhook-endpoints", operation_id = "updateWebhookEndpoint",
    security(("apiKey" = ["admin"])),
    params(("whe" = String, Path, description = "The endpoint")),
    request_body = UpdateEndpoint,
    responses((status = OK, description = "The endpoint as it is now", body = EndpointView)),
)]
pub(crate) async fn update(
    Admin(caller): Admin,
    State(app): State<Arc<App>>,
    Ids(id): Ids<EndpointId>,
    JsonBody(wanted): JsonBody<UpdateEndpoint>,
) -> Result<Json<EndpointView>, Problem> {
    change::run(&app, &caller, &id, wanted).await.map(Json)
}

/// Make a new signing secret. For 24 h the one before signs along, in the same header; one that is older
/// still signs no more.
#[utoipa::path(
    post, path = "/v1/webhook-endpoints/{whe}/rotate-secret", tag = "webhook-endpoints", operation_id = "rotateWebhookSecret",
    security(("apiKey" = ["admin"])),
    params(("whe" = String, Path, description = "The endpoint")),
    responses((status = OK, description = "The secret, shown this once", body = RotatedSecret)),
)]
pub(crate) async fn rotate_secret(
    Admin(caller): Admin,
    State(app): State<Arc<App>>,
    Ids(id): Ids<EndpointId>,
    once: Once,
) -> Result<Json<RotatedSecret>, Problem> {
    secret::rotate(&app, &caller, &once, &id).await.map(Json)
}

/// Send a test: an event of type `webhook_endpoint.test` to this endpoint alone, whatever types it hears.
/// It is in no event log, and not on RabbitMQ.
#[utoipa::path(
    post, path = "/v1/webhook-endpoints/{whe}/test", tag = "webhook-endpoints", operation_id = "testWebhookEndpoint",
    security(("apiKey" = ["admin"])),
    params(("whe" = String, Path, description = "The endpoint")),
    responses(
        (status = ACCEPTED, description = "The delivery; the list of deliveries shows what came of it", body = DeliveryView),
        (status = CONFLICT, description = "`ENDPOINT_DISABLED`", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn test(
    Admin(caller): Admin,
    State(app): State<Arc<App>>,
    Ids(id): Ids<EndpointId>,
    once: Once,
) -> Result<(StatusCode, Json<DeliveryView>), Problem> {
    Ok((StatusCode::ACCEPTED, Json(deliveries::test(&app, &caller, &once, &id).await?)))
}

/// List the deliveries of a webhook endpoint with their attempts, newest first. Those that ended are kept
/// for 30 days.
#[utoipa::path(
    get, path = "/v1/webhook-endpoints/{whe}/deliveries", tag = "webhook-endpoints", operation_id = "listWebhookDeliveries",
    security(("apiKey" = ["admin"])),
    params(("whe" = String, Path, description = "The endpoint"), DeliveriesQuery),
    responses((status = OK, description = "A page of deliveries, newest first", body = List<DeliveryView>)),
)]
pub(crate) async fn list_deliveries(
    Admin(caller): Admin,
    State(app): State<Arc<App>>,
    Ids(id): Ids<EndpointId>,
    Params(query): Params<DeliveriesQuery>,
) -> Result<Json<List<DeliveryView>>, Problem> {
    deliveries::list(&app, &caller, &id, query).await.map(Json)
}

/// Deliver again, at once, and on the schedule from its beginning; also what was taken.
#[utoipa::path(
    post, path = "/v1/webhook-endpoints/{whe}/deliveries/{dlv}/redeliver", tag = "webhook-endpoints", operation_id = "redeliverWebhook",
    security(("apiKey" = ["admin"])),
    params(("whe" = String, Path, description = "The endpoint"), ("dlv" = String, Path, description = "The delivery")),
    responses(
        (status = ACCEPTED, description = "The delivery as it is now", body = DeliveryView),
        (status = CONFLICT, description = "`ENDPOINT_DISABLED`", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn redeliver(
    Admin(caller): Admin,
    State(app): State<Arc<App>>,
    Ids((id, delivery)): Ids<(EndpointId, DeliveryId)>,
    once: Once,
) -> Result<(StatusCode, Json<DeliveryView>), Problem> {
    Ok((
        StatusCode::ACCEPTED,
        Json(deliveries::redeliver(&app, &caller, &once, &id, &delivery).await?),
    ))
}

/// Deliver again every event behind a place in the event log that the endpoint hears and that is there
/// now. The events keep their ids: a receiver that has seen one sees it again.
#[utoipa::path(
    post, path = "/v1/webhook-endpoints/{whe}/replay", tag = "webhook-endpoints", operation_id = "replayWebhooks",
    security(("apiKey" = ["admin"])),
    params(("whe" = String, Path, description = "The endpoint")),
    request_body = ReplayRequest,
    responses(
        (status = ACCEPTED, description = "The endpoint; `replayingSince` is null again once all is in its queue", body = EndpointView),
        (status = CONFLICT, description = "`ENDPOINT_DISABLED`; `REPLAY_RUNNING`: it takes one at a time", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn replay(
    Admin(caller): Admin,
    State(app): State<Arc<App>>,
    Ids(id): Ids<EndpointId>,
    once: Once,
    JsonBody(request): JsonBody<ReplayRequest>,
) -> Result<(StatusCode, Json<EndpointView>), Problem> {
    Ok((StatusCode::ACCEPTED, Json(deliveries::replay(&app, &caller, &once, &id, &request).await?)))
}
