//! `/v1/platforms`: what can be connected.

use std::str::FromStr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use latchkey_shared::platforms::{BUILT_IN, Reach, Spec};
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::Viewer;
use crate::extract::Params;
use crate::pagination::{List, PageQuery, Wanted};
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

/// What orders the list.
struct PlatformId;

impl FromStr for PlatformId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        if !text.is_empty() && text.bytes().all(plain) { Ok(Self) } else { Err(()) }
    }
}

/// List the platforms that this installation knows.
#[utoipa::path(
    get, path = "/v1/platforms", tag = "platforms", operation_id = "listPlatforms",
    security(("apiKey" = ["viewer"])),
    params(PageQuery),
    responses((status = OK, description = "A page of platforms", body = List<PlatformView>)),
)]
pub(crate) async fn list(
    _: Viewer,
    State(app): State<Arc<App>>,
    Params(query): Params<PageQuery>,
) -> Result<Json<List<PlatformView>>, Problem> {
    let wanted = Wanted::of::<PlatformId>(&query)?;
    let page = wanted.page();
    let mut rows: Vec<_> = BUILT_IN.iter().map(|spec| PlatformView::of(spec, &app)).collect();
    rows.retain(|row| page.after.is_none_or(|after| row.id > after));
    rows.sort_by_key(|row| row.id);
    Ok(Json(wanted.list(rows, |row| row.id.to_owned(), |row| row)))
}
