//! `/v1/workspaces`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use latchkey_shared::db::workspaces::{
    self, AccountPolicy, NewWorkspace, Workspace, WorkspaceChange,
};
use latchkey_shared::db::{accounts, workspace_deletion};
use latchkey_shared::ids::WorkspaceId;
use latchkey_shared::keyring::KeyOwner;
use latchkey_shared::work::Work;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::{Admin, Caller, Owner, Viewer};
use crate::code::Code;
use crate::extract::{Ids, JsonBody, Params};
use crate::idempotency::Once;
use crate::pagination::{List, PageQuery, Wanted};
use crate::problem::Problem;
use crate::redirect;
use crate::state::App;
use crate::validate::Checks;
use latchkey_shared::timestamp::Timestamp;

const MAX_ALLOWLIST: usize = 100;

/// A workspace.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Workspace)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WorkspaceView {
    #[schema(value_type = String, example = "ws_01JCZ5M2V8Q4T6W8Y0A2B4C6D8")]
    pub(crate) id: WorkspaceId,
    /// What people call it.
    pub(crate) name: String,
    /// Where connects may send the browser back to: scheme, host, port and path must be those of an
    /// entry, the query is free. Empty: any https URL, and http on loopback.
    redirect_allowlist: Vec<String>,
    /// How many accounts of one platform may be in use: `many`, or `one_per_platform`, under which every
    /// connect is exclusive.
    account_policy: AccountPolicy,
    created_at: Timestamp,
}

impl From<Workspace> for WorkspaceView {
    fn from(row: Workspace) -> Self {
        Self {
            id: row.id,
            name: row.name,
            redirect_allowlist: row.redirect_allowlist,
            account_policy: row.account_policy,
            created_at: row.created_at.into(),
        }
    }
}

/// A workspace to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CreateWorkspace {
    /// What people call it.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// Where connects may send the browser back to.
    #[serde(default)]
    #[schema(max_items = 100)]
    redirect_allowlist: Vec<String>,
    /// How many accounts of one platform may be in use; `many` unless it is said otherwise.
    account_policy: Option<AccountPolicy>,
}

/// What is to be changed; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct UpdateWorkspace {
    /// What people call it.
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
    /// The whole new list.
    #[schema(max_items = 100)]
    redirect_allowlist: Option<Vec<String>>,
    /// How many accounts of one platform may be in use. `one_per_platform` is refused while a platform has
    /// more.
    account_policy: Option<AccountPolicy>,
}

fn check(name: Option<&str>, allowlist: Option<&[String]>) -> Result<(), Problem> {
    let mut checks = Checks::default();
    if let Some(name) = name {
        checks.name("/name", name);
    }
    let wrong = |entry: &String| redirect::check_entry(entry).err().map(Into::into);
    checks.elements("/redirectAllowlist", MAX_ALLOWLIST, allowlist.unwrap_or_default(), wrong);
    Ok(checks.finish()?)
}

/// Makes a workspace with its data key.
async fn make(
    app: &App,
    caller: &Caller,
    once: &Once,
    new: CreateWorkspace,
) -> Result<WorkspaceView, Problem> {
    if caller.workspace_id.is_some() {
        return Err(Problem::new(
            Code::ForbiddenReach,
            "Use a key that reaches the whole organisation: this one is limited to a workspace.",
        ));
    }
    check(Some(&new.name), Some(&new.redirect_allowlist))?;
    let mut work = app.store.begin().await?;
    let organisation = &caller.organisation_id;
    let row = NewWorkspace {
        organisation_id: organisation,
        name: &new.name,
        redirect_allowlist: &new.redirect_allowlist,
        account_policy: new.account_policy.unwrap_or(AccountPolicy::Many),
    };
    let workspace = workspaces::insert(&mut work, &row).await?;
    let owner = KeyOwner::Workspace { organisation: Some(organisation), workspace: &workspace.id };
    app.store.keys().create_key(&mut work, owner).await?;
    let made = workspace.into();
    once.keep(&mut work, StatusCode::CREATED, &made).await?;
    work.commit().await?;
    Ok(made)
}

/// Make a workspace.
#[utoipa::path(
    post, path = "/v1/workspaces", tag = "workspaces", operation_id = "createWorkspace",
    security(("apiKey" = ["admin"])),
    request_body = CreateWorkspace,
    responses(
        (status = CREATED, description = "The workspace", body = WorkspaceView),
        (status = FORBIDDEN, description = "`FORBIDDEN_ROLE`; `FORBIDDEN_REACH`: the key is limited to one workspace", body = crate::problem::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn create(
    Admin(caller): Admin,
    State(app): State<Arc<App>>,
    once: Once,
    JsonBody(new): JsonBody<CreateWorkspace>,
) -> Result<(StatusCode, Json<WorkspaceView>), Problem> {
    let made = make(&app, &caller, &once, new).await?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// List the workspaces that the key reaches.
#[utoipa::path(
    get, path = "/v1/workspaces", tag = "workspaces", operation_id = "listWorkspaces",
    security(("apiKey" = ["viewer"])),
    params(PageQuery),
    responses((status = OK, description = "A page of workspaces", body = List<WorkspaceView>)),
)]
pub(crate) async fn list(
    Viewer(caller): Viewer,
    State(app): State<Arc<App>>,
    Params(query): Params<PageQuery>,
) -> Result<Json<List<WorkspaceView>>, Problem> {
    page(&app, &caller, &query).await.map(Json)
}

/// A page of the workspaces that a key reaches.
pub(crate) async fn page(
    app: &App,
    caller: &Caller,
    query: &PageQuery,
) -> Result<List<WorkspaceView>, Problem> {
    let wanted = Wanted::of::<WorkspaceId>(query)?;
    let mut conn = app.conn().await?;
    let only = caller.workspace_id.as_ref();
    let rows = workspaces::list(&mut conn, &caller.organisation_id, only, wanted.page()).await?;
    Ok(wanted.list(rows, |row| row.id.to_string(), Into::into))
}

/// Get a workspace.
#[utoipa::path(
    get, path = "/v1/workspaces/{ws}", tag = "workspaces", operation_id = "getWorkspace",
    security(("apiKey" = ["viewer"])),
    params(("ws" = String, Path, description = "The workspace")),
    responses((status = OK, description = "The workspace", body = WorkspaceView)),
)]
pub(crate) async fn get(
    Viewer(caller): Viewer,
    State(app): State<Arc<App>>,
    Ids(id): Ids<WorkspaceId>,
) -> Result<Json<WorkspaceView>, Problem> {
    let mut conn = app.conn().await?;
    Ok(Json(caller.workspace(&mut conn, &id).await?.into()))
}

/// Change a workspace.
#[utoipa::path(
    patch, path = "/v1/workspaces/{ws}", tag = "workspaces", operation_id = "updateWorkspace",
    security(("apiKey" = ["admin"])),
    params(("ws" = String, Path, description = "The workspace")),
    request_body = UpdateWorkspace,
    responses(
        (status = OK, description = "The workspace as it is now", body = WorkspaceView),
        (status = CONFLICT, description = "`ACCOUNT_POLICY_BROKEN`: a platform has more accounts in use than the policy allows", body = crate::problem::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn update(
    Admin(caller): Admin,
    State(app): State<Arc<App>>,
    Ids(id): Ids<WorkspaceId>,
    JsonBody(change): JsonBody<UpdateWorkspace>,
) -> Result<Json<WorkspaceView>, Problem> {
    check(change.name.as_deref(), change.redirect_allowlist.as_deref())?;
    let mut work = app.store.begin().await?;
    let workspace = caller.workspace(&mut work, &id).await?;
    if change.account_policy == Some(AccountPolicy::OnePerPlatform) {
        keep_one_of_each(&mut work, &workspace.id).await?;
    }
    let change = WorkspaceChange {
        name: change.name,
        redirect_allowlist: change.redirect_allowlist,
        account_policy: change.account_policy,
    };
    let changed =
        workspaces::update(&mut work, &caller.organisation_id, &workspace.id, &change).await?;
    let changed = changed.ok_or_else(Problem::not_found)?;
    work.commit().await?;
    Ok(Json(changed.into()))
}

/// Under the lock that every connect takes before it adds an account: what is counted here stays so until
/// the new policy is committed.
async fn keep_one_of_each(work: &mut Work, workspace: &WorkspaceId) -> Result<(), Problem> {
    workspaces::lock(work, workspace).await?;
    let crowded = accounts::crowded_platforms(work, workspace).await?;
    if !crowded.is_empty() {
        let detail = format!(
            "More than one account is in use of {}: disconnect all but one of each first.",
            crowded.join(", ")
        );
        return Err(Problem::new(Code::AccountPolicyBroken, detail).at("/accountPolicy"));
    }
    Ok(accounts::take_slots(work, workspace).await?)
}

/// Delete a workspace. From now on nobody sees it, and keys that reach it alone are revoked. Its connects are
/// cancelled, its accounts disconnected, and their tokens revoked at the platforms; when the last of that has
/// ended, its data key and its rows are destroyed. Its events stay in the log for as long as any.
#[utoipa::path(
    delete, path = "/v1/workspaces/{ws}", tag = "workspaces", operation_id = "deleteWorkspace",
    security(("apiKey" = ["owner"])),
    params(("ws" = String, Path, description = "The workspace")),
    responses((status = NO_CONTENT, description = "It is gone; what there is to be told to platforms follows")),
)]
pub(crate) async fn delete(
    Owner(caller): Owner,
    State(app): State<Arc<App>>,
    Ids(id): Ids<WorkspaceId>,
) -> Result<StatusCode, Problem> {
    let mut work = app.store.begin().await?;
    let workspace = caller.workspace(&mut work, &id).await?;
    if !workspace_deletion::hide(&mut work, &caller.organisation_id, &workspace.id).await? {
        return Err(Problem::not_found());
    }
    work.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
