//! How calls to platforms and receivers leave this machine: by clients that have the same manners everywhere.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Certificate;

use crate::egress::{Door, EgressProxy, Judge};
use crate::tls::Trust;

/// Whether a URL's host is this very machine: a loopback address, or a name that RFC 6761 §6.3 gives
/// to it, with the dot at its end or without.
#[must_use]
pub fn is_this_machine(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(ip) => ip.is_loopback(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

/// How calls leave this machine.
#[derive(Clone, Debug, Default)]
pub struct Outbound {
    /// The operator's own certificates, which are trusted beside the system's roots.
    own: Vec<Certificate>,
    proxy: Option<EgressProxy>,
    /// Through the proxy, for hosts that outsiders choose.
    door: Option<Arc<Door>>,
}

impl Outbound {
    /// Trusts these as well.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub fn trusting(trust: &Trust) -> reqwest::Result<Self> {
        let own = trust.own().map(|certificate| Certificate::from_der(certificate));
        Ok(Self { own: own.collect::<reqwest::Result<_>>()?, ..Self::default() })
    }

    /// The same with a way through the proxy, if there is one, for calls to addresses that this judge permits.
    ///
    /// # Errors
    /// When no way can be made.
    pub(crate) async fn judged_by(self, judge: Judge) -> std::io::Result<Self> {
        let door = match &self.proxy {
            Some(proxy) => Some(Arc::new(Door::open(judge, proxy.clone()).await?)),
            None => None,
        };
        Ok(Self { door, ..self })
    }

    pub(crate) fn has_door(&self) -> bool {
        self.door.is_some()
    }

    /// Leaves through a proxy.
    #[must_use]
    pub fn by(self, proxy: Option<EgressProxy>) -> Self {
        Self { proxy, ..self }
    }

    /// What every outbound client has in common: no redirects, no proxy from the environment, and
    /// connections that are not kept long (a stale one leaves in doubt whether a request arrived). One that went
    /// silent takes no further calls with it. The caller sets how long a call may take.
    pub fn client(&self) -> reqwest::ClientBuilder {
        match &self.proxy {
            Some(proxy) => self.direct().proxy(proxy.for_known_hosts(is_this_machine)),
            None => self.direct(),
        }
    }

    /// The same to addresses that outsiders choose.
    pub(crate) fn guarded(&self) -> reqwest::Result<reqwest::ClientBuilder> {
        match &self.door {
            Some(door) => Ok(self.direct().proxy(door.proxy()?)),
            None => Ok(self.direct()),
        }
    }

    fn direct(&self) -> reqwest::ClientBuilder {
        outbound_client().tls_certs_merge(self.own.iter().cloned())
    }
}

fn outbound_client() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .retry(reqwest::retry::never())
        .connect_timeout(Duration::from_secs(10))
        .pool_idle_timeout(Duration::from_secs(5))
        .http2_keep_alive_interval(Duration::from_secs(10))
        .http2_keep_alive_timeout(Duration::from_secs(10))
        .user_agent(concat!("latchkey/", env!("CARGO_PKG_VERSION")))
}
