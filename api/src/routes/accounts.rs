//! `/v1/workspaces/{ws}/accounts`.

pub(crate) mod disconnect;
mod history;
mod refresh;
mod view;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use latchkey_shared::db::accounts::{self, Account, AccountFilter, AccountStatus};
use latchkey_shared::db::grants::Grant;
use latchkey_shared::ids::{AccountId, AccountKey, ProfileId, WorkspaceId};
use latchkey_shared::operations;
use serde::Deserialize;

pub(crate) use history::HistoryView;
pub(crate) use view::AccountView;

use crate::auth::{Admin, Caller, Viewer};
use crate::code::Code;
use crate::extract::{Ids, Params};
use crate::idempotency::Once;
use crate::pagination::{Limit, List, PageQuery, Wanted};
use crate::problem::{Problem, ProblemBody};
use crate::state::App;

/// Which accounts are wanted.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AccountsQuery {
    /// Of this platform only.
    #[param(example = "SANDBOX")]
    pub(crate) platform: Option<String>,
    /// In this status only.
    pub(crate) status: Option<AccountStatus>,
    /// Of this end user only.
    #[param(value_type = Option<String>)]
    pub(crate) profile_id: Option<ProfileId>,
    /// `nextCursor` of the page before.
    pub(crate) cursor: Option<String>,
    /// How many rows at most.
    #[param(value_type = Option<i64>, minimum = 1, maximum = 200, default = 50)]
    pub(crate) limit: Option<Limit>,
}

/// An account with what keeps it alive.
pub(crate) async fn find(
    app: &App,
    workspace: &WorkspaceId,
    id: &AccountId,
) -> Result<(Account, Option<Grant>), Problem> {
    Ok(operations::find_account(&mut *app.conn().await?, workspace, id).await?)
}

/// List the accounts of a workspace.
#[utoipa::path(
    get, path = "/v1/workspaces/{ws}/accounts", tag = "accounts", operation_id = "listAccounts",
    security(("apiKey" = ["viewer"])),
    params(("ws" = String, Path, description = "The workspace"), AccountsQuery),
    responses((status = OK, description = "A page of accounts", body = List<AccountView>)),
)]
pub(crate) async fn list(
    Viewer(caller): Viewer,
    State(app): State<Arc<App>>,
    Ids(workspace): Ids<WorkspaceId>,
    Params(query): Params<AccountsQuery>,
) -> Result<Json<List<AccountView>>, Problem> {
    page(&app, &caller, &workspace, query).await.map(Json)
}

/// A page of the accounts of a workspace.
pub(crate) async fn page(
    app: &App,
    caller: &Caller,
    workspace: &WorkspaceId,
    query: AccountsQuery,
) -> Result<List<AccountView>, Problem> {
    let platform = query.platform.as_deref();
    if platform.is_some_and(|id| !app.platforms.is_known(id)) {
        return Err(Problem::new(
            Code::PlatformUnknown,
            "`GET /v1/platforms` lists the platforms; ids are upper case.",
        ));
    }
    let page = PageQuery { cursor: query.cursor, limit: query.limit };
    let wanted = Wanted::of::<AccountId>(&page)?;
    let mut conn = app.conn().await?;
    let workspace = caller.workspace(&mut conn, workspace).await?;
    let filter =
        AccountFilter { platform, status: query.status, profile: query.profile_id.as_ref() };
    let rows = accounts::list(&mut conn, &workspace.id, &filter, wanted.page()).await?;
    Ok(wanted.list(rows, |(account, _)| account.id.to_string(), Into::into))
}

/// Get an account.
#[utoipa::path(
    get, path = "/v1/workspaces/{ws}/accounts/{acc}", tag = "accounts", operation_id = "getAccount",
    security(("apiKey" = ["viewer"])),
    params(("ws" = String, Path, description = "The workspace"), ("acc" = String, Path, description = "The account")),
    responses((status = OK, description = "The account", body = AccountView)),
)]
pub(crate) async fn get(
    Viewer(caller): Viewer,
    State(app): State<Arc<App>>,
    Ids((workspace, id)): Ids<(WorkspaceId, AccountId)>,
) -> Result<Json<AccountView>, Problem> {
    let workspace = caller.workspace(&mut *app.conn().await?, &workspace).await?;
    Ok(Json(find(&app, &workspace.id, &id).await?.into()))
}

/// Get what happened to an account in the last 90 days, newest first: connects, refreshes, changes of
/// its status, and what became of its tokens.
#[utoipa::path(
    get, path = "/v1/workspaces/{ws}/accounts/{acc}/history", tag = "accounts", operation_id = "getAccountHistory",
    security(("apiKey" = ["viewer"])),
    params(("ws" = String, Path, description = "The workspace"), ("acc" = String, Path, description = "The account"), PageQuery),
    responses((status = OK, description = "A page of the history", body = List<HistoryView>)),
)]
pub(crate) async fn history(
    Viewer(caller): Viewer,
    State(app): State<Arc<App>>,
    Ids((workspace, id)): Ids<(WorkspaceId, AccountId)>,
    Params(query): Params<PageQuery>,
) -> Result<Json<List<HistoryView>>, Problem> {
    let wanted = Wanted::of::<i64>(&query)?;
    let workspace = caller.workspace(&mut *app.conn().await?, &workspace).await?;
    history::list(&app, &workspace.id, &id, &wanted).await.map(Json)
}

/// Refresh an account's tokens now.
///
/// Requests for one account at the same time make one refresh. Where the platform extends no token that is so young,
/// the account is looked at instead: whether it still lives, and how it is called.
#[utoipa::path(
    post, path = "/v1/workspaces/{ws}/accounts/{acc}/refresh", tag = "accounts", operation_id = "refreshAccount",
    security(("apiKey" = ["admin"])),
    params(("ws" = String, Path, description = "The workspace"), ("acc" = String, Path, description = "The account")),
    responses(
        (status = ACCEPTED, description = "The refresh is due; `tokenGeneration` grows when it is done", body = AccountView),
        (status = CONFLICT, description = "`ACCOUNT_NOT_CONNECTED`; `NOTHING_TO_REFRESH`; `REFRESH_IN_DOUBT`: the detail says when it can be", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn refresh(
    Admin(caller): Admin,
    State(app): State<Arc<App>>,
    once: Once,
    Ids((workspace, id)): Ids<(WorkspaceId, AccountId)>,
) -> Result<(StatusCode, Json<AccountView>), Problem> {
    let workspace = caller.workspace(&mut *app.conn().await?, &workspace).await?;
    let account = refresh::run(&app, &once, &workspace.id, &id).await?;
    Ok((StatusCode::ACCEPTED, Json(account)))
}

/// Disconnect an account. Its tokens are out of use at once; telling the platform follows.
#[utoipa::path(
    delete, path = "/v1/workspaces/{ws}/accounts/{acc}", tag = "accounts", operation_id = "disconnectAccount",
    security(("apiKey" = ["admin"])),
    params(("ws" = String, Path, description = "The workspace"), ("acc" = String, Path, description = "The account")),
    responses((status = ACCEPTED, description = "The account, disconnected; `revocation` says what becomes of its tokens", body = AccountView)),
)]
pub(crate) async fn disconnect(
    Admin(caller): Admin,
    State(app): State<Arc<App>>,
    Ids((workspace, id)): Ids<(WorkspaceId, AccountId)>,
) -> Result<(StatusCode, Json<AccountView>), Problem> {
    let workspace = caller.workspace(&mut *app.conn().await?, &workspace).await?;
    let account =
        disconnect::run(&app, &caller, AccountKey { workspace_id: &workspace.id, id: &id }).await?;
    Ok((StatusCode::ACCEPTED, Json(account.into())))
}
