//! Postato: the accounts of a workspace. People connect on the dashboard; there is no call for it.

mod view;

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Json, Router};
use latchkey_shared::ids::{AccountId, AccountKey, WorkspaceId};
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::dialect::{Dialect, Errors, Key};
use super::lists;
use crate::auth::{Admin, Viewer};
use crate::code::Code;
use crate::extract::Ids;
use crate::problem::{FieldError, Problem, ProblemBody};
use crate::routes::accounts;
use crate::state::App;
use view::{AccountList, SocialAccount};

pub(super) static DIALECT: Dialect = Dialect {
    name: "postato",
    base: "",
    key: Key { scheme: "apiKey", header: None },
    errors: Errors::PROBLEM,
    reword: |problem| problem,
    describe: Base::openapi,
    keyed: || OpenApiRouter::new().routes(routes!(list)).routes(routes!(get, disconnect)),
    open: OpenApiRouter::new,
    beside: Router::new,
};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Postato API, spoken by Latchkey",
        description = "What clients of Postato use of its accounts. Accounts are connected by people in a browser, and belong to one workspace: the same handle in two workspaces is two accounts. No answer ever holds a token."
    ),
    components(schemas(ProblemBody<'_>, FieldError, Code)),
    tags((name = "Accounts", description = "The connected accounts of a workspace."))
)]
struct Base;

/// List the accounts of a workspace
///
/// The oldest first; disconnected ones are left out.
#[utoipa::path(
    get, path = "/v1/workspaces/{workspaceId}/accounts", tag = "Accounts", operation_id = "listAccounts",
    params(("workspaceId" = String, Path, description = "The workspace")),
    responses((status = OK, description = "The accounts.", body = AccountList)),
)]
async fn list(
    Viewer(caller): Viewer,
    State(app): State<Arc<App>>,
    Ids(workspace): Ids<WorkspaceId>,
) -> Result<Json<AccountList>, Problem> {
    let workspace = super::workspace(&app, &caller, Some(workspace.as_str())).await?;
    let accounts = lists::accounts(&app, &caller, &workspace, None).await?;
    Ok(Json(AccountList { accounts: accounts.into_iter().map(Into::into).collect() }))
}

/// Get an account
///
/// Also one that was disconnected, so that what names it stays valid.
#[utoipa::path(
    get, path = "/v1/workspaces/{workspaceId}/accounts/{accountId}", tag = "Accounts", operation_id = "getAccount",
    params(("workspaceId" = String, Path, description = "The workspace"), ("accountId" = String, Path, description = "The account")),
    responses((status = OK, description = "The account.", body = SocialAccount)),
)]
async fn get(
    Viewer(caller): Viewer,
    State(app): State<Arc<App>>,
    Ids((workspace, id)): Ids<(WorkspaceId, AccountId)>,
) -> Result<Json<SocialAccount>, Problem> {
    let workspace = super::workspace(&app, &caller, Some(workspace.as_str())).await?;
    let found = accounts::find(&app, &workspace.id, &id).await?;
    Ok(Json(accounts::AccountView::from(found).into()))
}

/// Disconnect an account
///
/// Its tokens are out of use at once, and revoked at the platform where that is possible. The account stays as
/// disconnected: a later connect of the same person brings it back under the same id.
#[utoipa::path(
    delete, path = "/v1/workspaces/{workspaceId}/accounts/{accountId}", tag = "Accounts", operation_id = "disconnectAccount",
    params(("workspaceId" = String, Path, description = "The workspace"), ("accountId" = String, Path, description = "The account")),
    responses((status = NO_CONTENT, description = "Disconnected, also if it was before.")),
)]
async fn disconnect(
    Admin(caller): Admin,
    State(app): State<Arc<App>>,
    Ids((workspace, id)): Ids<(WorkspaceId, AccountId)>,
) -> Result<StatusCode, Problem> {
    let workspace = super::workspace(&app, &caller, Some(workspace.as_str())).await?;
    accounts::disconnect::run(&app, &caller, AccountKey { workspace_id: &workspace.id, id: &id })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
