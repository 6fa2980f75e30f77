//! `/v1/platforms`: what can be connected.

use std::str::FromStr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use latchkey_shared::platforms::quirks::Accounts;
use latchkey_shared::platforms::{BUILT_IN, Platform, Platforms, Quirks, Reach, Spec};
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
    pub(crate) id: String,
    /// What people call it.
    pub(crate) name: String,
    /// How an account is connected: `authorization_code` (the person approves in a browser), or
    /// `app_password` (a connect is started with `credentials`).
    #[schema(example = "authorization_code")]
    pub(crate) flow: &'static str,
    /// Whether the operator has a client there, or needs none. Where not, connects go through an app of your own.
    pub(crate) configured: bool,
    /// What is asked for unless a connect says otherwise.
    pub(crate) default_scopes: Vec<String>,
    /// Whether a connect may not ask for scopes of its own: the set belongs to the client.
    pub(crate) scopes_fixed: bool,
    /// What one consent connects: `one` account, or those that are chosen of the ones `listed`.
    #[schema(example = "one")]
    pub(crate) accounts: &'static str,
    /// How long an access token usually lives, if that is known.
    pub(crate) token_lifetime_seconds: Option<u64>,
    /// How tokens stay alive: `rotating`, `stable`, `self_extending` or `reconsent_only`.
    pub(crate) refresh_model: &'static str,
    pub(crate) revocation: RevocationView,
}

/// What a disconnect can do at the platform.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Revocation)]
pub(crate) struct RevocationView {
    /// Whether the platform can be told; null as long as the platform was not asked.
    pub(crate) supported: Option<bool>,
    /// What ends when it is told: the `token`, the `grant`, or everything of the `person`.
    pub(crate) reach: Option<&'static str>,
}

impl PlatformView {
    /// A built-in platform that has no place here.
    fn of_spec(spec: &Spec) -> Self {
        Self {
            id: spec.id.to_owned(),
            name: spec.name.to_owned(),
            flow: spec.flow.as_str(),
            configured: false,
            default_scopes: spec.default_scopes.iter().map(ToString::to_string).collect(),
            scopes_fixed: spec.quirks.scopes_fixed,
            accounts: accounts(&spec.quirks),
            token_lifetime_seconds: spec.token_lifetime.map(|lifetime| lifetime.as_secs()),
            refresh_model: spec.refresh.as_str(),
            revocation: RevocationView::new(Some(spec.urls.revoke.is_some()), spec.reach),
        }
    }

    fn of(platform: &Platform, platforms: &Platforms) -> Self {
        let known = platforms.known_endpoints(platform);
        let revocable = known.map(|endpoints| endpoints.revoke_url.is_some());
        Self {
            id: platform.id.clone(),
            name: platform.name.clone(),
            flow: platform.flow.as_str(),
            configured: platform.client.is_some(),
            default_scopes: platform.default_scopes.clone(),
            scopes_fixed: platform.quirks.scopes_fixed,
            accounts: accounts(platform.quirks),
            token_lifetime_seconds: platform.token_lifetime.map(|lifetime| lifetime.as_secs()),
            refresh_model: platform.refresh.as_str(),
            revocation: RevocationView::new(revocable, platform.reach),
        }
    }
}

fn accounts(quirks: &Quirks) -> &'static str {
    match quirks.accounts {
        Accounts::Holder => "one",
        Accounts::Listed(_) => "listed",
    }
}

/// Everything that this installation knows, by id: what is built in and the operator's own providers.
pub(crate) fn all(platforms: &Platforms) -> Vec<PlatformView> {
    let built_in = BUILT_IN.iter().map(|spec| match platforms.get(spec.id) {
        Some(platform) => PlatformView::of(platform, platforms),
        None => PlatformView::of_spec(spec),
    });
    let providers = platforms.providers().map(|platform| PlatformView::of(platform, platforms));
    let mut rows: Vec<_> = built_in.chain(providers).collect();
    rows.sort_by(|one, other| one.id.cmp(&other.id));
    rows
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
    let mut rows = all(&app.platforms);
    rows.retain(|row| page.after.is_none_or(|after| row.id.as_str() > after));
    Ok(Json(wanted.list(rows, |row| row.id.clone(), |row| row)))
}
