//! `/v1/platforms`: what can be connected.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use latchkey_shared::platforms::{BUILT_IN, Reach, Spec};
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::Viewer;
use crate::pagination::List;
use crate::problem::Problem;
use crate::state::App;

/// A platform.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Platform)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PlatformView {
    #[schema(example = "SANDBOX")]
    id: &'static str,
    /// What people call it.
    name: &'static str,
    /// How an account is connected.
    #[schema(example = "authorization_code")]
    flow: &'static str,
    /// Whether the operator has given credentials: only then can it be connected.
    configured: bool,
    /// What is asked for unless a connect says otherwise.
    default_scopes: Vec<String>,
    /// How long an access token usually lives.
    token_lifetime_seconds: u64,
    /// How tokens stay alive: `rotating`, `stable` or `reconsent_only`.
    refresh_model: &'static str,
    revocation: RevocationView,
}

/// What a disconnect can do at the platform.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Revocation)]
pub(crate) struct RevocationView {
    /// Whether the platform can be told.
    supported: bool,
    /// What ends when it is told: the `token`, the `grant`, or everything of the `person`.
    reach: Option<&'static str>,
}

impl PlatformView {
    fn of(spec: &Spec, app: &App) -> Self {
        let configured = app.platforms.get(spec.id);
        let default_scopes = match configured {
            Some(platform) => platform.default_scopes.clone(),
            None => spec.default_scopes.iter().map(ToString::to_string).collect(),
        };
        Self {
            id: spec.id,
            name: spec.name,
            flow: "authorization_code",
            configured: configured.is_some(),
            default_scopes,
            token_lifetime_seconds: spec.token_lifetime.as_secs(),
            refresh_model: spec.refresh.as_str(),
            revocation: RevocationView {
                supported: spec.revoke.is_some(),
                reach: spec.revoke.map(|(_, reach)| Reach::as_str(reach)),
            },
        }
    }
}

/// List the platforms that this installation knows.
#[utoipa::path(
    get, path = "/v1/platforms", tag = "platforms", operation_id = "listPlatforms",
    security(("apiKey" = ["viewer"])),
    responses((status = OK, description = "Every platform, on one page", body = List<PlatformView>)),
)]
pub(crate) async fn list(
    _: Viewer,
    State(app): State<Arc<App>>,
) -> Result<Json<List<PlatformView>>, Problem> {
    let data = BUILT_IN.iter().map(|spec| PlatformView::of(spec, &app));
    Ok(Json(List { data: data.collect(), next_cursor: None }))
}
