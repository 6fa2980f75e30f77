//! WoopSocial: its projects are our workspaces.

mod view;

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Json, Router};
use latchkey_shared::db::connects::ResultFormat;
use latchkey_shared::db::workspaces::Workspace;
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::dialect::{Dialect, Errors, Key};
use super::{lists, url_of, words};
use crate::auth::{Admin, Caller, Viewer};
use crate::code::Code;
use crate::compat::words::Word as _;
use crate::extract::{JsonBody, Params};
use crate::idempotency::Once;
use crate::problem::{FieldError, Problem, ProblemBody};
use crate::routes::connects::{AskedThrough, Door, StartConnect, StartedConnect, start};
use crate::state::App;
use view::{
    Authorization, CreateAuthorization, Health, ListAccounts, Project, ProjectList, SocialAccount,
    SocialAccountList,
};

pub(super) static DIALECT: Dialect = Dialect {
    name: "woopsocial",
    base: "/v1",
    key: Key { scheme: "ApiKey", header: None },
    errors: Errors::PROBLEM,
    reword: |problem| problem,
    describe: Base::openapi,
    keyed: || {
        OpenApiRouter::new()
            .routes(routes!(authorize))
            .routes(routes!(list))
            .routes(routes!(list_projects))
    },
    open: || OpenApiRouter::new().routes(routes!(health)),
    beside: Router::new,
};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "WoopSocial API, spoken by Latchkey",
        description = "What clients of WoopSocial use to connect accounts. A project is a workspace of ours."
    ),
    components(schemas(ProblemBody<'_>, FieldError, Code)),
    tags(
        (name = "Projects", description = "Which projects there are."),
        (name = "Social Accounts", description = "Connected accounts."),
        (name = "Health", description = "Whether we are there."),
    )
)]
struct Base;

async fn project(app: &App, caller: &Caller, named: Option<&str>) -> Result<Workspace, Problem> {
    super::workspace(app, caller, named).await.map_err(|problem| match problem.code() {
        Code::NotFound => {
            Problem::new(Code::WorkspaceNotFound, "Name a project that the key reaches.")
        }
        _ => problem,
    })
}

/// Make a URL to connect an account
///
/// Open it in the person's browser. At the end the browser goes to `redirectUrl`, if one is given, with
/// `status=success`, `projectId`, `platform` and `socialAccountIds` (several are separated by commas), or with
/// `status=error`, `projectId`, `platform` and `error`; never with a token. Where a consent brings several
/// pages, the person first chooses on a page of ours. A browser that comes back with a state that is missing
/// or has expired is answered with an HTTP error, since nobody knows where it belongs.
#[utoipa::path(
    post, path = "/social-accounts/authorization-url", tag = "Social Accounts", operation_id = "createOAuthAuthorization",
    request_body = CreateAuthorization,
    responses(
        (status = OK, description = "The URL.", body = Authorization),
        (status = NOT_FOUND, description = "`WORKSPACE_NOT_FOUND`: no such project.", body = ProblemBody, content_type = "application/problem+json"),
        (status = CONFLICT, description = "`ACCOUNT_ALREADY_CONNECTED`: the project takes one account of each platform.", body = ProblemBody, content_type = "application/problem+json"),
        (status = UNPROCESSABLE_ENTITY, description = "`PLATFORM_NOT_CONFIGURED`", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn authorize(
    Admin(caller): Admin,
    State(app): State<Arc<App>>,
    once: Once,
    JsonBody(wanted): JsonBody<CreateAuthorization>,
) -> Result<(StatusCode, Json<Authorization>), Problem> {
    let project = project(&app, &caller, Some(&wanted.project_id)).await;
    let project = project.map_err(|problem| match problem.code() {
        Code::WorkspaceNotFound => problem.at("/projectId"),
        _ => problem,
    })?;
    let request = StartConnect {
        platform: wanted.platform.ours().to_owned(),
        redirect_url: wanted.redirect_url,
        ..StartConnect::default()
    };
    let door = Door { result_format: ResultFormat::Woopsocial, exclusive: false };
    let answer =
        |started: StartedConnect| Ok((StatusCode::OK, Authorization { url: url_of(&started)? }));
    let asked = AskedThrough { request, door };
    start::run(&app, &once, &project, asked, answer).await
}

/// List connected accounts
///
/// Those of a project, the oldest first; disconnected ones are left out.
#[utoipa::path(
    get, path = "/social-accounts", tag = "Social Accounts", operation_id = "listSocialAccounts",
    params(ListAccounts),
    responses(
        (status = OK, description = "The accounts.", body = SocialAccountList),
        (status = NOT_FOUND, description = "`WORKSPACE_NOT_FOUND`: no such project.", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn list(
    Viewer(caller): Viewer,
    State(app): State<Arc<App>>,
    Params(query): Params<ListAccounts>,
) -> Result<Json<SocialAccountList>, Problem> {
    let project = project(&app, &caller, query.project_id.as_deref()).await?;
    let accounts = lists::accounts(&app, &caller, &project, None).await?;
    let social_accounts = accounts.into_iter().filter_map(SocialAccount::of).collect();
    Ok(Json(SocialAccountList { social_accounts }))
}

/// List the projects that the key reaches
#[utoipa::path(
    get, path = "/projects", tag = "Projects", operation_id = "listProjects",
    responses((status = OK, description = "The projects.", body = ProjectList)),
)]
async fn list_projects(
    Viewer(caller): Viewer,
    State(app): State<Arc<App>>,
) -> Result<Json<ProjectList>, Problem> {
    let projects = lists::workspaces(&app, &caller).await?;
    Ok(Json(ProjectList { projects: projects.into_iter().map(Project::from).collect() }))
}

/// Say that we are there
#[utoipa::path(
    get, path = "/health", tag = "Health", operation_id = "getHealth", security(()),
    responses((status = OK, description = "We are.", body = Health)),
)]
async fn health() -> Json<Health> {
    Json(Health { status: "ok" })
}
