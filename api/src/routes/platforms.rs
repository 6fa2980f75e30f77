//! `/v1/platforms`: what can be connected.

use std::str::FromStr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use latchkey_shared::platforms::{BUILT_IN, Platform, Reach, Spec};
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
    id: String,
    /// What people call it.
    name: String,
    /// How an account is connected.
    #[schema(example = "authorization_code")]
    flow: &'static str,
    /// Whether the operator has given credentials: only then can it be connected.
    configured: bool,
    /// What is asked for unless a connect says otherwise.
    default_scopes: Vec<String>,
    /// How long an access token usually lives, if that is known.
    token_lifetime_seconds: Option<u64>,
    /// How tokens stay alive: `rotating`, `stable` or `reconsent_only`.
    refresh_model: &'static str,
    revocation: RevocationView,
}

/// What a disconnect can do at the platform.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Revocation)]
pub(crate) struct RevocationView {
    /// Whether the platform can be told; null as long as the platform was not asked.
    supported: Option<bool>,
    /// What ends when it is told: the `token`, the `grant`, or everything of the `person`.
    reach: Option<&'static str>,
}

impl PlatformView {
    /// A built-in platform that nobody has configured.
    fn of_spec(spec: &Spec) -> Self {
        let reach = spec.revoke.map(|(_, reach)| reach);
        Self {
            id: spec.id.to_owned(),
            name: spec.name.to_owned(),
            flow: "authorization_code",
            configured: false,
            default_scopes: spec.default_scopes.iter().map(ToString::to_string).collect(),
            token_lifetime_seconds: Some(spec.token_lifetime.as_secs()),
            refresh_model: spec.refresh.as_str(),
            revocation: RevocationView::new(Some(reach.is_some()), reach.unwrap_or(Reach::Person)),
        }
    }

    fn of(platform: &Platform, app: &App) -> Self {
        let known = app.platforms.known_endpoints(platform);
        let revocable = known.map(|endpoints| endpoints.revoke_url.is_some());
        Self {
            id: platform.id.clone(),
            name: platform.name.clone(),
            flow: "authorization_code",
            configured: true,
            default_scopes: platform.default_scopes.clone(),
            token_lifetime_seconds: platform.token_lifetime.map(|lifetime| lifetime.as_secs()),
            refresh_model: platform.refresh.as_str(),
            revocation: RevocationView::new(revocable, platform.reach),
        }
    }
}

impl RevocationView {
    fn new(supported: Option<bool>, reach: Reach) -> Self {
        let reach = (supported != Some(false)).then(|| reach.as_str());
        Self { supported, reach }
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
///
/// What is built in and the operator's own providers, by id.
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
    let built_in = BUILT_IN.iter().map(|spec| match app.platforms.get(spec.id) {
        Some(platform) => PlatformView::of(platform, &app),
        None => PlatformView::of_spec(spec),
    });
    let providers = app.platforms.providers().map(|platform| PlatformView::of(platform, &app));
    let mut rows: Vec<_> = built_in.chain(providers).collect();
    rows.retain(|row| page.after.is_none_or(|after| row.id.as_str() > after));
    rows.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(Json(wanted.list(rows, |row| row.id.clone(), |row| row)))
}
