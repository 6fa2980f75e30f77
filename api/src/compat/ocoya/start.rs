//! Where Ocoya's URL leads. A look begins nothing: the button does, and for the key that the browser signed
//! in with alone.
//!
//! The answer to the button is a page that leads on by itself: browsers hold every redirect after a form to
//! the page's `form-action`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::{Extension, Json};
use latchkey_shared::db::api_keys::Role;
use latchkey_shared::db::connects::ResultFormat;
use latchkey_shared::db::workspaces::Workspace;
use latchkey_shared::ids::WorkspaceId;
use serde::Deserialize;

use super::{kind, words};
use crate::auth::Caller;
use crate::code::Code;
use crate::compat;
use crate::compat::words::Word as _;
use crate::extract::{self, Params};
use crate::idempotency::Once;
use crate::keyed;
use crate::problem::Problem;
use crate::request::RequestId;
use crate::routes::connects::{self, AskedThrough, Door, StartConnect, StartedConnect};
use crate::state::App;
use crate::web::{self, session, sign_in};

const PATH: &str = "/compat/ocoya/api/social-connect/start";

/// What shall be connected, and where.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Wanted {
    provider: words::Ocoya,
    workspace_id: WorkspaceId,
}

/// The path that asks for it.
pub(super) fn path(provider: words::Ocoya, workspace: &WorkspaceId) -> String {
    format!("{PATH}?provider={}&workspaceId={workspace}", provider.as_str())
}

/// The page with the button.
pub(super) async fn show(
    State(app): State<Arc<App>>,
    Extension(request_id): Extension<RequestId>,
    wanted: Result<Params<Wanted>, Problem>,
    headers: HeaderMap,
) -> Response {
    let shown = async {
        let wanted = wanted?.0;
        match allowed(&app, &headers, &wanted).await? {
            Ok((_, workspace)) => {
                let kinds = kind::all(&app, wanted.provider)?;
                let action = app.url(&path(wanted.provider, &wanted.workspace_id));
                Ok(sign_in::confirm(&app, action, &kinds, &workspace.name))
            }
            Err(response) => Ok(response),
        }
    };
    shown.await.unwrap_or_else(|problem| web::problem_page(&problem, &request_id))
}

/// The button was pressed.
pub(super) async fn begin(
    State(app): State<Arc<App>>,
    Extension(request_id): Extension<RequestId>,
    wanted: Result<Params<Wanted>, Problem>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let begun = async {
        web::check_origin(&headers, &app.public_url)?;
        let wanted = wanted?.0;
        match allowed(&app, &headers, &wanted).await? {
            Ok((_, workspace)) => {
                let kinds = kind::all(&app, wanted.provider)?;
                let meant = sign_in::meant(&kinds, &extract::read(body).await?)?;
                start(&app, meant, &workspace).await
            }
            Err(response) => Ok(response),
        }
    };
    begun.await.unwrap_or_else(|problem| web::problem_page(&problem, &request_id))
}

async fn start(app: &Arc<App>, platform: &str, workspace: &Workspace) -> Result<Response, Problem> {
    keyed::check_room(app, &workspace.organisation_id).await?;
    let request = StartConnect { platform: platform.to_owned(), ..StartConnect::default() };
    let door = Door { result_format: ResultFormat::Native, exclusive: false };
    let answer = |started: StartedConnect| Ok((StatusCode::OK, compat::url_of(&started)?));
    let once = Once::default();
    let asked = AskedThrough { request, door };
    let started = connects::start::run(app, &once, workspace, asked, answer);
    let (_, Json(url)) = started.await?;
    let platform = web::platform_name(app, platform);
    Ok(web::leave(&platform, &url))
}

/// Who is signed in, and the workspace, if they may connect there; else the page by which they get there.
async fn allowed(
    app: &App,
    headers: &HeaderMap,
    wanted: &Wanted,
) -> Result<Result<(Caller, Workspace), Response>, Problem> {
    let next = path(wanted.provider, &wanted.workspace_id);
    let Some(caller) = session::caller(app, headers).await? else {
        return Ok(Err(sign_in::lead_to(app, &next)));
    };
    let workspace = compat::workspace(app, &caller, Some(wanted.workspace_id.as_str())).await;
    match caller.require(Role::Admin).and(workspace) {
        Ok(workspace) => Ok(Ok((caller, workspace))),
        Err(problem) if matches!(problem.code(), Code::ForbiddenRole | Code::NotFound) => {
            let complaint = "You are signed in with a key that may not connect accounts in this workspace. \
                             Sign in with another one.";
            Ok(Err(sign_in::ask(app, &next, Some(complaint), StatusCode::FORBIDDEN)))
        }
        Err(problem) => Err(problem),
    }
}
