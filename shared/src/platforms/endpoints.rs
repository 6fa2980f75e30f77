//! Where a platform's endpoints are, and which addresses may be one.

use std::sync::Arc;

use url::{Host, Url};

use super::discovery::Issuer;
use super::section::Section;

/// Where a platform's endpoints are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Endpoints {
    /// Where the person approves.
    pub authorize_url: Url,
    /// Where codes are exchanged, and refresh tokens unless another place is said.
    pub token_url: Url,
    /// Where tokens are refreshed, if not there.
    pub refresh_url: Option<Url>,
    /// Where a short-lived token becomes a long-lived one.
    pub long_lived_url: Option<Url>,
    /// Where tokens are revoked (RFC 7009), if that can be done.
    pub revoke_url: Option<Url>,
    /// Where the identity is read with the access token.
    pub userinfo_url: Url,
    /// Where is read what the person may choose from.
    pub accounts_url: Option<Url>,
    /// Where is asked whether an account's own token still works.
    pub inspect_url: Option<Url>,
    /// Whether the browser must come back with the issuer (RFC 9207 §2.4).
    pub iss_required: bool,
}

/// What stands for the platform's id of the person in an address, once that is a URL.
const SUBJECT: &str = "%7Bsubject%7D";

/// An address with the platform's id of the person in its place.
#[must_use]
pub fn with_subject(url: &Url, subject: &str) -> Url {
    if !url.path().contains(SUBJECT) {
        return url.clone();
    }
    let subject: String = url::form_urlencoded::byte_serialize(subject.as_bytes()).collect();
    let mut url = url.clone();
    url.set_path(&url.path().replace(SUBJECT, &subject));
    url
}

/// How a platform's endpoints become known.
#[derive(Clone, Debug)]
pub(super) enum EndpointSource {
    /// All has been said.
    Known(Arc<Endpoints>),
    /// The platform's issuer is asked.
    Discovered(Arc<Issuer>),
}

/// What the operator said of the endpoints; it stands above what is discovered.
#[derive(Clone, Debug, Default)]
pub(super) struct Given {
    pub authorize_url: Option<Url>,
    pub token_url: Option<Url>,
    pub revoke_url: Option<Url>,
    pub userinfo_url: Option<Url>,
    pub iss_required: bool,
}

impl EndpointSource {
    /// What the platform can be asked, if it need be.
    pub(super) fn new(given: Given, issuer: Option<&String>) -> Option<Self> {
        match (given.complete(), issuer) {
            (Some(endpoints), _) => Some(Self::Known(Arc::new(endpoints))),
            (None, Some(issuer)) => Some(Self::Discovered(Arc::new(Issuer::new(issuer, given)))),
            (None, None) => None,
        }
    }
}

impl Given {
    /// Reads the addresses of a section.
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self {
            authorize_url: section.url("authorize_url"),
            token_url: section.url("token_url"),
            revoke_url: section.url("revoke_url"),
            userinfo_url: section.url("userinfo_url"),
            iss_required: false,
        }
    }

    /// What is known without asking anybody; `None` if somebody must be asked.
    pub(super) fn complete(&self) -> Option<Endpoints> {
        Some(Endpoints {
            authorize_url: self.authorize_url.clone()?,
            token_url: self.token_url.clone()?,
            refresh_url: None,
            long_lived_url: None,
            revoke_url: self.revoke_url.clone(),
            userinfo_url: self.userinfo_url.clone()?,
            accounts_url: None,
            inspect_url: None,
            iss_required: self.iss_required,
        })
    }
}

/// Tokens and secrets go to these addresses: only encrypted, or to this very machine.
///
/// # Errors
/// What an address must be, after its name.
pub(super) fn check(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "must be a URL that begins with https://")?;
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        _ => return Err("must be https, or http on loopback"),
    }
    // RFC 6749 §3.1 and §3.2.
    if url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err("must have no fragment, user name or password");
    }
    Ok(url)
}

/// Whether a URL leads to this very machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        // RFC 6761 §6.3: these names are this very machine, too.
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_encrypted_or_this_very_machine() {
        for url in ["https://p.example/token?tenant=1", "http://127.0.0.1:9/", "http://a.localhost"]
        {
            assert!(check(url).is_ok(), "{url}");
        }
        for url in [
            "http://p.example/token",
            "http://localhost.example/",
            "ftp://p.example/",
            "p.example/token",
            "https://p.example/#token",
            "https://me@p.example/",
            "https://me:secret@p.example/",
            "",
        ] {
            assert!(check(url).is_err(), "{url}");
        }
    }
}
