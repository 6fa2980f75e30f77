//! Starting a connect: one transaction, and the authorize URL at once; or, with an app password, the
//! command to present it.

use std::sync::Arc;

use axum::http::StatusCode;
use chrono::TimeDelta;
use diesel_async::AsyncPgConnection;
use latchkey_shared::db::accounts;
use latchkey_shared::db::apps;
use latchkey_shared::db::connects::{self, ConnectStatus, NewConnect};
use latchkey_shared::db::profiles;
use latchkey_shared::db::workspaces::Workspace;
use latchkey_shared::events::EventType;
use latchkey_shared::ids::{AccountId, AppId, ConnectId, WorkspaceId};
use latchkey_shared::keyring::Owner;
use latchkey_shared::platforms::{Endpoints, Flow, Platform};
use latchkey_shared::{authorize, random};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde_json::Value;
use url::Url;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::credentials;
use super::request::StartConnect;
use crate::code::Code;
use crate::handover;
use crate::idempotency::Once;
use crate::problem::Problem;
use crate::redirect;
use crate::state::App;
use crate::timestamp::Timestamp;
use crate::validate::Checks;

/// A connect that waits for the person, or, with `credentials`, goes on by itself.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StartedConnect {
    #[schema(value_type = String, example = "con_01JCZ5M2V8Q4T6W8Y0A2B4C6D8")]
    connect_id: ConnectId,
    /// Where the person approves. Works once. Null for a connect with `credentials`: `GET` tells how it
    /// goes, and events how it ended.
    authorize_url: Option<Url>,
    /// What the platform sends back with the browser.
    state: String,
    expires_at: Timestamp,
    status: ConnectStatus,
}

/// Everything that a connect needs and that is not made for it.
struct Ground<'a> {
    platform: &'a Platform,
    endpoints: Arc<Endpoints>,
    client_id: String,
    app_id: Option<AppId>,
    redirect_url: Option<Url>,
    scopes: Vec<String>,
    metadata: Value,
    /// In place of a code.
    credentials: Option<Zeroizing<Vec<u8>>>,
}

/// Starts a connect.
pub(crate) async fn run(
    app: &App,
    once: &Once,
    workspace: &Workspace,
    request: StartConnect,
) -> Result<StartedConnect, Problem> {
    request.check()?;
    let platform = find_platform(app, &request.platform)?;
    let redirect_url = check_redirect(request.redirect_url.as_deref(), workspace)?;
    let mut conn = app.conn().await?;
    check_room(app, &mut conn, workspace).await?;
    if let Some(profile) = &request.profile_id {
        let found = profiles::find(&mut conn, &workspace.id, profile).await?;
        found.ok_or_else(|| missing(Code::ProfileNotFound, "profile", "/profileId"))?;
    }
    let account_app = match &request.account_id {
        Some(account) => reconnected_app(&mut conn, workspace, (account, platform)).await?,
        None => None,
    };
    let app_id = request.app_id.clone().or(account_app);
    let (client_id, app_scopes) = match &app_id {
        Some(id) => find_client(&mut conn, workspace, (id, platform)).await?,
        None => (platform.client_id.clone(), None),
    };
    drop(conn);
    let endpoints = app.platforms.endpoints(platform, app.clock()).await;
    let endpoints = endpoints.map_err(|_| Problem::platform_unavailable(&platform.name))?;
    let usual = app_scopes.unwrap_or_else(|| platform.default_scopes.clone());
    let ground = Ground {
        platform,
        credentials: credentials::check(request.credentials.as_ref(), (platform, &endpoints))?,
        endpoints,
        client_id,
        app_id,
        redirect_url,
        scopes: choose_scopes(platform, request.scopes.clone(), usual)?,
        metadata: Value::Object(request.metadata.clone().unwrap_or_default()),
    };
    write(app, once, (workspace, &request), ground).await
}

pub(crate) fn find_platform<'a>(app: &'a App, id: &str) -> Result<&'a Platform, Problem> {
    if !app.platforms.is_known(id) {
        return Err(Problem::new(
            Code::PlatformUnknown,
            "`GET /v1/platforms` lists the platforms; ids are upper case.",
        )
        .at("/platform"));
    }
    app.platforms.get(id).ok_or_else(|| {
        let detail = format!("The operator has to give credentials for {id} first.");
        Problem::new(Code::PlatformNotConfigured, detail)
    })
}

/// What the request asks for, where it may choose.
fn choose_scopes(
    platform: &Platform,
    asked: Option<Vec<String>>,
    usual: Vec<String>,
) -> Result<Vec<String>, Problem> {
    let Some(asked) = asked else { return Ok(usual) };
    if platform.quirks.scopes_fixed {
        let detail = format!(
            "Leave `scopes` out: the set belongs to the client, since {} ends the person's other tokens \
             when it changes. The app's `scopes`, or the operator's platforms file, say what it is.",
            platform.name
        );
        return Err(Problem::new(Code::ScopesFixed, detail).at("/scopes"));
    }
    if platform.flow == Flow::AppPassword {
        let mut checks = Checks::default();
        checks.wrong("/scopes", "must be left out: an app password has none");
        checks.finish()?;
    }
    Ok(asked)
}

fn check_redirect(url: Option<&str>, workspace: &Workspace) -> Result<Option<Url>, Problem> {
    let checked = url.map(|url| redirect::check(url, &workspace.redirect_allowlist));
    checked.transpose().map_err(|message| {
        let detail = format!("The URL {message}.");
        Problem::new(Code::RedirectNotAllowed, detail).at("/redirectUrl")
    })
}

async fn check_room(
    app: &App,
    conn: &mut AsyncPgConnection,
    workspace: &Workspace,
) -> Result<(), Problem> {
    let open = connects::count_open(conn, app.clock(), &workspace.id).await?;
    let max = app.limits.max_open_connects;
    if open < max {
        return Ok(());
    }
    let detail = format!("{max} are open: wait until some end or expire, or cancel some.");
    Err(Problem::new(Code::TooManyOpenConnects, detail))
}

fn missing(code: Code, what: &str, pointer: &str) -> Problem {
    let detail = format!("The workspace has no such {what}.");
    Problem::new(code, detail).at(pointer)
}

/// The app that an account was connected through: a platform may know the person under another id
/// through another app.
async fn reconnected_app(
    conn: &mut AsyncPgConnection,
    workspace: &Workspace,
    (account, platform): (&AccountId, &Platform),
) -> Result<Option<AppId>, Problem> {
    let account = accounts::find(conn, &workspace.id, account).await?;
    account
        .filter(|account| account.platform == platform.id)
        .map(|account| account.app_id)
        .ok_or_else(|| missing(Code::AccountNotFound, "account of this platform", "/accountId"))
}

/// The app's client id, and its scopes if it has some.
async fn find_client(
    conn: &mut AsyncPgConnection,
    workspace: &Workspace,
    (app, platform): (&AppId, &Platform),
) -> Result<(String, Option<Vec<String>>), Problem> {
    let app = apps::find(conn, &workspace.organisation_id, &workspace.id, app).await?;
    app.filter(|app| app.platform == platform.id)
        .map(|app| (app.client_id, app.scopes))
        .ok_or_else(|| missing(Code::AppNotFound, "app of this platform", "/appId"))
}

async fn write(
    app: &App,
    once: &Once,
    (workspace, request): (&Workspace, &StartConnect),
    ground: Ground<'_>,
) -> Result<StartedConnect, Problem> {
    let id = ConnectId::new(app.clock());
    let place = (&workspace.id, &id);
    let state = random::token();
    let verifier = authorize::new_verifier(ground.platform);
    let redirect_uri = app.url(&callback_path(ground.platform));
    let mut work = app.store.begin().await?;
    let sealed_verifier = seal(app, &mut work, place, verifier.as_ref()).await?;
    let new = NewConnect {
        id: id.clone(),
        workspace_id: &workspace.id,
        platform: &ground.platform.id,
        app_id: ground.app_id.as_ref(),
        profile_id: request.profile_id.as_ref(),
        account_id: request.account_id.as_ref(),
        redirect_url: ground.redirect_url.as_ref().map(Url::as_str),
        redirect_uri: &redirect_uri,
        issuer: (ground.platform.issuer.as_deref(), ground.endpoints.iss_required),
        scopes: &ground.scopes,
        metadata: &ground.metadata,
        state_hash: &authorize::hash(&state),
        sealed_verifier: sealed_verifier.as_deref(),
        lifetime: lifetime(app),
    };
    let mut connect = connects::insert(&mut work, app.clock(), &new).await?;
    work.emit(connect.event(EventType::ConnectStarted)).await?;
    let mut authorize_url = None;
    if let Some(credentials) = &ground.credentials {
        let what = (credentials.as_slice(), None);
        let authorized = handover::authorize(app, &mut work, place, what).await?;
        connect = authorized.ok_or_else(|| Problem::internal(anyhow::anyhow!("{id} is new")))?;
    } else {
        let asked = authorize::Request {
            client_id: &ground.client_id,
            redirect_uri: &redirect_uri,
            scopes: &ground.scopes,
            state: &state,
            verifier: verifier.as_ref(),
        };
        authorize_url = Some(authorize::authorize_url(ground.platform, &ground.endpoints, &asked));
    }
    let expires_at = connect.expires_at.into();
    let status = connect.status;
    let started =
        StartedConnect { connect_id: connect.id, authorize_url, state, expires_at, status };
    once.keep(app, &mut work, (StatusCode::CREATED, &started)).await?;
    work.commit().await?;
    Ok(started)
}

/// Some platforms take only a redirect URI that ends with a slash; ours works with and without.
pub(crate) fn callback_path(platform: &Platform) -> String {
    let slash = if platform.quirks.redirect_slash { "/" } else { "" };
    format!("/v1/connect/{}/callback{slash}", platform.id.to_ascii_lowercase())
}

async fn seal(
    app: &App,
    conn: &mut AsyncPgConnection,
    (workspace, id): (&WorkspaceId, &ConnectId),
    verifier: Option<&SecretString>,
) -> Result<Option<Vec<u8>>, Problem> {
    let Some(verifier) = verifier else {
        return Ok(None);
    };
    let owner = Owner::workspace(workspace);
    let place = connects::verifier_place(workspace, id);
    let key = app.store.vault().sealing_key(conn, owner).await?;
    Ok(Some(key.seal(place, verifier.expose_secret().as_bytes())?))
}

fn lifetime(app: &App) -> TimeDelta {
    TimeDelta::from_std(app.limits.connect_lifetime).unwrap_or(TimeDelta::MAX)
}
