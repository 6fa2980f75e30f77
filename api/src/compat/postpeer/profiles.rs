//! PostPeer's profiles are ours.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Map, Value};

use super::view::{CreateProfile, DESCRIPTION, ProfileList, ProfileMade, ProfileShown};
use crate::auth::{Admin, Viewer};
use crate::compat::{self, lists};
use crate::extract::JsonBody;
use crate::idempotency::Once;
use crate::problem::Problem;
use crate::routes::profiles;
use crate::state::App;

/// Make a profile
///
/// Name its `id` as `profileId` when you connect: the list of integrations can then be asked for its own.
#[utoipa::path(
    post, path = "/v1/profiles/", tag = "Profiles", operation_id = "createProfile",
    request_body = CreateProfile,
    responses((status = CREATED, description = "The profile.", body = ProfileMade)),
)]
pub(super) async fn create(
    Admin(caller): Admin,
    State(app): State<Arc<App>>,
    once: Once,
    JsonBody(new): JsonBody<CreateProfile>,
) -> Result<(StatusCode, Json<ProfileMade>), Problem> {
    let workspace = compat::workspace(&app, &caller, None).await?;
    let description = new.description.map(|text| (DESCRIPTION.to_owned(), Value::String(text)));
    let metadata: Map<String, Value> = description.into_iter().collect();
    let new = profiles::CreateProfile { external_id: None, name: new.name, metadata };
    let asked = profiles::NewProfileIn { workspace: &workspace.id, new };
    let made = profiles::make(&app, &caller, &once, asked, ProfileMade::of).await;
    made.map_err(|problem| problem.about(|field| field.in_body(&[("/metadata", "/description")])))
}

/// List the profiles
#[utoipa::path(
    get, path = "/v1/profiles/", tag = "Profiles", operation_id = "listProfiles",
    responses((status = OK, description = "The profiles, the oldest first.", body = ProfileList)),
)]
pub(super) async fn list(
    Viewer(caller): Viewer,
    State(app): State<Arc<App>>,
) -> Result<Json<ProfileList>, Problem> {
    let workspace = compat::workspace(&app, &caller, None).await?;
    let profiles = lists::profiles(&app, &caller, &workspace).await?;
    let profiles = profiles.into_iter().map(ProfileShown::of).collect();
    Ok(Json(ProfileList { success: true, profiles }))
}
