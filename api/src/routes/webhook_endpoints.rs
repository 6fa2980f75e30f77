//! `/v1/webhook-endpoints`. The signing secret is shown once, when the endpoint is made.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use latchkey_shared::db::webhook_endpoints::{self, Endpoint, NewEndpoint};
use latchkey_shared::events::EventType;
use latchkey_shared::ids::{EndpointId, WorkspaceId};
use latchkey_shared::keyring::Owner as KeyOwner;
use latchkey_shared::net_guard::NetGuard;
use latchkey_shared::random;
use serde::{Deserialize, Serialize};
use url::{Host, Url};
use utoipa::ToSchema;

use crate::auth::{Admin, Caller};
use crate::extract::{Ids, JsonBody, Params};
use crate::idempotency::Once;
use crate::pagination::{List, PageQuery, Wanted};
use crate::problem::{Problem, ProblemBody};
use crate::redirect;
use crate::state::App;
use crate::validate::Checks;
use latchkey_shared::timestamp::Timestamp;

const MAX_URL_BYTES: usize = 2048;

/// A webhook endpoint, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookEndpoint)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EndpointView {
    #[schema(value_type = String, example = "whe_01JCZ5M2V8Q4T6W8Y0A2B4C6D8")]
    id: EndpointId,
    /// Whose events it hears; null: those of every workspace.
    #[schema(value_type = Option<String>)]
    workspace_id: Option<WorkspaceId>,
    url: String,
    /// Which types it hears; empty: all.
    #[schema(value_type = Vec<EventType>)]
    event_types: Vec<String>,
    /// Since when nothing is delivered to it.
    disabled_at: Option<Timestamp>,
    /// Why.
    disabled_reason: Option<String>,
    created_at: Timestamp,
}

impl From<Endpoint> for EndpointView {
    fn from(row: Endpoint) -> Self {
        Self {
            id: row.id,
            workspace_id: row.workspace_id,
            url: row.url,
            event_types: row.event_types,
            disabled_at: row.disabled_at.map(Into::into),
            disabled_reason: row.disabled_reason,
            created_at: row.created_at.into(),
        }
    }
}

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

/// # Errors
/// A sentence that says why nothing may be delivered there.
fn check_url(text: &str, guard: &NetGuard) -> Result<Url, String> {
    if text.len() > MAX_URL_BYTES {
        return Err(format!("must be at most {MAX_URL_BYTES} bytes"));
    }
    let url = Url::parse(text).map_err(|_| "must be an absolute URL".to_owned())?;
    guard.check(&url).map_err(|refused| refused.to_string())?;
    if url.scheme() == "https" {
        return Ok(url);
    }
    let permitted = match url.host() {
        Some(Host::Ipv4(ip)) => guard.permits(ip.into()),
        Some(Host::Ipv6(ip)) => guard.permits(ip.into()),
        _ => guard.permits(IpAddr::V4(Ipv4Addr::LOCALHOST)),
    };
    if redirect::is_loopback(&url) && permitted {
        Ok(url)
    } else {
        Err("must be https, or http on a loopback address that the operator allows".to_owned())
    }
}

impl CreateEndpoint {
    fn check(mut self, guard: &NetGuard) -> Result<Self, Problem> {
        let mut checks = Checks::default();
        match check_url(&self.url, guard) {
            Ok(url) => self.url = url.into(),
            Err(message) => checks.wrong("/url", message),
        }
        for (index, word) in self.event_types.iter().enumerate() {
            if EventType::of(word).is_none() {
                checks.wrong(format!("/eventTypes/{index}"), "names no event type");
            }
        }
        self.event_types.sort_unstable();
        self.event_types.dedup();
        checks.finish()?;
        Ok(self)
    }
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
    let organisation = &caller.organisation_id;
    let id = EndpointId::new(app.clock());
    let secret = format!("whsec_{}", STANDARD.encode(random::bytes::<32>()));
    let owner = KeyOwner::Organisation(organisation);
    let key = app.store.vault().sealing_key(&mut work, owner).await?;
    let place = webhook_endpoints::secret_place(organisation, &id);
    let sealed = key.seal(place, secret.as_bytes())?;
    let row = NewEndpoint {
        id: id.clone(),
        organisation_id: organisation,
        workspace_id: workspace.as_ref(),
        url: &new.url,
        event_types: &new.event_types,
        sealed_secret: &sealed,
    };
    let about = webhook_endpoints::insert(&mut work, app.clock(), &row).await?;
    let created = CreatedEndpoint { about: about.into(), secret };
    once.keep(app, &mut work, (StatusCode::CREATED, &created)).await?;
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
    Ok(Json(wanted.list(rows, |row| row.id.to_string(), Into::into)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_go_encrypted_or_to_an_allowed_loopback() {
        let (closed, open) =
            (NetGuard::default(), NetGuard::new(&["127.0.0.0/8".parse().unwrap()]));
        for url in ["https://hooks.example/a", "https://1.1.1.1/"] {
            assert!(check_url(url, &closed).is_ok(), "{url}");
        }
        for url in ["http://127.0.0.1:9/a", "http://localhost:9/a"] {
            assert!(check_url(url, &closed).is_err(), "{url}");
            assert!(check_url(url, &open).is_ok(), "{url}");
        }
        for url in
            ["http://hooks.example/", "http://1.1.1.1/", "https://10.0.0.1/", "ftp://a/", "a"]
        {
            assert!(check_url(url, &open).is_err(), "{url}");
        }
    }
}
