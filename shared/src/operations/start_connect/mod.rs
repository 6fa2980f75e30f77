//! Starting a connect: one transaction, and the authorize URL at once; or, with an app password, the
//! command to present it.

pub mod credentials;
mod request;
mod slot;

pub use request::{AskedThrough, Door, StartConnect};

use std::sync::Arc;

use diesel_async::AsyncPgConnection;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde_json::Value;
use url::Url;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::handover::{self, Brought};
use super::{Means, Unable, address};
use crate::code::Code;
use crate::db::apps::{self, AppDoor};
use crate::db::connects::{self, Binding, Connect, ConnectStatus, NewConnect};
use crate::db::workspaces::{AccountPolicy, Workspace};
use crate::db::{accounts, profiles};
use crate::events::EventData;
use crate::ids::{AccountId, AppId, ConnectId, ConnectKey};
use crate::keyring::KeyOwner;
use crate::platforms::{Endpoints, Flow, OperatorClient, Platform, Platforms};
use crate::refused::Refused;
use crate::timestamp::Timestamp;
use crate::validate::Checks;
use crate::work::Work;
use crate::{authorize, random, redirect, words};

/// The query's name for the link to a connect's first page.
pub const LINK: &str = "link";

/// A connect that waits for the person, or, with `credentials`, goes on by itself.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StartedConnect {
    /// Its id.
    #[schema(value_type = String, example = "con_01JCZ5M2V8Q4T6W8Y0A2B4C6D8")]
    pub connect_id: ConnectId,
    /// Where the person approves. Works once. Null for a connect with `credentials`, of which `GET` tells
    /// how it goes, and for one that is bound to a browser.
    pub authorize_url: Option<Url>,
    /// A page of ours that shows the person what is about to be connected, and leads on when they press
    /// its button. Null for a connect with `credentials`.
    pub connect_url: Option<Url>,
    /// What the platform sends back with the browser. Null for one that is bound to a browser.
    pub state: Option<String>,
    /// Until when it can be finished.
    pub expires_at: Timestamp,
    /// How far it is.
    pub status: ConnectStatus,
}

/// Everything that a connect needs and that is not made for it.
pub struct Prepared<'a> {
    means: Means<'a>,
    workspace: &'a Workspace,
    platform: &'a Platform,
    endpoints: Arc<Endpoints>,
    client: Client,
    request: StartConnect,
    app_id: Option<AppId>,
    account_id: Option<AccountId>,
    redirect_url: Option<Url>,
    scopes: Vec<String>,
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

/// Judges a request for a connect. An exclusive one is refused before anything opens where its slot is taken.
///
/// # Errors
/// When no connect can be started so.
pub async fn prepare<'a>(
    means: Means<'a>,
    workspace: &'a Workspace,
    asked: AskedThrough,
) -> Result<Prepared<'a>, Unable> {
    let AskedThrough { request, door } = asked;
    request.check()?;
    let platform = find_platform(means.platforms, &request.platform)?;
    let redirect_url = check_redirect(request.redirect_url.as_deref(), workspace)?;
    let mut conn = means.store.conn().await?;
    check_room(means, &mut conn, workspace).await?;
    if let Some(profile) = &request.profile_id {
        let found = profiles::find(&mut conn, &workspace.id, profile).await?;
        found.ok_or_else(|| missing(Code::ProfileNotFound, "profile", "/profileId"))?;
    }
    let one = door.exclusive || workspace.account_policy == AccountPolicy::OnePerPlatform;
    let asked_by = door;
    let door = Door { exclusive: one, ..door };
    let account_id = match request.account_id.clone() {
        None if one => slot::find(&mut conn, workspace, platform, &request, asked_by).await?,
        Some(account) if one => {
            slot::check(&mut conn, workspace, platform, &account).await?;
            Some(account)
        }
        named => named,
    };
    let account_app = match &account_id {
        Some(account) => reconnected_app(&mut conn, workspace, account, platform).await?,
        None => None,
    };
    let app_id = request.app_id.clone().or(account_app);
    let client = match &app_id {
        Some(id) => find_client(&mut conn, workspace, id, platform).await?,
        None => {
            let id = operator_client(platform)?.id.clone();
            Client { id, scopes: None, door: AppDoor::Native }
        }
    };
    drop(conn);
    let endpoints = means.platforms.endpoints(platform, means.clock()).await;
    let endpoints = endpoints.map_err(|_| Refused::platform_unavailable(&platform.name))?;
    let usual = client.scopes.clone().unwrap_or_else(|| platform.default_scopes.clone());
    Ok(Prepared {
        credentials: credentials::check(request.credentials.as_ref(), platform, &endpoints)?,
        scopes: choose_scopes(platform, request.scopes.clone(), usual)?,
        means,
        workspace,
        platform,
        endpoints,
        client,
        request,
        app_id,
        account_id,
        redirect_url,
        door,
    })
}

/// The client through which accounts are connected that name no app.
///
/// # Errors
/// `PLATFORM_NOT_CONFIGURED` where the operator has none.
pub fn operator_client(platform: &Platform) -> Result<&OperatorClient, Refused> {
    platform.client.as_ref().ok_or_else(|| {
        let detail = format!(
            "The operator has no OAuth client at {}: make an app of your own and name its id, or ask the \
             operator for one.",
            platform.name
        );
        Refused::new(Code::PlatformNotConfigured, detail)
    })
}

/// The platform of an id, if it can be connected here: through the operator's client or at least through apps.
///
/// # Errors
/// `PLATFORM_UNKNOWN` or `PLATFORM_NOT_CONFIGURED`.
pub fn find_platform<'a>(platforms: &'a Platforms, id: &str) -> Result<&'a Platform, Refused> {
    if !platforms.is_known(id) {
        return Err(Refused::new(
            Code::PlatformUnknown,
            "`GET /v1/platforms` lists the platforms; ids are upper case.",
        )
        .at("/platform"));
    }
    platforms.get(id).ok_or_else(|| {
        let detail = format!(
            "The operator has to set {id} up first: it has no section in the platforms file."
        );
        Refused::new(Code::PlatformNotConfigured, detail)
    })
}

/// What the request asks for, where it may choose.
fn choose_scopes(
    platform: &Platform,
    asked: Option<Vec<String>>,
    usual: Vec<String>,
) -> Result<Vec<String>, Refused> {
    let Some(asked) = asked else { return Ok(usual) };
    if platform.quirks.scopes_fixed {
        let detail = format!(
            "Leave `scopes` out: the set belongs to the client, since {} ends the person's other tokens \
             when it changes. The app's `scopes`, or the operator's platforms file, say what it is.",
            platform.name
        );
        return Err(Refused::new(Code::ScopesFixed, detail).at("/scopes"));
    }
    if platform.flow == Flow::AppPassword {
        let mut checks = Checks::default();
        checks.wrong("/scopes", "must be left out: an app password has none");
        checks.finish()?;
    }
    Ok(asked)
}

fn check_redirect(url: Option<&str>, workspace: &Workspace) -> Result<Option<Url>, Refused> {
    let checked = url.map(|url| redirect::check(url, &workspace.redirect_allowlist));
    checked.transpose().map_err(|message| {
        let detail = format!("The URL {message}.");
        Refused::new(Code::RedirectNotAllowed, detail).at("/redirectUrl")
    })
}

async fn check_room(
    means: Means<'_>,
    conn: &mut AsyncPgConnection,
    workspace: &Workspace,
) -> Result<(), Unable> {
    let max = means.max_open_connects;
    if connects::has_room(conn, &workspace.id, max).await? {
        return Ok(());
    }
    let detail = format!("{max} are open: wait until some end or expire, or cancel some.");
    Err(Refused::new(Code::TooManyOpenConnects, detail).into())
}

fn missing(code: Code, what: &str, pointer: &str) -> Refused {
    let detail = format!("The workspace has no such {what}.");
    Refused::new(code, detail).at(pointer)
}

/// The app that an account was connected through: a platform may know the person under another id
/// through another app.
async fn reconnected_app(
    conn: &mut AsyncPgConnection,
    workspace: &Workspace,
    account: &AccountId,
    platform: &Platform,
) -> Result<Option<AppId>, Unable> {
    let account = accounts::find(conn, &workspace.id, account).await?;
    account
        .filter(|account| account.platform == platform.id)
        .map(|account| account.app_id)
        .ok_or_else(|| {
            missing(Code::AccountNotFound, "account of this platform", "/accountId").into()
        })
}

async fn find_client(
    conn: &mut AsyncPgConnection,
    workspace: &Workspace,
    app: &AppId,
    platform: &Platform,
) -> Result<Client, Unable> {
    let app = apps::find(conn, &workspace.organisation_id, &workspace.id, app).await?;
    app.filter(|app| app.platform == platform.id)
        .map(|app| Client { id: app.client_id, scopes: app.scopes, door: app.door })
        .ok_or_else(|| missing(Code::AppNotFound, "app of this platform", "/appId").into())
}

/// What is made for one connect. Only hashes and sealed forms of it are ever stored.
struct Fresh {
    id: ConnectId,
    state: String,
    link: String,
    verifier: Option<SecretString>,
    redirect_uri: String,
}

impl Prepared<'_> {
    /// Starts the connect.
    ///
    /// # Errors
    /// When the database or the keyring fails, or what the request names was deleted meanwhile.
    pub async fn write(&self, work: &mut Work) -> Result<StartedConnect, Unable> {
        let fresh = Fresh {
            id: ConnectId::new(self.means.clock()),
            state: random::token(),
            link: random::token(),
            verifier: authorize::new_verifier(self.platform),
            redirect_uri: self.means.url(&callback_path(self.platform, self.client.door)),
        };
        let mut connect = self.insert(work, &fresh).await?;
        work.emit(connect.event(EventData::ConnectStarted)).await?;
        if let Some(credentials) = &self.credentials {
            let key = ConnectKey { workspace_id: &self.workspace.id, id: &fresh.id };
            let authorized = handover::authorize(work, key, Brought::once(credentials)).await?;
            connect = authorized.ok_or_else(|| Unable::Broken(format!("{} is new", fresh.id)))?;
        }
        Ok(self.started(connect, fresh))
    }

    fn binding(&self) -> Binding {
        self.request.binding.unwrap_or(Binding::None)
    }

    async fn insert(&self, work: &mut Work, fresh: &Fresh) -> Result<Connect, Unable> {
        let (workspace, id) = (&self.workspace.id, &fresh.id);
        let key = work.encryption_key(KeyOwner::workspace(workspace)).await?;
        let sealed_verifier = fresh.verifier.as_ref().map(|verifier| {
            let aad = connects::verifier_aad(ConnectKey { workspace_id: workspace, id });
            key.encrypt(aad, verifier.expose_secret().as_bytes())
        });
        let sealed_verifier = sealed_verifier.transpose()?;
        let link_hash = self.credentials.is_none().then(|| authorize::hash(&fresh.link));
        let new = NewConnect {
            id: id.clone(),
            workspace_id: workspace,
            platform: &self.platform.id,
            app_id: self.app_id.as_ref(),
            profile_id: self.request.profile_id.as_ref(),
            account_id: self.account_id.as_ref(),
            redirect_url: self.redirect_url.as_ref().map(Url::as_str),
            redirect_uri: &fresh.redirect_uri,
            issuer: (self.platform.issuer.as_deref(), self.endpoints.iss_required),
            scopes: &self.scopes,
            metadata: &Value::Object(self.request.metadata.clone().unwrap_or_default()),
            state_hash: &authorize::hash(&fresh.state),
            sealed_verifier: sealed_verifier.as_deref(),
            sealed_state: &key.encrypt(
                connects::state_aad(ConnectKey { workspace_id: workspace, id }),
                fresh.state.as_bytes(),
            )?,
            link_hash: link_hash.as_deref(),
            binding: self.binding(),
            exclusive: self.door.exclusive,
            result_format: self.door.result_format,
            lifetime: self.means.connect_lifetime,
        };
        Ok(connects::insert(work, &new).await?)
    }

    fn started(&self, connect: Connect, fresh: Fresh) -> StartedConnect {
        let asked = authorize::Request {
            client_id: &self.client.id,
            redirect_uri: &fresh.redirect_uri,
            scopes: &self.scopes,
            state: &fresh.state,
            verifier: fresh.verifier.as_ref(),
        };
        let link = || link(self.means.public_url, &connect.id, &fresh.link);
        let link = self.credentials.is_none().then(link);
        let authorize_url = match (&link, self.binding(), self.platform.flow) {
            (None, ..) | (_, Binding::Browser, _) => None,
            (Some(link), _, Flow::AppPassword) => Some(link.clone()),
            _ => Some(authorize::authorize_url(self.platform, &self.endpoints, &asked)),
        };
        StartedConnect {
            expires_at: connect.expires_at.into(),
            status: connect.status,
            connect_id: connect.id,
            authorize_url,
            connect_url: link,
            state: (self.binding() != Binding::Browser).then_some(fresh.state),
        }
    }
}

/// Where a connect's own page is.
#[must_use]
pub fn page(public_url: &Url, id: &ConnectId) -> String {
    address(public_url, &format!("/connect/{id}"))
}

/// The link to a connect's first page: opening it consumes nothing, its button does.
fn link(public_url: &Url, id: &ConnectId, link: &str) -> Url {
    let url = format!("{}?{LINK}={link}", page(public_url, id));
    url.parse().expect("an address of ours with a token is a URL")
}

/// The path that the platform sends the browser back to. Some platforms take only a redirect URI that
/// ends with a slash; ours works with and without. The owner of an app was told which to register by
/// the API that it was made through.
fn callback_path(platform: &Platform, door: AppDoor) -> String {
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
