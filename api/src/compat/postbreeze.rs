//! Postbreeze: one account of a platform in a workspace, always, whatever the workspace's policy says.

mod view;

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Json, Router};
use latchkey_shared::db::connects::ResultFormat;
use latchkey_shared::db::workspaces::Workspace;
use latchkey_shared::ids::{AccountId, AccountKey};
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::dialect::{Dialect, Errors, Key};
use super::{lists, url_of, words};
use crate::auth::{Admin, Caller, Viewer};
use crate::code::Code;
use crate::compat::words::Word as _;
use crate::extract::{Ids, JsonBody, Params};
use crate::idempotency::Once;
use crate::problem::Problem;
use crate::routes::accounts;
use crate::routes::connects::{AskedThrough, Door, StartConnect, StartedConnect, start};
use crate::state::App;
use view::{Channel, ConnectChannel, Error, InWorkspace, StartedChannel};

pub(super) static DIALECT: Dialect = Dialect {
    name: "postbreeze",
    base: "/api/v1",
    key: Key { scheme: "bearer", header: None },
    errors: Errors { kind: "application/json", schema: "Error", form: view::form },
    reword,
    describe: Base::openapi,
    keyed: || {
        OpenApiRouter::new()
            .routes(routes!(connect))
            .routes(routes!(list))
            .routes(routes!(disconnect))
    },
    open: OpenApiRouter::new,
    beside: Router::new,
};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Postbreeze API, spoken by Latchkey",
        description = "What clients of Postbreeze use to connect accounts. Every request is about one workspace, and a key that is limited to another one is refused."
    ),
    components(schemas(Error)),
    tags((name = "Channels", description = "Connected accounts."))
)]
struct Base;

fn reword(problem: Problem) -> Problem {
    match problem.code() {
        Code::PlatformNotConfigured => problem.answered(StatusCode::BAD_REQUEST),
        _ => problem,
    }
}

/// A key of one workspace knows of no other: they are all out of its reach.
async fn workspace(app: &App, caller: &Caller, named: Option<&str>) -> Result<Workspace, Problem> {
    super::workspace(app, caller, named).await.map_err(|problem| match problem.code() {
        Code::NotFound => Problem::new(
            Code::ForbiddenReach,
            "The key does not reach this workspace: check the id, and which key is used.",
        ),
        _ => problem,
    })
}

/// Start to connect a channel
///
/// Open `authorizeUrl` in the person's browser. It works once, and for a few minutes. A workspace has one
/// account of each platform: while one is connected this is refused, and one whose token has expired is
/// reconnected, by its owner. Where another person came last, this is refused for an hour, and the message names the
/// account: disconnect it to connect another. For BLUESKY the URL is a form of ours that asks for an app password.
#[utoipa::path(
    post, path = "/social-accounts/connect", tag = "Channels", operation_id = "SocialAccountsV1Controller_connect",
    request_body = ConnectChannel,
    responses(
        (status = CREATED, description = "The connect waits for the person.", body = StartedChannel),
        (status = BAD_REQUEST, description = "`VALIDATION_FAILED`: the message says what is wrong.", body = Error),
        (status = CONFLICT, description = "`CHANNEL_ALREADY_CONNECTED`: the workspace has an account of this platform.", body = Error),
    ),
)]
async fn connect(
    Admin(caller): Admin,
    State(app): State<Arc<App>>,
    once: Once,
    JsonBody(wanted): JsonBody<ConnectChannel>,
) -> Result<(StatusCode, Json<StartedChannel>), Problem> {
    let workspace = workspace(&app, &caller, Some(&wanted.workspace_id)).await?;
    let request =
        StartConnect { platform: wanted.platform.ours().to_owned(), ..StartConnect::default() };
    let door = Door { result_format: ResultFormat::Native, exclusive: true };
    let answer = |started: StartedConnect| {
        let authorize_url = url_of(&started)?;
        let state = started.state.unwrap_or_default();
        Ok((StatusCode::CREATED, StartedChannel { authorize_url, state }))
    };
    let asked = AskedThrough { request, door };
    start::run(&app, &once, &workspace, asked, answer).await
}

/// List connected channels
///
/// Those of the workspace, the newest first; disconnected ones are left out.
#[utoipa::path(
    get, path = "/social-accounts", tag = "Channels", operation_id = "SocialAccountsV1Controller_list",
    params(InWorkspace),
    responses((status = OK, description = "The channels.", body = Vec<Channel>)),
)]
async fn list(
    Viewer(caller): Viewer,
    State(app): State<Arc<App>>,
    Params(query): Params<InWorkspace>,
) -> Result<Json<Vec<Channel>>, Problem> {
    let workspace = workspace(&app, &caller, query.workspace_id.as_deref()).await?;
    let accounts = lists::accounts(&app, &caller, &workspace, None).await?;
    let rows = accounts.into_iter().rev();
    Ok(Json(rows.filter_map(Channel::of).collect()))
}

/// Disconnect a channel
///
/// Its tokens are out of use at once, and revoked at the platform where that is possible. A later connect of the same
/// person brings it back under the same id. Latchkey adds this operation.
#[utoipa::path(
    delete, path = "/social-accounts/{id}", tag = "Channels", operation_id = "disconnectChannel",
    params(("id" = String, Path, description = "The channel"), InWorkspace),
    responses((status = NO_CONTENT, description = "Disconnected, also if it was before.")),
)]
async fn disconnect(
    Admin(caller): Admin,
    State(app): State<Arc<App>>,
    Ids(id): Ids<AccountId>,
    Params(query): Params<InWorkspace>,
) -> Result<StatusCode, Problem> {
    let workspace = workspace(&app, &caller, query.workspace_id.as_deref()).await?;
    accounts::disconnect::run(&app, &caller, AccountKey { workspace_id: &workspace.id, id: &id })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
