//! `/v1/workspaces/{ws}/connects`.

pub(crate) mod cancel;
pub(crate) mod candidates;
pub(crate) mod claim;
pub(crate) mod selection;
pub(crate) mod start;
mod view;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use latchkey_shared::db::connects;
use latchkey_shared::ids::{ConnectId, WorkspaceId};
use latchkey_shared::operations::start_connect;
pub(crate) use latchkey_shared::operations::start_connect::{
    AskedThrough, Door, StartConnect, StartedConnect, credentials,
};
use latchkey_shared::platforms::Platform;

pub(crate) use candidates::CandidateView;
pub(crate) use claim::Claim;
pub(crate) use selection::Selection;
pub(crate) use view::ConnectView;

use crate::auth::{Admin, Viewer};
use crate::extract::{Ids, JsonBody, Params};
use crate::idempotency::Once;
use crate::pagination::{List, PageQuery, Wanted};
use crate::problem::{Problem, ProblemBody};
use crate::state::App;

/// The platform of an id, if it can be connected here.
///
/// # Errors
/// `PLATFORM_UNKNOWN` or `PLATFORM_NOT_CONFIGURED`.
pub(crate) fn find_platform<'a>(app: &'a App, id: &str) -> Result<&'a Platform, Problem> {
    Ok(start_connect::find_platform(&app.platforms, id)?)
}

/// Start a connect. Send the person's browser to `authorizeUrl`; with `credentials` there is none, and
/// the connect goes on by itself.
#[utoipa::path(
    post, path = "/v1/workspaces/{ws}/connects", tag = "connects", operation_id = "startConnect",
    security(("apiKey" = ["admin"])),
    params(("ws" = String, Path, description = "The workspace")),
    request_body = StartConnect,
    responses(
        (status = CREATED, description = "The connect waits for the person, or has begun", body = StartedConnect),
        (status = BAD_REQUEST, description = "`INVALID_JSON`, `VALIDATION_FAILED`; `PLATFORM_UNKNOWN`; `REDIRECT_NOT_ALLOWED`; `SCOPES_FIXED`; `APP_PASSWORD_REQUIRED`", body = ProblemBody, content_type = "application/problem+json"),
        (status = NOT_FOUND, description = "`NOT_FOUND`: no such workspace; `PROFILE_NOT_FOUND`; `APP_NOT_FOUND`; `ACCOUNT_NOT_FOUND`", body = ProblemBody, content_type = "application/problem+json"),
        (status = CONFLICT, description = "`ACCOUNT_ALREADY_CONNECTED`: the connect is exclusive, and its slot is taken; `TOO_MANY_OPEN_CONNECTS`; `REFERENCE_GONE`: what it names was deleted at this moment", body = ProblemBody, content_type = "application/problem+json"),
        (status = UNPROCESSABLE_ENTITY, description = "`PLATFORM_NOT_CONFIGURED`", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn create(
    Admin(caller): Admin,
    State(app): State<Arc<App>>,
    Ids(workspace): Ids<WorkspaceId>,
    once: Once,
    JsonBody(request): JsonBody<StartConnect>,
) -> Result<(StatusCode, Json<StartedConnect>), Problem> {
    let workspace = caller.workspace(&mut *app.conn().await?, &workspace).await?;
    let asked = AskedThrough { request, door: Door::NATIVE };
    start::run(&app, &once, &workspace, asked, |started| Ok((StatusCode::CREATED, started))).await
}

/// List the connects of a workspace.
#[utoipa::path(
    get, path = "/v1/workspaces/{ws}/connects", tag = "connects", operation_id = "listConnects",
    security(("apiKey" = ["viewer"])),
    params(("ws" = String, Path, description = "The workspace"), PageQuery),
    responses((status = OK, description = "A page of connects", body = List<ConnectView>)),
)]
pub(crate) async fn list(
    Viewer(caller): Viewer,
    State(app): State<Arc<App>>,
    Ids(workspace): Ids<WorkspaceId>,
    Params(query): Params<PageQuery>,
) -> Result<Json<List<ConnectView>>, Problem> {
    let wanted = Wanted::of::<ConnectId>(&query)?;
    let mut conn = app.conn().await?;
    let workspace = caller.workspace(&mut conn, &workspace).await?;
    let rows = connects::list(&mut conn, &workspace.id, wanted.page()).await?;
    Ok(Json(wanted.list(rows, |row| row.id.to_string(), Into::into)))
}

/// Get a connect: how far it is, and how it went.
#[utoipa::path(
    get, path = "/v1/workspaces/{ws}/connects/{con}", tag = "connects", operation_id = "getConnect",
    security(("apiKey" = ["viewer"])),
    params(("ws" = String, Path, description = "The workspace"), ("con" = String, Path, description = "The connect")),
    responses((status = OK, description = "The connect", body = ConnectView)),
)]
pub(crate) async fn get(
    Viewer(caller): Viewer,
    State(app): State<Arc<App>>,
    Ids((workspace, id)): Ids<(WorkspaceId, ConnectId)>,
) -> Result<Json<ConnectView>, Problem> {
    let mut conn = app.conn().await?;
    let workspace = caller.workspace(&mut conn, &workspace).await?;
    let connect = connects::find(&mut conn, &workspace.id, &id).await?;
    connect.map(|connect| Json(connect.into())).ok_or_else(Problem::not_found)
}

/// Cancel a connect. What the platform gave meanwhile is revoked.
#[utoipa::path(
    delete, path = "/v1/workspaces/{ws}/connects/{con}", tag = "connects", operation_id = "cancelConnect",
    security(("apiKey" = ["admin"])),
    params(("ws" = String, Path, description = "The workspace"), ("con" = String, Path, description = "The connect")),
    responses(
        (status = OK, description = "The connect, cancelled", body = ConnectView),
        (status = CONFLICT, description = "`CONNECT_ENDED`", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn cancel(
    Admin(caller): Admin,
    State(app): State<Arc<App>>,
    Ids((workspace, id)): Ids<(WorkspaceId, ConnectId)>,
) -> Result<Json<ConnectView>, Problem> {
    let workspace = caller.workspace(&mut *app.conn().await?, &workspace).await?;
    let connect = cancel::run(&app, &workspace.id, &id).await?;
    Ok(Json(connect.into()))
}

/// List what the person may choose from, while a connect is `selecting`: pages, organisations, channels.
/// The person can choose on the page that the browser was led to, or your application does.
#[utoipa::path(
    get, path = "/v1/workspaces/{ws}/connects/{con}/candidates", tag = "connects", operation_id = "listCandidates",
    security(("apiKey" = ["admin"])),
    params(("ws" = String, Path, description = "The workspace"), ("con" = String, Path, description = "The connect")),
    responses(
        (status = OK, description = "All of them, in the platform's order", body = List<CandidateView>),
        (status = CONFLICT, description = "`CONNECT_NOT_SELECTING`: not yet, or not any more", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn list_candidates(
    Admin(caller): Admin,
    State(app): State<Arc<App>>,
    Ids((workspace, id)): Ids<(WorkspaceId, ConnectId)>,
) -> Result<Json<List<CandidateView>>, Problem> {
    let mut conn = app.conn().await?;
    let workspace = caller.workspace(&mut conn, &workspace).await?;
    let connect = connects::find(&mut conn, &workspace.id, &id).await?;
    let connect = connect.ok_or_else(Problem::not_found)?;
    let data = candidates::decrypt(&mut conn, &connect).await?;
    Ok(Json(List {
        data: data.iter().map(|choice| CandidateView::of(choice, &connect)).collect(),
        next_cursor: None,
    }))
}

/// Choose what to connect. The accounts follow in a moment, as after any consent.
#[utoipa::path(
    post, path = "/v1/workspaces/{ws}/connects/{con}/selection", tag = "connects", operation_id = "select",
    security(("apiKey" = ["admin"])),
    params(("ws" = String, Path, description = "The workspace"), ("con" = String, Path, description = "The connect")),
    request_body = Selection,
    responses(
        (status = ACCEPTED, description = "The connect, which goes on", body = ConnectView),
        (status = CONFLICT, description = "`CONNECT_NOT_SELECTING`: not yet, or not any more; `SELECTION_MADE`: by the person, or by an earlier request", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn select(
    Admin(caller): Admin,
    State(app): State<Arc<App>>,
    Ids((workspace, id)): Ids<(WorkspaceId, ConnectId)>,
    once: Once,
    JsonBody(chosen): JsonBody<Selection>,
) -> Result<(StatusCode, Json<ConnectView>), Problem> {
    let connect = {
        let mut conn = app.conn().await?;
        let workspace = caller.workspace(&mut conn, &workspace).await?;
        connects::find(&mut conn, &workspace.id, &id).await?
    };
    let connect = connect.ok_or_else(Problem::not_found)?;
    let view = selection::run(&app, &once, &connect, &chosen.candidate_ids, &[]).await?;
    Ok((StatusCode::ACCEPTED, Json(view)))
}

/// Claim a connect with binding `claim`: your backend brings back what the redirect carried, and so says that
/// whoever consented is the person whom it has signed in. Only then is anything connected.
///
/// Answered once the connect has ended, or after a few seconds as it is then.
#[utoipa::path(
    post, path = "/v1/workspaces/{ws}/connects/{con}/claim", tag = "connects", operation_id = "claimConnect",
    security(("apiKey" = ["admin"])),
    params(("ws" = String, Path, description = "The workspace"), ("con" = String, Path, description = "The connect")),
    request_body = Claim,
    responses(
        (status = OK, description = "The connect", body = ConnectView),
        (status = FORBIDDEN, description = "`CLAIM_WRONG`: it is not what this connect's redirect carried; `FORBIDDEN_ROLE`", body = ProblemBody, content_type = "application/problem+json"),
        (status = CONFLICT, description = "`CONNECT_NOT_CLAIMING`: not yet, not any more, or claimed already", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn claim_connect(
    Admin(caller): Admin,
    State(app): State<Arc<App>>,
    Ids((workspace, id)): Ids<(WorkspaceId, ConnectId)>,
    once: Once,
    JsonBody(given): JsonBody<Claim>,
) -> Result<Json<ConnectView>, Problem> {
    let connect = {
        let mut conn = app.conn().await?;
        let workspace = caller.workspace(&mut conn, &workspace).await?;
        connects::find(&mut conn, &workspace.id, &id).await?
    };
    let connect = connect.ok_or_else(Problem::not_found)?;
    Ok(Json(claim::run(&app, &once, &connect, &given.claim).await?))
}
