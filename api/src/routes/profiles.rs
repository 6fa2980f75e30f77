//! `/v1/workspaces/{ws}/profiles`: the customer's labels for its end users.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use latchkey_shared::db::DbError;
use latchkey_shared::db::profiles::{self, NewProfile, Profile, ProfileChange};
use latchkey_shared::ids::{ProfileId, WorkspaceId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::auth::{Admin, Caller, Viewer};
use crate::code::Code;
use crate::extract::{Ids, JsonBody, Params, or_null};
use crate::idempotency::Once;
use crate::pagination::{Limit, List, PageQuery, Wanted};
use crate::problem::{Problem, ProblemBody};
use crate::state::App;
use crate::validate::Checks;
use latchkey_shared::timestamp::Timestamp;

/// One of your end users.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Profile)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProfileView {
    #[schema(value_type = String, example = "prof_01JCZ5M2V8Q4T6W8Y0A2B4C6D8")]
    pub(crate) id: ProfileId,
    #[schema(value_type = String)]
    workspace_id: WorkspaceId,
    /// Your own id of the end user: no two profiles of a workspace have the same.
    external_id: Option<String>,
    /// What people call it.
    pub(crate) name: String,
    /// Whatever you keep here.
    #[schema(value_type = Object)]
    pub(crate) metadata: Value,
    pub(crate) created_at: Timestamp,
}

impl From<Profile> for ProfileView {
    fn from(row: Profile) -> Self {
        Self {
            id: row.id,
            workspace_id: row.workspace_id,
            external_id: row.external_id,
            name: row.name,
            metadata: row.metadata,
            created_at: row.created_at.into(),
        }
    }
}

/// A profile to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CreateProfile {
    /// Your own id of the end user.
    #[schema(min_length = 1, max_length = 200)]
    pub(crate) external_id: Option<String>,
    /// What people call it.
    #[schema(min_length = 1, max_length = 200)]
    pub(crate) name: String,
    /// Whatever you want to keep here; at most 4 KiB.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub(crate) metadata: Map<String, Value>,
}

/// What is to be changed; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct UpdateProfile {
    /// Your own id of the end user; null takes it away.
    #[serde(default, deserialize_with = "or_null")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 200)]
    external_id: Option<Option<String>>,
    /// What people call it.
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
    /// All of the new metadata; at most 4 KiB.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Map<String, Value>>,
}

/// Which profiles are wanted.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ProfilesQuery {
    /// The one with this id of your own.
    pub(crate) external_id: Option<String>,
    /// `nextCursor` of the page before.
    pub(crate) cursor: Option<String>,
    /// How many rows at most.
    #[param(value_type = Option<i64>, minimum = 1, maximum = 200, default = 50)]
    pub(crate) limit: Option<Limit>,
}

fn check(
    external_id: Option<&str>,
    name: Option<&str>,
    metadata: Option<&Value>,
) -> Result<(), Problem> {
    let mut checks = Checks::default();
    if let Some(id) = external_id {
        checks.name("/externalId", id);
    }
    if let Some(name) = name {
        checks.name("/name", name);
    }
    if let Some(metadata) = metadata {
        checks.metadata("/metadata", metadata);
    }
    Ok(checks.finish()?)
}

/// The one rule that only the database can judge.
fn written<T>(result: Result<T, DbError>) -> Result<T, Problem> {
    result.map_err(|error| match error {
        error if error.is_unique_violation() => Problem::new(
            Code::ExternalIdTaken,
            "Another profile of the workspace has this external id: use that one, or another id.",
        )
        .at("/externalId"),
        error => error.into(),
    })
}

fn in_use() -> Problem {
    Problem::new(
        Code::ProfileInUse,
        "Disconnect its accounts (`GET …/accounts?profileId=` lists them), and cancel its open connects.",
    )
}

/// A profile to be made, and its workspace.
pub(crate) struct NewProfileIn<'a> {
    pub(crate) workspace: &'a WorkspaceId,
    pub(crate) new: CreateProfile,
}

/// Makes a profile; `answer` words what is answered, and kept.
pub(crate) async fn make<T: Serialize>(
    app: &App,
    caller: &Caller,
    once: &Once,
    asked: NewProfileIn<'_>,
    answer: impl FnOnce(ProfileView) -> T,
) -> Result<(StatusCode, Json<T>), Problem> {
    let NewProfileIn { workspace, new } = asked;
    let metadata = Value::Object(new.metadata);
    check(new.external_id.as_deref(), Some(&new.name), Some(&metadata))?;
    let mut work = app.store.begin().await?;
    let workspace = caller.workspace(&mut work, workspace).await?;
    let row = NewProfile {
        external_id: new.external_id.as_deref(),
        name: &new.name,
        metadata: &metadata,
    };
    let made = profiles::insert(&mut work, &workspace.id, &row).await;
    let made = answer(written(made)?.into());
    once.keep(&mut work, StatusCode::CREATED, &made).await?;
    work.commit().await?;
    Ok((StatusCode::CREATED, Json(made)))
}

async fn run_deletion(app: &App, workspace: &WorkspaceId, id: &ProfileId) -> Result<(), Problem> {
    let mut work = app.store.begin().await?;
    let profile = profiles::lock(&mut work, workspace, id).await?;
    let profile = profile.ok_or_else(Problem::not_found)?;
    if profiles::is_in_use(&mut work, &profile).await? {
        return Err(in_use());
    }
    let deleted = profiles::delete(&mut work, &profile).await;
    deleted.map_err(|error| match error {
        error if error.is_foreign_key_violation() => in_use(),
        error => error.into(),
    })?;
    Ok(work.commit().await?)
}

/// Make a profile.
#[utoipa::path(
    post, path = "/v1/workspaces/{ws}/profiles", tag = "profiles", operation_id = "createProfile",
    security(("apiKey" = ["admin"])),
    params(("ws" = String, Path, description = "The workspace")),
    request_body = CreateProfile,
    responses(
        (status = CREATED, description = "The profile", body = ProfileView),
        (status = CONFLICT, description = "`EXTERNAL_ID_TAKEN`", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn create(
    Admin(caller): Admin,
    State(app): State<Arc<App>>,
    Ids(workspace): Ids<WorkspaceId>,
    once: Once,
    JsonBody(new): JsonBody<CreateProfile>,
) -> Result<(StatusCode, Json<ProfileView>), Problem> {
    make(&app, &caller, &once, NewProfileIn { workspace: &workspace, new }, |made| made).await
}

/// List the profiles of a workspace.
#[utoipa::path(
    get, path = "/v1/workspaces/{ws}/profiles", tag = "profiles", operation_id = "listProfiles",
    security(("apiKey" = ["viewer"])),
    params(("ws" = String, Path, description = "The workspace"), ProfilesQuery),
    responses((status = OK, description = "A page of profiles", body = List<ProfileView>)),
)]
pub(crate) async fn list(
    Viewer(caller): Viewer,
    State(app): State<Arc<App>>,
    Ids(workspace): Ids<WorkspaceId>,
    Params(query): Params<ProfilesQuery>,
) -> Result<Json<List<ProfileView>>, Problem> {
    page(&app, &caller, &workspace, query).await.map(Json)
}

/// A page of the profiles of a workspace.
pub(crate) async fn page(
    app: &App,
    caller: &Caller,
    workspace: &WorkspaceId,
    query: ProfilesQuery,
) -> Result<List<ProfileView>, Problem> {
    let page = PageQuery { cursor: query.cursor, limit: query.limit };
    let wanted = Wanted::of::<ProfileId>(&page)?;
    let external_id = query.external_id.as_deref();
    let mut conn = app.conn().await?;
    let workspace = caller.workspace(&mut conn, workspace).await?;
    let rows = profiles::list(&mut conn, &workspace.id, external_id, wanted.page()).await?;
    Ok(wanted.list(rows, |row| row.id.to_string(), Into::into))
}

/// Get a profile.
#[utoipa::path(
    get, path = "/v1/workspaces/{ws}/profiles/{prof}", tag = "profiles", operation_id = "getProfile",
    security(("apiKey" = ["viewer"])),
    params(("ws" = String, Path, description = "The workspace"), ("prof" = String, Path, description = "The profile")),
    responses((status = OK, description = "The profile", body = ProfileView)),
)]
pub(crate) async fn get(
    Viewer(caller): Viewer,
    State(app): State<Arc<App>>,
    Ids((workspace, id)): Ids<(WorkspaceId, ProfileId)>,
) -> Result<Json<ProfileView>, Problem> {
    let mut conn = app.conn().await?;
    let workspace = caller.workspace(&mut conn, &workspace).await?;
    let profile = profiles::find(&mut conn, &workspace.id, &id).await?;
    profile.map(|profile| Json(profile.into())).ok_or_else(Problem::not_found)
}

/// Change a profile.
#[utoipa::path(
    patch, path = "/v1/workspaces/{ws}/profiles/{prof}", tag = "profiles", operation_id = "updateProfile",
    security(("apiKey" = ["admin"])),
    params(("ws" = String, Path, description = "The workspace"), ("prof" = String, Path, description = "The profile")),
    request_body = UpdateProfile,
    responses(
        (status = OK, description = "The profile as it is now", body = ProfileView),
        (status = CONFLICT, description = "`EXTERNAL_ID_TAKEN`", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn update(
    Admin(caller): Admin,
    State(app): State<Arc<App>>,
    Ids((workspace, id)): Ids<(WorkspaceId, ProfileId)>,
    JsonBody(change): JsonBody<UpdateProfile>,
) -> Result<Json<ProfileView>, Problem> {
    let metadata = change.metadata.map(Value::Object);
    let external_id = change.external_id.as_ref().and_then(Option::as_deref);
    check(external_id, change.name.as_deref(), metadata.as_ref())?;
    let mut conn = app.conn().await?;
    let workspace = caller.workspace(&mut conn, &workspace).await?;
    let change = ProfileChange { external_id: change.external_id, name: change.name, metadata };
    let changed = profiles::update(&mut conn, &workspace.id, &id, &change).await;
    written(changed)?.map(|profile| Json(profile.into())).ok_or_else(Problem::not_found)
}

/// Delete a profile. Disconnected accounts that named it stay, and name none.
#[utoipa::path(
    delete, path = "/v1/workspaces/{ws}/profiles/{prof}", tag = "profiles", operation_id = "deleteProfile",
    security(("apiKey" = ["admin"])),
    params(("ws" = String, Path, description = "The workspace"), ("prof" = String, Path, description = "The profile")),
    responses(
        (status = NO_CONTENT, description = "Deleted"),
        (status = CONFLICT, description = "`PROFILE_IN_USE`: an account that is not disconnected, or an open connect, names it", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn delete(
    Admin(caller): Admin,
    State(app): State<Arc<App>>,
    Ids((workspace, id)): Ids<(WorkspaceId, ProfileId)>,
) -> Result<StatusCode, Problem> {
    let workspace = caller.workspace(&mut *app.conn().await?, &workspace).await?;
    run_deletion(&app, &workspace.id, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
