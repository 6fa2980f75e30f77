//! Where calls that other people choose the address of may go: public addresses, and networks that
//! the operator allows.
//!
//! The check is made twice: on IP literals in the URL, which never reach the resolver, and in the
//! resolver on what a name resolves to, so that there is no gap between checking and connecting.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// An address that must not be called.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refused {
    /// Not http or https, or with a user name.
    #[error("only http and https URLs without user name and password can be called")]
    Form,
    /// Not https, where nothing less will do.
    #[error("only https URLs can be called")]
    NotHttps,
    /// An address inside a private, local or reserved network.
    #[error(
        "{0} is not a public address; the operator can allow its network (LATCHKEY_OUTBOUND_ALLOW)"
    )]
    NotPublic(IpAddr),
}

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

/// Decides which addresses may be called.
#[derive(Clone, Debug, Default)]
pub struct NetGuard {
    allow: Arc<[IpNet]>,
}

impl NetGuard {
    /// Public addresses, and these networks.
    #[must_use]
    pub fn new(allow: &[IpNet]) -> Self {
        Self { allow: allow.into() }
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
        let literal = match url.host() {
            Some(Host::Ipv4(ip)) => IpAddr::V4(ip),
            Some(Host::Ipv6(ip)) => IpAddr::V6(ip),
            Some(Host::Domain(_)) => return Ok(()),
            None => return Err(Refused::Form),
        };
        if self.permits(literal) { Ok(()) } else { Err(Refused::NotPublic(literal)) }
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

    /// Whether an address may be called.
    #[must_use]
    pub fn permits(&self, ip: IpAddr) -> bool {
        let ip = unwrap_embedded(ip);
        self.allow.iter().any(|net| net.contains(&ip)) || is_public(ip)
    }

    /// A client that calls permitted addresses only, follows no redirect and knows no proxy.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn client(&self, timeout: Duration) -> reqwest::Result<reqwest::Client> {
        self.builder(timeout).build()
    }

    /// [`Self::client`] before it is built.
    pub fn builder(&self, timeout: Duration) -> reqwest::ClientBuilder {
        outbound_client(timeout).dns_resolver(Arc::new(self.clone()))
    }
}

/// Whether a URL's host is this very machine: a loopback address, or a name that RFC 6761 §6.3 gives
/// to it.
#[must_use]
pub fn is_this_machine(host: &str) -> bool {
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(ip) => ip.is_loopback(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

/// What every outbound client has in common: no redirects, no proxy from the environment, and
/// connections that are not kept long (a stale one leaves in doubt whether a request arrived).
pub fn outbound_client(timeout: Duration) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .retry(reqwest::retry::never())
        .connect_timeout(Duration::from_secs(10))
        .timeout(timeout)
        .pool_idle_timeout(Duration::from_secs(5))
        .user_agent(concat!("latchkey/", env!("CARGO_PKG_VERSION")))
}

impl Resolve for NetGuard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let mut permitted = Vec::new();
            for address in found {
                if !guard.permits(address.ip()) {
                    return Err(Refused::NotPublic(address.ip()).into());
                }
                permitted.push(address);
            }
            Ok(Box::new(permitted.into_iter()) as Box<dyn Iterator<Item = SocketAddr> + Send>)
                as Result<Addrs, _>
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

/// The IANA special-purpose registry for IPv4.
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
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19));
    !reserved
}

/// Global unicast (2000::/3) without documentation and tunnels.
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
            "http://[2001:db8::1]/",
            "http://user@example.com/",
            "ftp://example.com/",
        ] {
            assert!(guard.check(&url.parse().unwrap()).is_err(), "{url}");
        }
    }

    #[test]
    fn public_and_allowed_addresses_pass() {
        let guard = NetGuard::new(&["127.0.0.0/8".parse().unwrap()]);
        for url in [
            "https://1.1.1.1/",
            "https://[2606:4700::1111]/",
            "http://127.0.0.1:8080/",
            "https://example.com/",
        ] {
            assert!(guard.check(&url.parse().unwrap()).is_ok(), "{url}");
        }
        assert!(guard.check(&"http://10.0.0.1/".parse().unwrap()).is_err());
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_refused_when_it_resolves() {
        let client = NetGuard::default().client(Duration::from_secs(2)).unwrap();
        let error = client.get("http://localhost:1/").send().await.unwrap_err();
        assert!(matches!(Refused::inside(&error), Some(Refused::NotPublic(_))), "{error:?}");
    }

    #[test]
    fn http_is_for_this_machine_where_loopback_is_permitted() {
        let here = NetGuard::new(&["127.0.0.0/8".parse().unwrap()]);
        let elsewhere = NetGuard::new(&["10.0.0.0/8".parse().unwrap()]);
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
