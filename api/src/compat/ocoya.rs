//! Ocoya: its URL leads to a page of ours, which asks who the person is and whether they mean it.

mod kind;
mod start;
mod view;

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Json, Router, routing};
use latchkey_shared::db::workspaces;
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::dialect::{Dialect, Errors, Key};
use super::{lists, words};
use crate::auth::{Admin, Caller, Viewer};
use crate::code::Code;
use crate::extract::{JsonBody, Params};
use crate::idempotency::Once;
use crate::problem::{FieldError, Problem, ProblemBody};
use crate::state::App;
use view::{ConnectionRequest, ConnectionUrl, InWorkspace, SocialProfile, Workspace};

pub(super) static DIALECT: Dialect = Dialect {
    name: "ocoya",
    base: "/api/_public/v1",
    key: Key { scheme: "ApiKeyAuth", header: Some("X-API-Key") },
    errors: Errors::PROBLEM,
    reword: |problem| match problem.code() {
        Code::PlatformNotConfigured => problem.answered(StatusCode::BAD_REQUEST),
        _ => problem,
    },
    describe: Base::openapi,
    keyed: || {
        OpenApiRouter::new()
            .routes(routes!(connection_url))
            .routes(routes!(list))
            .routes(routes!(list_profiles))
    },
    open: OpenApiRouter::new,
    beside: || {
        Router::new()
            .route("/api/social-connect/start", routing::get(start::show).post(start::begin))
    },
};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Ocoya API, spoken by Latchkey",
        description = "What clients of Ocoya use to connect accounts."
    ),
    components(schemas(ProblemBody<'_>, FieldError, Code)),
)]
struct Base;

async fn workspace(
    app: &App,
    caller: &Caller,
    named: &InWorkspace,
) -> Result<workspaces::Workspace, Problem> {
    let workspace = super::workspace(app, caller, Some(&named.workspace_id)).await;
    workspace.map_err(|problem| match problem.code() {
        Code::NotFound => {
            Problem::invalid_query("workspaceId", "names no workspace that the key reaches")
        }
        _ => problem,
    })
}

/// Get a URL to connect an account
///
/// Open it in a browser: the person who is signed in there confirms, says which kind of account is meant where the
/// provider has several, approves at the platform, and chooses what shall be connected. Getting the URL begins nothing.
#[utoipa::path(
    post, path = "/social-profiles/connection-url", operation_id = "createConnectionUrl",
    params(InWorkspace), request_body = ConnectionRequest,
    responses(
        (status = OK, description = "The URL.", body = ConnectionUrl),
        (status = BAD_REQUEST, description = "This provider is not supported, there is no such workspace, or the request is wrong.", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn connection_url(
    Admin(caller): Admin,
    State(app): State<Arc<App>>,
    Params(query): Params<InWorkspace>,
    once: Once,
    JsonBody(wanted): JsonBody<ConnectionRequest>,
) -> Result<Json<ConnectionUrl>, Problem> {
    let workspace = workspace(&app, &caller, &query).await?;
    kind::all(&app, wanted.provider)?;
    let url = app.url(&start::path(wanted.provider, &workspace.id));
    let answer = ConnectionUrl { url };
    once.keep_alone(&app, StatusCode::OK, &answer).await;
    Ok(Json(answer))
}

/// List the workspaces that the key reaches
#[utoipa::path(
    get, path = "/workspaces", operation_id = "listWorkspaces",
    responses((status = OK, description = "The workspaces.", body = Vec<Workspace>)),
)]
async fn list(
    Viewer(caller): Viewer,
    State(app): State<Arc<App>>,
) -> Result<Json<Vec<Workspace>>, Problem> {
    let all = lists::workspaces(&app, &caller).await?;
    Ok(Json(all.into_iter().map(Workspace::from).collect()))
}

/// List what was connected
///
/// The accounts of a workspace, the oldest first; disconnected ones are left out. Latchkey adds this operation.
#[utoipa::path(
    get, path = "/social-profiles", operation_id = "listSocialProfiles",
    params(InWorkspace),
    responses(
        (status = OK, description = "The accounts.", body = Vec<SocialProfile>),
        (status = BAD_REQUEST, description = "There is no such workspace.", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn list_profiles(
    Viewer(caller): Viewer,
    State(app): State<Arc<App>>,
    Params(query): Params<InWorkspace>,
) -> Result<Json<Vec<SocialProfile>>, Problem> {
    let workspace = workspace(&app, &caller, &query).await?;
    let accounts = lists::accounts(&app, &caller, &workspace, None).await?;
    Ok(Json(accounts.into_iter().filter_map(SocialProfile::of).collect()))
}
