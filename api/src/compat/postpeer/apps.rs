//! PostPeer's apps: OAuth clients whose owners register PostPeer's callback, which is why they are told apart.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use latchkey_shared::db::apps::AppDoor;
use latchkey_shared::ids::AppId;

use super::view::{AppList, AppMade, AppShown, CreateApp, Done, ReplaceSecret};
use crate::auth::Owner;
use crate::compat::words::Word as _;
use crate::compat::{self, lists};
use crate::extract::{Ids, JsonBody};
use crate::idempotency::Once;
use crate::problem::{Problem, ProblemBody};
use crate::routes::apps;
use crate::state::App;

/// Make an app of an OAuth client of your own
///
/// Register the base URL of this document and `/v1/connect/{platform}/callback` as its redirect URI. `platform`
/// and `clientId` never change.
#[utoipa::path(
    post, path = "/v1/apps/", tag = "Apps", operation_id = "createApp",
    request_body = CreateApp,
    responses(
        (status = CREATED, description = "The app, without its secret.", body = AppMade),
        (status = CONFLICT, description = "`SCOPES_DIFFER`: another app is the same client and asks for others.", body = ProblemBody, content_type = "application/problem+json"),
        (status = INTERNAL_SERVER_ERROR, description = "`PLATFORM_NOT_CONFIGURED`, or a failure of ours.", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn create(
    Owner(caller): Owner,
    State(app): State<Arc<App>>,
    once: Once,
    JsonBody(new): JsonBody<CreateApp>,
) -> Result<(StatusCode, Json<AppMade>), Problem> {
    let workspace = compat::workspace(&app, &caller, None).await?;
    let new = apps::CreateApp {
        platform: new.platform.ours().to_owned(),
        name: new.name,
        client_id: new.client_id,
        client_secret: new.client_secret,
        workspace_id: Some(workspace.id),
        scopes: None,
    };
    {
        let asked = apps::NewAppThrough { new, door: AppDoor::Postpeer };
        apps::make(&app, &caller, &once, asked, AppMade::of).await
    }
}

/// List the apps
#[utoipa::path(
    get, path = "/v1/apps/", tag = "Apps", operation_id = "listApps",
    responses((status = OK, description = "The apps, without secrets.", body = AppList)),
)]
pub(super) async fn list(
    Owner(caller): Owner,
    State(app): State<Arc<App>>,
) -> Result<Json<AppList>, Problem> {
    compat::workspace(&app, &caller, None).await?;
    let apps = lists::apps(&app, &caller).await?;
    Ok(Json(AppList { success: true, apps: apps.into_iter().filter_map(AppShown::of).collect() }))
}

/// Change the secret of an app
///
/// The new one is presented first from now on, and the one before it where the platform refuses the new one.
#[utoipa::path(
    post, path = "/v1/apps/{id}/secret", tag = "Apps", operation_id = "replaceAppSecret",
    params(("id" = String, Path, description = "The app")),
    request_body = ReplaceSecret,
    responses((status = OK, description = "The app, without its secret.", body = AppMade)),
)]
pub(super) async fn replace_secret(
    Owner(caller): Owner,
    State(app): State<Arc<App>>,
    Ids(id): Ids<AppId>,
    once: Once,
    JsonBody(new): JsonBody<ReplaceSecret>,
) -> Result<Json<AppMade>, Problem> {
    let what = apps::secrets::NewSecret { app: &id, secret: &new.client_secret };
    apps::secrets::replace(&app, &caller, &once, what, AppMade::of).await
}

/// Delete an app with its secrets
///
/// Connects that wait for a person end with it, and tokens that are being revoked are waited for, up to 10 seconds.
#[utoipa::path(
    delete, path = "/v1/apps/{id}", tag = "Apps", operation_id = "deleteApp",
    params(("id" = String, Path, description = "The app")),
    responses(
        (status = OK, description = "Deleted.", body = Done),
        (status = CONFLICT, description = "`APP_IN_USE`: integrations use it: disconnect them, or connect them through another app; or tokens still wait to be revoked.", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn delete(
    Owner(caller): Owner,
    State(app): State<Arc<App>>,
    Ids(id): Ids<AppId>,
) -> Result<Json<Done>, Problem> {
    apps::deletion::run_patiently(&app, &caller, &id).await?;
    Ok(Json(Done { success: true }))
}
