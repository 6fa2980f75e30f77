//! Starting a connect: one transaction, and the authorize URL at once; or, with an app password, the
//! command to present it.

use std::sync::Arc;

use axum::http::StatusCode;
use chrono::TimeDelta;
use diesel_async::AsyncPgConnection;
use latchkey_shared::db::accounts;
use latchkey_shared::db::apps::{self, AppDoor};
use latchkey_shared::db::connects::{self, Binding, ConnectStatus, NewConnect};
use latchkey_shared::db::profiles;
use latchkey_shared::db::workspaces::{AccountPolicy, Workspace};
use latchkey_shared::events::EventData;
use latchkey_shared::ids::{AccountId, AppId, ConnectId};
use latchkey_shared::keyring::Owner;
use latchkey_shared::platforms::{Endpoints, Flow, Platform};
use latchkey_shared::{authorize, random};
use secrecy::ExposeSecret as _;
use serde::Serialize;
use serde_json::Value;
use url::Url;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::request::{Door, StartConnect};
use super::{credentials, slot};
use crate::code::Code;
use crate::compat::words;
use crate::handover;
use crate::idempotency::Once;
use crate::problem::Problem;
use crate::redirect;
use crate::state::App;
use crate::validate::Checks;
use crate::web::connect_page;
use latchkey_shared::timestamp::Timestamp;

/// A connect that waits for the person, or, with `credentials`, goes on by itself.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StartedConnect {
    #[schema(value_type = String, example = "con_01JCZ5M2V8Q4T6W8Y0A2B4C6D8")]
    pub(crate) connect_id: ConnectId,
    /// Where the person approves. Works once. Null for a connect with `credentials`, of which `GET` tells
    /// how it goes, and for one that is bound to a browser.
    pub(crate) authorize_url: Option<Url>,
    /// A page of ours that shows the person what is about to be connected, and leads on when they press
    /// its button. Null for a connect with `credentials`.
    connect_url: Option<Url>,
    /// What the platform sends back with the browser. Null for one that is bound to a browser.
    pub(crate) state: Option<String>,
    expires_at: Timestamp,
    status: ConnectStatus,
}

/// Everything that a connect needs and that is not made for it.
struct Ground<'a> {
    platform: &'a Platform,
    endpoints: Arc<Endpoints>,
    client: Client,
    app_id: Option<AppId>,
    account_id: Option<AccountId>,
    redirect_url: Option<Url>,
    scopes: Vec<String>,
    metadata: Value,
    door: Door,
    /// In place of a code.
    credentials: Option<Zeroizing<Vec<u8>>>,
}

/// The OAuth client that a connect goes through.
struct Client {
    id: String,
    /// What is asked for unless the request says otherwise; `None`: what the platform has by default.
    scopes: Option<Vec<String>>,
    /// Through whose API it was registered.
    door: AppDoor,
}

/// Starts a connect. An exclusive one is refused before anything opens where its slot is taken.
pub(crate) async fn run(
    app: &App,
    once: &Once,
    workspace: &Workspace,
    (request, door): (StartConnect, Door),
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
    let one = door.exclusive || workspace.account_policy == AccountPolicy::OnePerPlatform;
    let door = Door { exclusive: one, ..door };
    let account_id = match request.account_id.clone() {
        None if one => slot::find(&mut conn, workspace, platform).await?,
        Some(account) if one => {
            slot::check(&mut conn, workspace, (platform, &account)).await?;
            Some(account)
        }
        named => named,
    };
    let account_app = match &account_id {
        Some(account) => reconnected_app(&mut conn, workspace, (account, platform)).await?,
        None => None,
    };
    let app_id = request.app_id.clone().or(account_app);
    let client = match &app_id {
        Some(id) => find_client(&mut conn, workspace, (id, platform)).await?,
        None => {
            let id = platform.client_id.clone();
            Client { id, scopes: None, door: AppDoor::Native }
        }
    };
    drop(conn);
    let endpoints = app.platforms.endpoints(platform, app.clock()).await;
    let endpoints = endpoints.map_err(|_| Problem::platform_unavailable(&platform.name))?;
    let usual = client.scopes.clone().unwrap_or_else(|| platform.default_scopes.clone());
    let ground = Ground {
        platform,
        credentials: credentials::check(request.credentials.as_ref(), (platform, &endpoints))?,
        endpoints,
        client,
        app_id,
        account_id,
        redirect_url,
        scopes: choose_scopes(platform, request.scopes.clone(), usual)?,
        metadata: Value::Object(request.metadata.clone().unwrap_or_default()),
        door,
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

async fn find_client(
    conn: &mut AsyncPgConnection,
    workspace: &Workspace,
    (app, platform): (&AppId, &Platform),
) -> Result<Client, Problem> {
    let app = apps::find(conn, &workspace.organisation_id, &workspace.id, app).await?;
    app.filter(|app| app.platform == platform.id)
        .map(|app| Client { id: app.client_id, scopes: app.scopes, door: app.door })
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
    let (state, link) = (random::token(), random::token());
    let verifier = authorize::new_verifier(ground.platform);
    let redirect_uri = app.url(&callback_path(ground.platform, ground.client.door));
    let binding = request.binding.unwrap_or(Binding::None);
    let mut work = app.store.begin().await?;
    let key = app.store.vault().sealing_key(&mut work, Owner::workspace(&workspace.id)).await?;
    let sealed_verifier = verifier.as_ref().map(|verifier| {
        let place = connects::verifier_place(&workspace.id, &id);
        key.seal(place, verifier.expose_secret().as_bytes())
    });
    let sealed_verifier = sealed_verifier.transpose()?;
    let link_hash = ground.credentials.is_none().then(|| authorize::hash(&link));
    let new = NewConnect {
        id: id.clone(),
        workspace_id: &workspace.id,
        platform: &ground.platform.id,
        app_id: ground.app_id.as_ref(),
        profile_id: request.profile_id.as_ref(),
        account_id: ground.account_id.as_ref(),
        redirect_url: ground.redirect_url.as_ref().map(Url::as_str),
        redirect_uri: &redirect_uri,
        issuer: (ground.platform.issuer.as_deref(), ground.endpoints.iss_required),
        scopes: &ground.scopes,
        metadata: &ground.metadata,
        state_hash: &authorize::hash(&state),
        sealed_verifier: sealed_verifier.as_deref(),
        sealed_state: &key.seal(connects::state_place(&workspace.id, &id), state.as_bytes())?,
        link_hash: link_hash.as_deref(),
        binding,
        exclusive: ground.door.exclusive,
        result_format: ground.door.result_format,
        lifetime: lifetime(app),
    };
    let mut connect = connects::insert(&mut work, app.clock(), &new).await?;
    work.emit(connect.event(EventData::ConnectStarted)).await?;
    if let Some(credentials) = &ground.credentials {
        let what = (credentials.as_slice(), None);
        let authorized = handover::authorize(app, &mut work, place, what).await?;
        connect = authorized.ok_or_else(|| Problem::internal(anyhow::anyhow!("{id} is new")))?;
    }
    let asked = authorize::Request {
        client_id: &ground.client.id,
        redirect_uri: &redirect_uri,
        scopes: &ground.scopes,
        state: &state,
        verifier: verifier.as_ref(),
    };
    let link = link_hash.is_some().then(|| connect_page::link(app, &connect.id, &link));
    let authorize_url = match (&link, binding, ground.platform.flow) {
        (None, ..) | (_, Binding::Browser, _) => None,
        (Some(link), _, Flow::AppPassword) => Some(link.clone()),
        _ => Some(authorize::authorize_url(ground.platform, &ground.endpoints, &asked)),
    };
    let started = StartedConnect {
        expires_at: connect.expires_at.into(),
        status: connect.status,
        connect_id: connect.id,
        authorize_url,
        connect_url: link,
        state: (binding != Binding::Browser).then_some(state),
    };
    once.keep(app, &mut work, (StatusCode::CREATED, &started)).await?;
    work.commit().await?;
    Ok(started)
}

/// The path that the platform sends the browser back to. Some platforms take only a redirect URI that
/// ends with a slash; ours works with and without. The owner of an app was told which to register by
/// the API that it was made through.
pub(crate) fn callback_path(platform: &Platform, door: AppDoor) -> String {
    let slash = if platform.quirks.redirect_slash { "/" } else { "" };
    match door {
        AppDoor::Native => {
            format!("/v1/connect/{}/callback{slash}", platform.id.to_ascii_lowercase())
        }
        AppDoor::Postpeer => {
            let word = words::postpeer(&platform.id).unwrap_or(&platform.id);
            format!("/compat/postpeer/v1/connect/{word}/callback{slash}")
        }
    }
}

fn lifetime(app: &App) -> TimeDelta {
    TimeDelta::from_std(app.limits.connect_lifetime).unwrap_or(TimeDelta::MAX)
}
