//! `/v1/apps`: OAuth clients that customers registered at a platform themselves. No answer shows a
//! secret.

pub(crate) mod deletion;
mod scopes;
pub(crate) mod secrets;
pub(crate) mod view;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use latchkey_shared::db::apps::{self, AppDoor, NewApp};
use latchkey_shared::ids::{AppId, AppSecretId, WorkspaceId};
use latchkey_shared::platforms::Flow;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub(crate) use view::{AppView, SecretView};

use crate::auth::{Caller, Owner};
use crate::extract::{Ids, JsonBody, Params};
use crate::idempotency::Once;
use crate::pagination::{List, PageQuery, Wanted};
use crate::problem::{Problem, ProblemBody};
use crate::routes::connects;
use crate::state::App;
use crate::validate::Checks;

/// An app to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CreateApp {
    /// Where it is registered. It never changes.
    #[schema(example = "SANDBOX")]
    pub(crate) platform: String,
    /// What people call it.
    #[schema(min_length = 1, max_length = 200)]
    pub(crate) name: String,
    /// The platform's id of the client. It never changes.
    #[schema(min_length = 1, max_length = 1000)]
    pub(crate) client_id: String,
    /// The platform's secret of the client. No answer shows it.
    #[schema(value_type = String, min_length = 1, max_length = 1000, write_only)]
    pub(crate) client_secret: SecretString,
    /// The one workspace that shall use it; a key that is limited to a workspace implies it.
    #[schema(value_type = Option<String>)]
    pub(crate) workspace_id: Option<WorkspaceId>,
    /// What connects through it ask for unless they say otherwise, instead of the platform's default
    /// scopes. It never changes. Apps with one client id on platforms of a vendor whose `scopesFixed` is
    /// true have one set: what the first has is taken if this is left out.
    #[schema(min_items = 1, max_items = 100)]
    pub(crate) scopes: Option<Vec<String>>,
}

/// What is to be changed; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct UpdateApp {
    /// What people call it.
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
}

/// A secret to be added.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct AddSecret {
    /// The platform's new secret of the client. No answer shows it.
    #[schema(value_type = String, min_length = 1, max_length = 1000, write_only)]
    client_secret: SecretString,
}

/// An app to be made, and the door that the request came through.
pub(crate) struct NewAppThrough {
    pub(crate) new: CreateApp,
    pub(crate) door: AppDoor,
}

/// Makes an app; `answer` words what is answered, and kept.
pub(crate) async fn make<T: Serialize>(
    app: &App,
    caller: &Caller,
    once: &Once,
    asked: NewAppThrough,
    answer: impl FnOnce(AppView) -> Result<T, Problem>,
) -> Result<(StatusCode, Json<T>), Problem> {
    let NewAppThrough { new, door } = asked;
    let platform = connects::find_platform(app, &new.platform)?;
    let mut checks = Checks::default();
    if platform.flow == Flow::AppPassword {
        let name = &platform.name;
        checks.wrong("/platform", format!("has no OAuth clients: {name} takes app passwords"));
    }
    if let Some(scopes) = &new.scopes {
        checks.scopes(scopes);
    }
    checks.name("/name", &new.name);
    checks.credential("/clientId", &new.client_id);
    secrets::check(&mut checks, &new.client_secret);
    checks.finish()?;
    let mut work = app.store.begin().await?;
    let workspace = caller.place(&mut work, new.workspace_id.clone()).await?;
    let scopes = scopes::settle(app, &mut work, caller, platform, &new).await?;
    let row = NewApp {
        organisation_id: &caller.organisation_id,
        workspace_id: workspace.as_ref(),
        platform: &platform.id,
        name: &new.name,
        client_id: &new.client_id,
        scopes: scopes.as_deref(),
        door,
    };
    let made = apps::insert(&mut work, &row).await?;
    let secret = secrets::store(app, &mut work, &made, &new.client_secret).await?;
    let made = answer(AppView::of(made, vec![secret]))?;
    once.keep(&mut work, StatusCode::CREATED, &made).await?;
    work.commit().await?;
    Ok((StatusCode::CREATED, Json(made)))
}

async fn rename(
    app: &App,
    caller: &Caller,
    id: &AppId,
    change: UpdateApp,
) -> Result<AppView, Problem> {
    let Some(name) = change.name else {
        return view::find(app, caller, id).await;
    };
    let mut checks = Checks::default();
    checks.name("/name", &name);
    checks.finish()?;
    let mut work = app.store.begin().await?;
    let found = lock(&mut work, caller, id).await?;
    apps::rename(&mut work, &found.organisation_id, &found.id, &name).await?;
    work.commit().await?;
    view::find(app, caller, id).await
}

async fn lock(
    work: &mut latchkey_shared::work::Work,
    caller: &Caller,
    id: &AppId,
) -> Result<apps::App, Problem> {
    let only = caller.workspace_id.as_ref();
    let found = apps::lock(work, &caller.organisation_id, only, id).await?;
    found.ok_or_else(Problem::not_found)
}

/// Make an app of an OAuth client of your own. Register
/// `{public URL}/v1/connect/{platform in lower case}/callback` as its redirect URI, for TIKTOK_BUSINESS
/// with a slash at its end.
#[utoipa::path(
    post, path = "/v1/apps", tag = "apps", operation_id = "createApp",
    security(("apiKey" = ["owner"])),
    request_body = CreateApp,
    responses(
        (status = CREATED, description = "The app", body = AppView),
        (status = BAD_REQUEST, description = "`INVALID_JSON`, `VALIDATION_FAILED`; `PLATFORM_UNKNOWN`", body = ProblemBody, content_type = "application/problem+json"),
        (status = NOT_FOUND, description = "`WORKSPACE_NOT_FOUND`", body = ProblemBody, content_type = "application/problem+json"),
        (status = CONFLICT, description = "`SCOPES_DIFFER`: another app is the same client and asks for others", body = ProblemBody, content_type = "application/problem+json"),
        (status = UNPROCESSABLE_ENTITY, description = "`PLATFORM_NOT_CONFIGURED`", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn create(
    Owner(caller): Owner,
    State(app): State<Arc<App>>,
    once: Once,
    JsonBody(new): JsonBody<CreateApp>,
) -> Result<(StatusCode, Json<AppView>), Problem> {
    make(&app, &caller, &once, NewAppThrough { new, door: AppDoor::Native }, Ok).await
}

/// List the apps.
#[utoipa::path(
    get, path = "/v1/apps", tag = "apps", operation_id = "listApps",
    security(("apiKey" = ["owner"])),
    params(PageQuery),
    responses((status = OK, description = "A page of apps, without secrets", body = List<AppView>)),
)]
pub(crate) async fn list(
    Owner(caller): Owner,
    State(app): State<Arc<App>>,
    Params(query): Params<PageQuery>,
) -> Result<Json<List<AppView>>, Problem> {
    view::list(&app, &caller, &Wanted::of::<AppId>(&query)?).await.map(Json)
}

/// Get an app.
#[utoipa::path(
    get, path = "/v1/apps/{app}", tag = "apps", operation_id = "getApp",
    security(("apiKey" = ["owner"])),
    params(("app" = String, Path, description = "The app")),
    responses((status = OK, description = "The app, without secrets", body = AppView)),
)]
pub(crate) async fn get(
    Owner(caller): Owner,
    State(app): State<Arc<App>>,
    Ids(id): Ids<AppId>,
) -> Result<Json<AppView>, Problem> {
    view::find(&app, &caller, &id).await.map(Json)
}

/// Change an app's name.
#[utoipa::path(
    patch, path = "/v1/apps/{app}", tag = "apps", operation_id = "updateApp",
    security(("apiKey" = ["owner"])),
    params(("app" = String, Path, description = "The app")),
    request_body = UpdateApp,
    responses((status = OK, description = "The app as it is now", body = AppView)),
)]
pub(crate) async fn update(
    Owner(caller): Owner,
    State(app): State<Arc<App>>,
    Ids(id): Ids<AppId>,
    JsonBody(change): JsonBody<UpdateApp>,
) -> Result<Json<AppView>, Problem> {
    rename(&app, &caller, &id, change).await.map(Json)
}

/// Delete an app with its secrets, once nothing needs it any more.
#[utoipa::path(
    delete, path = "/v1/apps/{app}", tag = "apps", operation_id = "deleteApp",
    security(("apiKey" = ["owner"])),
    params(("app" = String, Path, description = "The app")),
    responses(
        (status = NO_CONTENT, description = "Deleted"),
        (status = CONFLICT, description = "`APP_IN_USE`: accounts use it, a connect is open, or tokens wait to be revoked", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn delete(
    Owner(caller): Owner,
    State(app): State<Arc<App>>,
    Ids(id): Ids<AppId>,
) -> Result<StatusCode, Problem> {
    deletion::run(&app, &caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Add a client secret. From now on it is presented first, and the older one where the platform
/// refuses it: nothing is lost while the platform learns or forgets one of them.
#[utoipa::path(
    post, path = "/v1/apps/{app}/secrets", tag = "apps", operation_id = "addAppSecret",
    security(("apiKey" = ["owner"])),
    params(("app" = String, Path, description = "The app")),
    request_body = AddSecret,
    responses(
        (status = CREATED, description = "The secret, without itself", body = SecretView),
        (status = CONFLICT, description = "`TOO_MANY_SECRETS`: there are two", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn add_secret(
    Owner(caller): Owner,
    State(app): State<Arc<App>>,
    Ids(id): Ids<AppId>,
    once: Once,
    JsonBody(new): JsonBody<AddSecret>,
) -> Result<(StatusCode, Json<SecretView>), Problem> {
    let added = secrets::add(&app, &caller, &once, &id, &new.client_secret).await?;
    Ok((StatusCode::CREATED, Json(added)))
}

/// Destroy a client secret; the other one stays.
#[utoipa::path(
    delete, path = "/v1/apps/{app}/secrets/{secret}", tag = "apps", operation_id = "deleteAppSecret",
    security(("apiKey" = ["owner"])),
    params(("app" = String, Path, description = "The app"), ("secret" = String, Path, description = "The secret's id")),
    responses(
        (status = NO_CONTENT, description = "Destroyed"),
        (status = CONFLICT, description = "`LAST_SECRET`: the app needs one", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn delete_secret(
    Owner(caller): Owner,
    State(app): State<Arc<App>>,
    Ids((id, secret)): Ids<(AppId, AppSecretId)>,
) -> Result<StatusCode, Problem> {
    secrets::remove(&app, &caller, &id, &secret).await?;
    Ok(StatusCode::NO_CONTENT)
}
