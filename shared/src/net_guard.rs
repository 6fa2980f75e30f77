//! Where calls that other people choose the address of may go: public addresses, and networks that
//! the operator allows, on the ports that the operator allows.
//!
//! The check is made twice: on IP literals in the URL, which never reach the resolver, and in the
//! resolver on what a name resolves to, so that there is no gap between checking and connecting. A name
//! is never judged by its letters: `*.internal` is what it resolves to.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use reqwest::Certificate;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use crate::egress::{Door, EgressProxy, Hop, Judge};
use crate::tls::Trust;

/// An address that must not be called.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refused {
    /// Not http or https, or with a user name.
    #[error("only http and https URLs without user name and password can be called")]
    Form,
    /// Not https, where nothing less will do.
    #[error("only https URLs can be called")]
    NotHttps,
    /// Not https, and not to a network that the operator opened. Where a name leads is not told.
    #[error("{NOT_OPENED}")]
    NotOpened,
    /// An address inside a private, local or reserved network.
    #[error(
        "{0} is not a public address; the operator can allow its network (LATCHKEY_OUTBOUND_ALLOW)"
    )]
    NotPublic(IpAddr),
    /// A name that leads to such an address. Where it leads is not told: that would map the inner network for
    /// outsiders.
    #[error("{NO_PUBLIC_ADDRESS}")]
    LeadsInside,
    /// A port for something else than what is called.
    #[error(
        "port {0} is not one that is called; the operator can allow it (LATCHKEY_OUTBOUND_PORTS)"
    )]
    Port(u16),
}

const NO_PUBLIC_ADDRESS: &str = "the host's name leads to no public address; the operator can allow the network \
                                 of the one that it leads to (LATCHKEY_OUTBOUND_ALLOW)";

const NOT_OPENED: &str =
    "http is sent to networks that the operator opened alone (LATCHKEY_OUTBOUND_ALLOW): use https";

/// A name that nobody could resolve. To outsiders it reads like one that leads inside: which names there are inside
/// is not theirs to know.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unresolved(Refused);

impl Refused {
    /// Why a guarded client's call failed, if it was for the address that its name resolved to.
    #[must_use]
    pub fn inside(error: &reqwest::Error) -> Option<&Self> {
        let mut cause = Error::source(error);
        while let Some(inner) = cause {
            if let Some(refused) = inner.downcast_ref() {
                return Some(refused);
            }
            cause = inner.source();
        }
        None
    }
}

/// Ports that may be called: one, or from one to another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ports {
    first: u16,
    last: u16,
}

impl Ports {
    /// Those of HTTP.
    pub const USUAL: [Self; 2] = [Self { first: 80, last: 80 }, Self { first: 443, last: 443 }];
    /// All of them.
    pub const ALL: [Self; 1] = [Self { first: 1, last: u16::MAX }];

    fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

impl FromStr for Ports {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let number = |text: &str| text.trim().parse().ok().filter(|port| *port > 0);
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self { first, last }),
            _ => Err("must be a port, or two as in 8000-8999"),
        }
    }
}

/// Decides which addresses may be called.
#[derive(Clone)]
pub struct NetGuard {
    /// Whether public addresses may be called, or what the operator opened alone.
    public: bool,
    allow: Arc<[IpNet]>,
    ports: Arc<[Ports]>,
    resolver: Arc<dyn Resolve>,
    outbound: Outbound,
}

impl fmt::Debug for NetGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetGuard").field("allow", &self.allow).field("ports", &self.ports).finish()
    }
}

impl Default for NetGuard {
    fn default() -> Self {
        Self::new(&[], &Ports::USUAL)
    }
}

impl NetGuard {
    /// Public addresses and these networks, on these ports.
    #[must_use]
    pub fn new(allow: &[IpNet], ports: &[Ports]) -> Self {
        Self {
            public: true,
            allow: allow.into(),
            ports: ports.into(),
            resolver: Arc::new(SystemResolver),
            outbound: Outbound::default(),
        }
    }

    /// The same with clients that leave the machine so.
    ///
    /// # Errors
    /// When there is a proxy, and no way to it can be made.
    pub async fn through(self, outbound: Outbound) -> std::io::Result<Self> {
        let door = match &outbound.proxy {
            Some(proxy) => Some(Arc::new(Door::open(self.judging(), proxy.clone()).await?)),
            None => None,
        };
        Ok(Self { outbound: Outbound { door, ..outbound }, ..self })
    }

    /// How its clients leave the machine.
    #[must_use]
    pub fn outbound(&self) -> &Outbound {
        &self.outbound
    }

    /// The networks that the operator opened alone, without the rest of the world.
    #[must_use]
    pub fn opened(&self) -> Self {
        Self { public: false, ..self.clone() }
    }

    /// The same over another resolver than the machine's. What that one says is checked all the same.
    #[must_use]
    pub fn over(self, resolver: Arc<dyn Resolve>) -> Self {
        Self { resolver, ..self }
    }

    /// Checks what can be seen of a URL before its name is resolved.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn check(&self, url: &Url) -> Result<(), Refused> {
        if !matches!(url.scheme(), "http" | "https")
            || !url.username().is_empty()
            || url.password().is_some()
        {
            return Err(Refused::Form);
        }
        let known = match url.host() {
            Some(Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
            Some(Host::Ipv6(ip)) => Some(IpAddr::V6(ip)),
            Some(Host::Domain(name)) => is_this_machine(name).then_some(Ipv4Addr::LOCALHOST.into()),
            None => return Err(Refused::Form),
        };
        if let Some(inside) = known.filter(|ip| !self.permits(*ip)) {
            return Err(Refused::NotPublic(inside));
        }
        let port = url.port_or_known_default().ok_or(Refused::Form)?;
        let called = self.ports.iter().any(|ports| ports.contains(port));
        if called { Ok(()) } else { Err(Refused::Port(port)) }
    }

    /// As [`Self::check`], and https; http only on this machine, where loopback is permitted.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn check_https(&self, url: &Url) -> Result<(), Refused> {
        self.check(url)?;
        let here = url.host_str().is_some_and(is_this_machine);
        if url.scheme() == "https" || (here && self.permits(Ipv4Addr::LOCALHOST.into())) {
            return Ok(());
        }
        Err(Refused::NotHttps)
    }

    /// Whether a webhook may be sent there: by https, or by http to a network that the operator opened. What a name
    /// leads to is seen when it is called, by a client of [`Self::opened`].
    ///
    /// # Errors
    /// [`Refused`].
    pub fn check_receiver(&self, url: &Url) -> Result<(), Refused> {
        self.check(url)?;
        if url.scheme() == "https" {
            return Ok(());
        }
        let opened = !self.allow.is_empty() && self.opened().check(url).is_ok();
        if opened { Ok(()) } else { Err(Refused::NotOpened) }
    }

    /// Whether an address may be called.
    #[must_use]
    pub fn permits(&self, ip: IpAddr) -> bool {
        self.is_opened(ip) || (self.public && is_public(unwrap_embedded(ip)))
    }

    /// What is told of a name that must not be called, or that nobody can resolve: both the same.
    fn refusal(&self) -> Refused {
        if self.public { Refused::LeadsInside } else { Refused::NotOpened }
    }

    /// A client that calls permitted addresses only, follows no redirect and knows no proxy. Its calls
    /// end with the timeout, even if an answer has come that nobody has read yet.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn client(&self, timeout: Duration) -> reqwest::Result<reqwest::Client> {
        self.builder()?.timeout(timeout).build()
    }

    /// [`Self::client`] before it is built, and without its timeout.
    ///
    /// # Errors
    /// When the proxy cannot be named.
    pub fn builder(&self) -> reqwest::Result<reqwest::ClientBuilder> {
        Ok(self.outbound.guarded()?.dns_resolver(Arc::new(self.clone())))
    }

    /// Where a URL's host leads, each address permitted.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn addresses(&self, url: &Url) -> Result<Vec<SocketAddr>, Refused> {
        self.check(url)?;
        let port = url.port_or_known_default().ok_or(Refused::Form)?;
        let name = match url.host() {
            Some(Host::Ipv4(ip)) => return Ok(vec![(ip, port).into()]),
            Some(Host::Ipv6(ip)) => return Ok(vec![(ip, port).into()]),
            Some(Host::Domain(name)) => name.parse::<Name>().map_err(|_| Refused::Form)?,
            None => return Err(Refused::Form),
        };
        let found = self.resolve(name).await.map_err(|_| self.refusal())?;
        Ok(found.map(|address| SocketAddr::new(address.ip(), port)).collect())
    }

    /// Judges where a URL's host leads, where the call itself could not say it: through a proxy. Else the client does.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn judge(&self, url: &Url) -> Result<(), Refused> {
        match &self.outbound.door {
            Some(_) if url.scheme() == "https" => self.addresses(url).await.map(drop),
            _ => Ok(()),
        }
    }

    fn judging(&self) -> Judge {
        let guard = self.clone();
        Arc::new(move |url| {
            let guard = guard.clone();
            Box::pin(async move {
                let found = guard.addresses(&url).await.ok()?.into_iter();
                let hop =
                    |address: SocketAddr| Hop { address, direct: guard.is_opened(address.ip()) };
                Some(found.map(hop).collect())
            })
        })
    }

    /// Whether an address is on a network that the operator opened.
    fn is_opened(&self, ip: IpAddr) -> bool {
        let ip = unwrap_embedded(ip);
        self.allow.iter().any(|net| net.contains(&ip))
    }
}

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
    fn guarded(&self) -> reqwest::Result<reqwest::ClientBuilder> {
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

/// Asks as every program of the machine does.
struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?.collect::<Vec<_>>();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

impl Resolve for NetGuard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let found = guard.resolver.resolve(name).await.map_err(|error| {
                tracing::debug!("a host's name was not resolved: {error}");
                Box::new(Unresolved(guard.refusal()))
            })?;
            let mut permitted = Vec::new();
            for address in found {
                if !guard.permits(address.ip()) {
                    tracing::debug!("a host's name leads to {}, which is not public", address.ip());
                    return Err(guard.refusal().into());
                }
                permitted.push(address);
            }
            Ok(Box::new(permitted.into_iter()) as Addrs)
        })
    }
}

/// The IPv4 address inside an IPv6 one (mapped, 6to4, NAT64), which is where the packet would go.
fn unwrap_embedded(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip else { return ip };
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0xffff] | [0x64, 0xff9b, 0, 0, 0, 0] => v4(g, h),
        [0x2002, high, low, ..] => v4(high, low),
        _ => ip,
    }
}

fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

/// The IANA special-purpose registry for IPv4. What it calls globally reachable passes, but for the two
/// anycast addresses of 192.0.0.0/24: those answer for the network that the packet starts in.
fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let reserved = ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_broadcast()
        || ip.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || is_a_cloud_s_own(ip)
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19));
    !reserved
}

/// Addresses that look public and answer inside a cloud alone: Azure's platform (learn.microsoft.com, "What is IP
/// address 168.63.129.16?") and IBM Cloud's service network (cloud.ibm.com, "IBM Cloud IP ranges").
fn is_a_cloud_s_own(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    ip == Ipv4Addr::new(168, 63, 129, 16)
        || (a == 161 && b == 26)
        || (a == 166 && (8..12).contains(&b))
}

/// Global unicast (2000::/3) without documentation (2001:db8::/32, 3fff::/20) and 2001::/23, where Teredo,
/// benchmarking and ORCHID are. All the other special ranges are outside it: ::/96 with the addresses
/// that are compatible to IPv4, 64:ff9b:1::/48, 5f00::/16, fc00::/7, fe80::/10, fec0::/10, ff00::/8.
fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [a, b, ..] = ip.segments();
    (a & 0xe000) == 0x2000 && !(a == 0x2001 && (b == 0xdb8 || b < 0x200)) && a != 0x3fff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inner_addresses_are_refused_in_every_spelling() {
        let guard = NetGuard::default();
        for url in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://017700000001/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[64:ff9b::7f00:1]/",
            "http://[2002:7f00:1::]/",
            "http://10.1.2.3/",
            "http://172.16.0.1/",
            "http://192.168.1.1/",
            "http://169.254.169.254/",
            "http://100.64.0.1/",
            "http://0.0.0.0/",
            "http://[fd00::1]/",
            "http://[fe80::1]/",
            "http://255.255.255.255/",
            "http://198.18.0.1/",
            "http://168.63.129.16/",
            "http://[64:ff9b::a83f:8110]/",
            "http://161.26.0.10/",
            "http://166.9.14.5/",
            "http://[2001:db8::1]/",
            "http://[3fff::1]/",
            "http://[2001::7f00:1]/",
            "http://[2001:20::1]/",
            "http://[64:ff9b:1::808:808]/",
            "http://[::7f00:1]/",
            "http://[::ffff:0:7f00:1]/",
            "http://[fec0::1]/",
            "http://[5f00::1]/",
            "http://[ff02::1]/",
            "http://192.0.0.9/",
            "http://192.88.99.1/",
            "https://localhost/",
            "https://a.localhost./",
            "http://user@example.com/",
            "ftp://example.com/",
        ] {
            assert!(guard.check(&url.parse().unwrap()).is_err(), "{url}");
        }
    }

    #[test]
    fn public_and_allowed_addresses_pass() {
        let guard = NetGuard::new(&["127.0.0.0/8".parse().unwrap()], &Ports::ALL);
        for url in [
            "https://1.1.1.1/",
            "https://192.31.196.1/",
            "https://168.63.129.17/",
            "https://166.12.0.1/",
            "https://[64:ff9b::101:101]/",
            "https://[2606:4700::1111]/",
            "http://127.0.0.1:8080/",
            "https://example.com/",
        ] {
            assert!(guard.check(&url.parse().unwrap()).is_ok(), "{url}");
        }
        assert!(guard.check(&"http://10.0.0.1/".parse().unwrap()).is_err());
    }

    #[test]
    fn other_ports_are_the_operator_s_to_allow() {
        let usual = NetGuard::default();
        let more = NetGuard::new(&[], &["443", "8000-8999"].map(|ports| ports.parse().unwrap()));
        let passes = |guard: &NetGuard, url: &str| guard.check(&url.parse().unwrap()).is_ok();
        for url in ["http://a.example/", "https://a.example/", "https://a.example:80/"] {
            assert!(passes(&usual, url), "{url}");
        }
        assert!(passes(&more, "https://a.example:8443/") && !passes(&more, "http://a.example/"));
        for url in ["https://a.example:22/", "https://a.example:6379/", "https://a.example:9000/"] {
            assert!(!passes(&usual, url) && !passes(&more, url), "{url}");
        }
        for text in ["", "0", "70000", "90-80", "1-", "http"] {
            assert!(text.parse::<Ports>().is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_refused_when_it_resolves() {
        let client = NetGuard::default().client(Duration::from_secs(2)).unwrap();
        let error = client.get("http://localhost:80/").send().await.unwrap_err();
        assert!(matches!(Refused::inside(&error), Some(Refused::LeadsInside)), "{error:?}");
    }

    /// Whether a name resolves or leads elsewhere is not told.
    #[tokio::test]
    async fn http_goes_to_receivers_on_opened_networks_alone() {
        let opened = NetGuard::new(&["10.0.0.0/8".parse().unwrap()], &Ports::ALL);
        let passes = |guard: &NetGuard, url: &str| guard.check_receiver(&url.parse().unwrap());
        for url in ["http://10.1.2.3:8080/", "http://hooks.example/", "https://1.1.1.1/"] {
            assert!(passes(&opened, url).is_ok(), "{url}");
        }
        for url in ["http://1.1.1.1/", "http://[2606:4700::1111]/"] {
            assert!(matches!(passes(&opened, url), Err(Refused::NotOpened)), "{url}");
        }
        assert!(matches!(passes(&opened, "http://192.168.0.1/"), Err(Refused::NotPublic(_))));
        assert!(passes(&NetGuard::default(), "http://hooks.example/").is_err());
        let client = opened.opened().client(Duration::from_secs(2)).unwrap();
        let mut told = Vec::new();
        for name in ["localhost", "there-is-no.invalid"] {
            let error = client.get(format!("http://{name}:80/")).send().await.unwrap_err();
            told.push(format!("{:#}", anyhow::Error::new(error.without_url())));
        }
        assert_eq!(told[0], told[1]);
        assert!(told[0].contains("LATCHKEY_OUTBOUND_ALLOW"), "{told:?}");
    }

    #[test]
    fn http_is_for_this_machine_where_loopback_is_permitted() {
        let here = NetGuard::new(&["127.0.0.0/8".parse().unwrap()], &Ports::ALL);
        let elsewhere = NetGuard::new(&["10.0.0.0/8".parse().unwrap()], &Ports::ALL);
        let passes = |guard: &NetGuard, url: &str| guard.check_https(&url.parse().unwrap()).is_ok();
        for url in ["http://127.0.0.1:1/", "http://localhost:1/", "https://example.com/"] {
            assert!(passes(&here, url), "{url}");
        }
        for url in ["http://example.com/", "http://10.0.0.1/", "http://localhost/"] {
            assert!(!passes(&elsewhere, url), "{url}");
        }
        assert!(passes(&elsewhere, "https://10.0.0.1/") && !passes(&here, "https://10.0.0.1/"));
    }
}
