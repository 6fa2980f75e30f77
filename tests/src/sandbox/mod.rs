//! A small real OAuth 2.0 authorization server on loopback, which keeps a ledger of every effect and
//! misbehaves when told to. Under the hosts of the vendors it wears their platforms (`wears/`).
//!
//! It must never notice that a client hung up, and never answer before the ledger has the entry:
//! tests judge by the ledger whether a token was lost.

mod answer;
mod authorize;
mod call;
mod client;
mod config;
mod control;
mod dialect;
mod family;
mod faults;
mod identity;
mod ledger;
mod metadata;
mod params;
mod revoke;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod token;
mod wears;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

pub use config::{ClientAuthentication, Rotation, SandboxConfig};
pub use control::HELP as CONTROL_HELP;
pub use family::{Ending, FamilyView};
pub use faults::{Endpoint, Fault, FaultRule, When};
pub use ledger::{Kind, LedgerEntry, Outcome, fingerprint};
pub use wears::{Page, REPEAT, Recorded};

use crate::loopback::{Bound, Server};
use state::Shared;
use wears::bluesky::{NameServer, Password};

/// A sandbox that is serving. Dropping it stops it as well, without waiting.
pub struct Sandbox {
    shared: Arc<Shared>,
    server: Server,
    names: NameServer,
}

impl Sandbox {
    /// Binds the address, TCP and UDP, and serves.
    ///
    /// # Errors
    /// When the port is taken or the ledger file cannot be opened.
    pub async fn start(config: SandboxConfig) -> anyhow::Result<Self> {
        let listen = config.listen;
        let bound = Bound::bind(listen).await?;
        let shared = Arc::new(Shared::new(config, bound.url.clone())?);
        let names = NameServer::start(listen, Arc::clone(&shared)).await?;
        let server = bound.serve(router(Arc::clone(&shared)));
        Ok(Self { shared, server, names })
    }

    /// Where it serves, without a slash at the end; also its issuer.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.shared.url
    }

    /// Everything that happened so far.
    #[must_use]
    pub fn ledger(&self) -> Vec<LedgerEntry> {
        self.shared.books().ledger.entries().to_vec()
    }

    /// How every consent stands.
    #[must_use]
    pub fn families(&self) -> Vec<FamilyView> {
        self.shared.books().families(None, self.shared.now())
    }

    /// Registers a client beside the one of the settings, or says which secrets it has from now on.
    pub fn set_client(&self, id: &str, secrets: &[&str]) {
        let secrets = secrets.iter().map(|secret| (*secret).to_owned()).collect();
        self.shared.books().clients.insert(id.to_owned(), secrets);
    }

    /// Every code and token ever issued, the clients' secrets and people's passwords: what no dump may
    /// contain.
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        self.shared.secrets()
    }

    /// Adds a fault, behind those already in force.
    pub fn inject(&self, rule: FaultRule) {
        self.shared.books().faults.add(rule);
    }

    /// Behaves again.
    pub fn clear_faults(&self) {
        self.shared.books().faults.clear();
    }

    /// The person removes the app at the platform: all their families end.
    pub fn revoke_user(&self, user: &str) {
        self.shared.remove_person(user);
    }

    /// Where it is a name server, for the handles of Bluesky: its own address over UDP, unless the port was
    /// any free one.
    #[must_use]
    pub fn dns_addr(&self) -> SocketAddr {
        self.names.address
    }

    /// A person's DID at Bluesky.
    #[must_use]
    pub fn did(&self, user: &str) -> String {
        self.shared.books().bluesky.meet(user)
    }

    /// A person's app password at Bluesky: always the same, until they remove the app.
    #[must_use]
    pub fn app_password(&self, user: &str) -> String {
        self.shared.books().bluesky.tell(user, Password::App)
    }

    /// The password of a person's account at Bluesky.
    #[must_use]
    pub fn account_password(&self, user: &str) -> String {
        self.shared.books().bluesky.tell(user, Password::Own)
    }

    /// The password of a person's account at Bluesky, which happens to look like an app password.
    #[must_use]
    pub fn account_password_in_disguise(&self, user: &str) -> String {
        self.shared.books().bluesky.tell(user, Password::Disguised)
    }

    /// The pages, organisations and channels that a person may act for; until then it is one of their own.
    pub fn set_pages(&self, user: &str, pages: Vec<Page>) {
        self.shared.books().pages.set(user, pages);
    }

    /// Everybody loses their role at this page: the tokens that were given for it are dead.
    pub fn end_page(&self, id: &str) {
        self.shared.books().store.end_page(id);
    }

    /// Every request that came to a platform's path, in order.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.books().requests.clone()
    }

    /// Takes no more connections, and waits a few seconds for the requests under way.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

fn router(shared: Arc<Shared>) -> Router {
    let standard = Router::new()
        .route("/authorize", get(authorize::show).post(authorize::decide))
        .route("/token", post(token::token))
        .route("/revoke", post(revoke::revoke))
        .route("/userinfo", get(identity::userinfo));
    Router::new()
        .merge(wears::recorded(&shared, "SANDBOX", standard))
        .route("/pictures/{user}", get(identity::picture))
        .route("/.well-known/openid-configuration", get(metadata::metadata))
        .route("/.well-known/oauth-authorization-server", get(metadata::metadata))
        .route("/healthz", get(async || "ok"))
        .route("/control/ledger", get(control::ledger))
        .route("/control/families", get(control::families))
        .route(
            "/control/faults",
            get(control::faults).post(control::add_fault).delete(control::clear_faults),
        )
        .route("/control/users/{user}/revoke", post(control::remove_person))
        .route("/control/users/{user}/app-password", get(control::app_password))
        .route("/control/users/{user}/pages", post(control::set_pages))
        .route("/control/pages/{page}/end", post(control::end_page))
        .route("/control/requests", get(control::requests))
        .merge(wears::routes(&shared))
        .with_state(shared)
}
