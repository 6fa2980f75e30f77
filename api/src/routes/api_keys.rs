//! `/v1/api-keys`. A key is shown once, when it is made; only its hash is stored.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use latchkey_shared::authorize;
use latchkey_shared::db::api_keys::{self, ApiKey, NewApiKey, Role};
use latchkey_shared::ids::{ApiKeyId, WorkspaceId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::{self, Owner};
use crate::extract::{Ids, JsonBody, Params};
use crate::idempotency::Once;
use crate::pagination::{List, PageQuery, Wanted};
use crate::problem::{Problem, ProblemBody};
use crate::state::App;
use crate::validate::Checks;
use latchkey_shared::timestamp::Timestamp;

/// An API key, without the key itself.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiKey)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ApiKeyView {
    #[schema(value_type = String, example = "key_01JCZ5M2V8Q4T6W8Y0A2B4C6D8")]
    id: ApiKeyId,
    /// What people call it.
    name: String,
    role: Role,
    /// The one workspace that it reaches; null: the whole organisation.
    #[schema(value_type = Option<String>)]
    workspace_id: Option<WorkspaceId>,
    created_at: Timestamp,
}

impl From<ApiKey> for ApiKeyView {
    fn from(row: ApiKey) -> Self {
        Self {
            id: row.id,
            name: row.name,
            role: row.role,
            workspace_id: row.workspace_id,
            created_at: row.created_at.into(),
        }
    }
}

/// A new API key, shown this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct CreatedApiKey {
    #[serde(flatten)]
    about: ApiKeyView,
    /// The key itself. It cannot be shown again.
    #[schema(example = "lk_…")]
    key: String,
}

/// An API key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CreateApiKey {
    /// What people call it.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    role: Role,
    /// The one workspace that it shall reach. A key that is limited itself makes only keys with the
    /// same limit.
    #[schema(value_type = Option<String>)]
    workspace_id: Option<WorkspaceId>,
}

/// Make an API key.
#[utoipa::path(
    post, path = "/v1/api-keys", tag = "api-keys", operation_id = "createApiKey",
    security(("apiKey" = ["owner"])),
    request_body = CreateApiKey,
    responses(
        (status = CREATED, description = "The key, shown this once", body = CreatedApiKey),
        (status = NOT_FOUND, description = "`WORKSPACE_NOT_FOUND`", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn create(
    Owner(caller): Owner,
    State(app): State<Arc<App>>,
    once: Once,
    JsonBody(new): JsonBody<CreateApiKey>,
) -> Result<(StatusCode, Json<CreatedApiKey>), Problem> {
    let mut checks = Checks::default();
    checks.name("/name", &new.name);
    checks.finish()?;
    let mut work = app.store.begin().await?;
    let workspace = caller.place(&mut work, new.workspace_id).await?;
    let key = auth::new_key();
    let row = NewApiKey {
        organisation_id: &caller.organisation_id,
        workspace_id: workspace.as_ref(),
        role: new.role,
        name: &new.name,
        hash: &authorize::hash(&key),
    };
    let about = api_keys::insert(&mut work, &row).await?.into();
    let created = CreatedApiKey { about, key };
    once.keep(&mut work, StatusCode::CREATED, &created).await?;
    work.commit().await?;
    Ok((StatusCode::CREATED, Json(created)))
}

/// List the API keys that are not revoked.
#[utoipa::path(
    get, path = "/v1/api-keys", tag = "api-keys", operation_id = "listApiKeys",
    security(("apiKey" = ["owner"])),
    params(PageQuery),
    responses((status = OK, description = "A page of keys, without the keys themselves", body = List<ApiKeyView>)),
)]
pub(crate) async fn list(
    Owner(caller): Owner,
    State(app): State<Arc<App>>,
    Params(query): Params<PageQuery>,
) -> Result<Json<List<ApiKeyView>>, Problem> {
    let wanted = Wanted::of::<ApiKeyId>(&query)?;
    let mut conn = app.conn().await?;
    let only = caller.workspace_id.as_ref();
    let rows = api_keys::list(&mut conn, &caller.organisation_id, only, wanted.page()).await?;
    Ok(Json(wanted.list(rows, |row| row.id.to_string(), Into::into)))
}

/// Revoke an API key. It stops working at once.
#[utoipa::path(
    delete, path = "/v1/api-keys/{id}", tag = "api-keys", operation_id = "revokeApiKey",
    security(("apiKey" = ["owner"])),
    params(("id" = String, Path, description = "The key's id")),
    responses((status = NO_CONTENT, description = "Revoked")),
)]
pub(crate) async fn revoke(
    Owner(caller): Owner,
    State(app): State<Arc<App>>,
    Ids(id): Ids<ApiKeyId>,
) -> Result<StatusCode, Problem> {
    let mut conn = app.conn().await?;
    let only = caller.workspace_id.as_ref();
    let organisation = &caller.organisation_id;
    if api_keys::revoke(&mut conn, organisation, only, &id).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::not_found())
    }
}
