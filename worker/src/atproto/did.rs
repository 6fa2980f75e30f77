//! DIDs, which name accounts for good, and the documents that say where an account lives
//! (<https://atproto.com/specs/did>).

use std::net::Ipv4Addr;

use latchkey_shared::net_guard::{NetGuard, Refused};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::ResolveError;
use super::handle::is_handle;

/// A DID of one of the two methods that the protocol knows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Did {
    /// `did:plc:…`: the directory has its document.
    Plc(String),
    /// `did:web:…`: its host has.
    Web { did: String, host: String },
}

impl Did {
    /// Reads a DID; a port only for this machine, as in development.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let did = text.to_owned();
        if let Some(id) = text.strip_prefix("did:plc:") {
            let drawn = |byte: u8| matches!(byte, b'a'..=b'z' | b'2'..=b'7');
            return (id.len() == 24 && id.bytes().all(drawn)).then_some(Self::Plc(did));
        }
        let host = text.strip_prefix("did:web:")?;
        let (name, port) = match host.split_once("%3A") {
            None => (host, None),
            Some((name, port)) => (name, Some(port.parse::<u16>().ok()?)),
        };
        match (is_here(name), port) {
            (true, None) => Some(Self::Web { did, host: name.to_owned() }),
            (true, Some(port)) => Some(Self::Web { did, host: format!("{name}:{port}") }),
            (false, None) if is_handle(name) => Some(Self::Web { did, host: name.to_owned() }),
            (false, _) => None,
        }
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Plc(did) | Self::Web { did, .. } => did,
        }
    }

    /// Where its document is.
    pub(super) fn document_url(&self, plc: &Url, guard: &NetGuard) -> Result<Url, ResolveError> {
        let text = match self {
            Self::Plc(did) => format!("{}/{did}", plc.as_str().trim_end_matches('/')),
            Self::Web { host, .. } => {
                let name = host.split(':').next().unwrap_or_default();
                let scheme = match is_here(name) {
                    true if !guard.permits(Ipv4Addr::LOCALHOST.into()) => {
                        return Err(Refused::NotPublic(Ipv4Addr::LOCALHOST.into()).into());
                    }
                    true => "http",
                    false => "https",
                };
                format!("{scheme}://{host}/.well-known/did.json")
            }
        };
        Url::parse(&text).map_err(|_| ResolveError::NotAnIdentifier)
    }
}

/// This machine, in the two ways in which a DID may call it.
fn is_here(name: &str) -> bool {
    name == "localhost" || name.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
}

/// What matters here of a DID document.
#[derive(Debug, Deserialize)]
pub(super) struct Document {
    id: String,
    #[serde(default, rename = "alsoKnownAs")]
    also_known_as: Option<Vec<String>>,
    #[serde(default)]
    service: Option<Vec<Service>>,
}

/// Other services may have other shapes: they must not spoil the one that is looked for.
#[derive(Debug, Deserialize)]
struct Service {
    id: String,
    #[serde(default, rename = "type")]
    kind: Value,
    #[serde(default, rename = "serviceEndpoint")]
    endpoint: Value,
}

impl Document {
    pub(super) fn is_of(&self, did: &str) -> bool {
        self.id == did
    }

    /// Whether the account says itself that it goes by this handle.
    pub(super) fn claims(&self, handle: &str) -> bool {
        self.names().any(|name| name == handle)
    }

    /// The first name in it, if it can be a handle.
    pub(super) fn handle(&self) -> Option<String> {
        self.names().next().filter(|name| is_handle(name))
    }

    fn names(&self) -> impl Iterator<Item = String> {
        let names = self.also_known_as.iter().flatten();
        names.filter_map(|name| name.strip_prefix("at://")).map(str::to_ascii_lowercase)
    }

    /// The origin of the account's personal data server.
    pub(super) fn pds(&self, guard: &NetGuard) -> Result<Url, ResolveError> {
        let is_pds = |service: &&Service| {
            let id = service.id.strip_prefix(&self.id).unwrap_or(&service.id);
            id == "#atproto_pds"
        };
        let found = self.service.iter().flatten().find(is_pds);
        let endpoint = found
            .filter(|service| service.kind == "AtprotoPersonalDataServer")
            .and_then(|service| service.endpoint.as_str())
            .and_then(|endpoint| Url::parse(endpoint).ok())
            .ok_or(ResolveError::NoPds)?;
        guard.check_https(&endpoint)?;
        endpoint.join("/").map_err(|_| ResolveError::NoPds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use latchkey_shared::net_guard::Ports;
    use serde_json::json;

    const PLC: &str = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";

    #[test]
    fn two_methods_and_no_paths() {
        for good in [
            PLC,
            "did:web:sam.test",
            "did:web:localhost%3A8090",
            "did:web:127.0.0.1%3A80",
            "did:web:localhost",
        ] {
            assert_eq!(Did::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "did:plc:short",
            "did:plc:EWVI7NXZYOUN6ZHXRHS64OIZ",
            "did:plc:ewvi7nxzyoun6zhxrhs64oi1",
            "did:key:zQ3sh",
            "did:web:",
            "did:web:sam.test:path",
            "did:web:sam.test/path",
            "did:web:sam.test%3A8443",
            "did:web:sam.test%2Fpath",
            "did:web:localhost%3A",
            "did:web:sam.test/.localhost",
            "did:web:sam@x.localhost",
            "did:web:localhost%3A99999",
            "did:web:169.254.169.254",
            "did:web:user@sam.test",
            "did:web:sam.local",
            "DID:plc:ewvi7nxzyoun6zhxrhs64oiz",
        ] {
            assert_eq!(Did::parse(bad), None, "{bad}");
        }
    }

    fn pds_by(guard: &NetGuard, service: Value) -> Result<Url, ResolveError> {
        let document = json!({ "id": PLC, "service": service });
        serde_json::from_value::<Document>(document).unwrap().pds(guard)
    }

    fn pds(service: Value) -> Result<Url, ResolveError> {
        pds_by(&NetGuard::default(), service)
    }

    #[test]
    fn the_pds_is_one_service_among_others() {
        let kind = "AtprotoPersonalDataServer";
        let of = |id: &str, kind: &str, endpoint: Value| {
            json!([
                { "id": "#other", "type": ["A", "B"], "serviceEndpoint": { "uri": "https://a.test" } },
                { "id": id, "type": kind, "serviceEndpoint": endpoint },
            ])
        };
        for id in ["#atproto_pds", "did:plc:ewvi7nxzyoun6zhxrhs64oiz#atproto_pds"] {
            let found = pds(of(id, kind, json!("https://pds.test/path?query"))).unwrap();
            assert_eq!(found.as_str(), "https://pds.test/");
            let guard = NetGuard::new(&[], &Ports::ALL);
            let found = pds_by(&guard, of(id, kind, json!("https://pds.test:8443/path?query")));
            assert_eq!(found.unwrap().as_str(), "https://pds.test:8443/");
        }
        for bad in [
            of("#pds", kind, json!("https://pds.test")),
            of("#atproto_pds", "Other", json!("https://pds.test")),
            of("#atproto_pds", kind, json!({ "uri": "https://pds.test" })),
            of("#atproto_pds", kind, json!("pds.test")),
            json!(null),
        ] {
            assert!(matches!(pds(bad.clone()), Err(ResolveError::NoPds)), "{bad}");
        }
        for refused in [
            "http://pds.test",
            "https://pds.test:8443",
            "https://10.0.0.1",
            "https://me:too@pds.test",
            "ftp://pds.test",
        ] {
            let found = pds(of("#atproto_pds", kind, json!(refused)));
            assert!(matches!(found, Err(ResolveError::NotAllowed(_))), "{refused}");
        }
    }

    #[test]
    fn names_are_compared_without_case() {
        let document: Document = serde_json::from_value(json!({
            "id": PLC,
            "alsoKnownAs": ["https://sam.test", "at://Sam.Test", "at://second.test"],
        }))
        .unwrap();
        assert!(document.claims("sam.test") && document.claims("second.test"));
        assert!(!document.claims("https://sam.test") && !document.claims("other.test"));
        assert_eq!(document.handle().as_deref(), Some("sam.test"));
    }
}
