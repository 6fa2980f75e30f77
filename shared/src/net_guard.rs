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
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use crate::egress::{Hop, Judge};
pub use crate::outbound::{Outbound, is_this_machine};

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
        let outbound = outbound.judged_by(self.judging()).await?;
        Ok(Self { outbound, ..self })
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

    /// The refusal of a name that must not be called, and of one that cannot be resolved: the same.
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
        if self.outbound.has_door() && url.scheme() == "https" {
            return self.addresses(url).await.map(drop);
        }
        Ok(())
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
mod tests;
