//! Asks an issuer where its endpoints are: OpenID Connect Discovery 1.0 §4, and RFC 8414 §3 where
//! that finds nothing.
//!
//! A document is asked for when it is first needed and kept for a while. Never when a process starts,
//! and never in a transaction: a provider that is away must hold up nothing but itself. A document
//! is not believed unless it names its issuer to the letter.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt as _;
use serde::Deserialize;
use url::Url;

use super::endpoints::{self, Endpoints, Given};
use crate::clock::Clock;
use crate::net_guard::Outbound;

/// How long both places together may take.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// Documents are a few kilobytes.
const MAX_BODY: usize = 64 * 1024;
/// After this a document is asked for again.
const FRESH: TimeDelta = TimeDelta::hours(1);
/// While no new one is to be had, the last good one serves this long.
const KEPT: TimeDelta = TimeDelta::hours(24);
/// After a failure nobody asks for so long.
const PAUSE: TimeDelta = TimeDelta::seconds(5);

/// Why a platform's endpoints are not known.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the endpoints of {issuer} could not be discovered: {why}")]
pub struct DiscoveryError {
    issuer: String,
    why: String,
}

/// An issuer, and what it said of its endpoints.
#[derive(Debug)]
pub(super) struct Issuer {
    issuer: String,
    given: Given,
    seen: Mutex<Seen>,
    /// Held by the one who asks, so that a crowd asks once.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Seen {
    good: Option<(Arc<Endpoints>, DateTime<Utc>)>,
    failed: Option<(DiscoveryError, DateTime<Utc>)>,
}

/// The client for discovery.
///
/// # Errors
/// When TLS cannot be set up.
pub(super) fn client(outbound: &Outbound) -> reqwest::Result<reqwest::Client> {
    outbound.client().timeout(DEADLINE).build()
}

impl Issuer {
    pub(super) fn new(issuer: &str, given: Given) -> Self {
        Self {
            issuer: issuer.to_owned(),
            given,
            seen: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        }
    }

    /// What is known without asking.
    pub(super) fn known(&self) -> Option<Arc<Endpoints>> {
        self.seen().good.as_ref().map(|(endpoints, _)| endpoints.clone())
    }

    /// The endpoints, asked for if need be.
    pub(super) async fn endpoints(
        &self,
        http: &reqwest::Client,
        clock: &Clock,
    ) -> Result<Arc<Endpoints>, DiscoveryError> {
        if let Some(answer) = self.seen().answer(clock.now()) {
            return answer;
        }
        let _turn = self.asking.lock().await;
        if let Some(answer) = self.seen().answer(clock.now()) {
            return answer;
        }
        let found = self.ask(http).await;
        let now = clock.now();
        let mut seen = self.seen();
        match found {
            Ok(endpoints) => {
                let endpoints = Arc::new(endpoints);
                *seen = Seen { good: Some((endpoints.clone(), now)), failed: None };
                Ok(endpoints)
            }
            Err(error) => {
                tracing::warn!("{error}");
                seen.failed = Some((error.clone(), now));
                seen.kept(now).ok_or(error)
            }
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, http: &reqwest::Client) -> Result<Endpoints, DiscoveryError> {
        let [openid, oauth] = well_known(&self.issuer);
        let asking = async {
            match fetch(http, &openid).await {
                // No OpenID provider, it seems.
                Err(Unfetched { there: false, .. }) => fetch(http, &oauth).await,
                fetched => fetched,
            }
        };
        let fetched = match tokio::time::timeout(DEADLINE, asking).await {
            Ok(Ok(body)) => read(&body, &self.issuer, &self.given),
            Ok(Err(unfetched)) => Err(unfetched.why),
            Err(_) => Err(format!("nothing came within {} s", DEADLINE.as_secs())),
        };
        fetched.map_err(|why| DiscoveryError { issuer: self.issuer.clone(), why })
    }
}

impl Seen {
    /// What needs no asking now. A clock that was set back makes everything old.
    fn answer(&self, now: DateTime<Utc>) -> Option<Result<Arc<Endpoints>, DiscoveryError>> {
        if let Some((endpoints, at)) = &self.good
            && within(FRESH, *at, now)
        {
            return Some(Ok(endpoints.clone()));
        }
        let (error, _) = self.failed.as_ref().filter(|(_, at)| within(PAUSE, *at, now))?;
        Some(self.kept(now).ok_or_else(|| error.clone()))
    }

    fn kept(&self, now: DateTime<Utc>) -> Option<Arc<Endpoints>> {
        let (endpoints, _) = self.good.as_ref().filter(|(_, at)| within(KEPT, *at, now))?;
        Some(endpoints.clone())
    }
}

fn within(span: TimeDelta, since: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    (TimeDelta::zero()..span).contains(&(now - since))
}

/// Where the document is: after the issuer's path (OpenID Connect Discovery 1.0 §4.1), or before it
/// (RFC 8414 §3.1).
fn well_known(issuer: &str) -> [String; 2] {
    let issuer = issuer.trim_end_matches('/');
    let host_ends = issuer.find("://").map_or(0, |at| at + 3);
    let path_begins = issuer[host_ends..].find('/').map_or(issuer.len(), |at| host_ends + at);
    let (host, path) = issuer.split_at(path_begins);
    [
        format!("{issuer}/.well-known/openid-configuration"),
        format!("{host}/.well-known/oauth-authorization-server{path}"),
    ]
}

/// Why there is no document.
struct Unfetched {
    why: String,
    /// Whether it may well be there.
    there: bool,
}

async fn fetch(http: &reqwest::Client, url: &str) -> Result<Vec<u8>, Unfetched> {
    let failed = |why: String| Unfetched { why: format!("{url} {why}"), there: true };
    let cut = |error: reqwest::Error| failed(format!("gave no answer: {}", root(&error)));
    let response = http.get(url).header("accept", "application/json").send().await.map_err(cut)?;
    let status = response.status();
    if status.as_u16() != 200 {
        let there = !status.is_client_error() || status.as_u16() == 429;
        return Err(Unfetched { there, ..failed(format!("answered {}", status.as_u16())) });
    }
    let mut body = Vec::new();
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(cut)?;
        if body.len() + chunk.len() > MAX_BODY {
            return Err(failed(format!("answered with more than {MAX_BODY} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// What lies below "error sending request".
fn root(error: &reqwest::Error) -> String {
    let mut root: &dyn std::error::Error = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root.to_string()
}

/// What Latchkey needs of the document (OpenID Connect Discovery 1.0 §3, RFC 8414 §2, RFC 9207 §3).
#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: Option<String>,
    token_endpoint: Option<String>,
    revocation_endpoint: Option<String>,
    userinfo_endpoint: Option<String>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

fn read(body: &[u8], issuer: &str, given: &Given) -> Result<Endpoints, String> {
    let document: Document = serde_json::from_slice(body)
        .map_err(|_| "the document is no JSON object with the members it should have".to_owned())?;
    if document.issuer != issuer {
        let named: String = document.issuer.escape_debug().take(200).collect();
        return Err(format!("the document is of the issuer {named}: they must be the same text"));
    }
    let secure = |endpoint: &Url| {
        endpoint.scheme() == "https"
            || Url::parse(issuer).is_ok_and(|issuer| endpoints::is_loopback(&issuer))
    };
    let find = |given: &Option<Url>, name: &str, found: Option<String>| match (given, found) {
        (Some(given), _) => Ok(Some(given.clone())),
        (None, None) => Ok(None),
        (None, Some(found)) => match endpoints::check(&found) {
            Ok(url) if secure(&url) => Ok(Some(url)),
            Ok(_) => Err(format!("the document's {name} must be https")),
            Err(what) => Err(format!("the document's {name} {what}")),
        },
    };
    let need = |found: Option<Url>, name: &str, key: &str| {
        found.ok_or_else(|| {
            format!("the document names no {name}: give `{key}` in the platforms file")
        })
    };
    let authorize_url =
        find(&given.authorize_url, "authorization_endpoint", document.authorization_endpoint)?;
    let token_url = find(&given.token_url, "token_endpoint", document.token_endpoint)?;
    let userinfo_url = find(&given.userinfo_url, "userinfo_endpoint", document.userinfo_endpoint)?;
    Ok(Endpoints {
        authorize_url: need(authorize_url, "authorization_endpoint", "authorize_url")?,
        token_url: need(token_url, "token_endpoint", "token_url")?,
        userinfo_url: need(userinfo_url, "userinfo_endpoint", "userinfo_url")?,
        revoke_url: find(&given.revoke_url, "revocation_endpoint", document.revocation_endpoint)?,
        refresh_url: None,
        long_lived_url: None,
        accounts_url: None,
        inspect_url: None,
        iss_required: given.iss_required || document.authorization_response_iss_parameter_supported,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ISSUER: &str = "https://p.example/tenant";

    fn read_with(member: &str, value: Value) -> Result<Endpoints, String> {
        let mut document = json!({
            "issuer": ISSUER,
            "authorization_endpoint": "https://p.example/a",
            "token_endpoint": "https://p.example/t",
            "userinfo_endpoint": "https://p.example/u",
            "revocation_endpoint": "https://p.example/r",
            "jwks_uri": "https://p.example/keys",
        });
        document[member] = value;
        read(document.to_string().as_bytes(), ISSUER, &Given::default())
    }

    #[test]
    fn the_places_are_those_of_the_standards() {
        assert_eq!(
            well_known("https://p.example/tenant/1/"),
            [
                "https://p.example/tenant/1/.well-known/openid-configuration",
                "https://p.example/.well-known/oauth-authorization-server/tenant/1",
            ]
        );
        assert_eq!(
            well_known("http://127.0.0.1:9"),
            [
                "http://127.0.0.1:9/.well-known/openid-configuration",
                "http://127.0.0.1:9/.well-known/oauth-authorization-server",
            ]
        );
    }

    #[test]
    fn a_document_names_its_issuer_to_the_letter() {
        assert!(read_with("issuer", json!(ISSUER)).is_ok());
        for other in
            [json!("https://p.example/tenant/"), json!("https://evil.example"), json!(null)]
        {
            assert!(read_with("issuer", other.clone()).is_err(), "{other}");
        }
    }

    #[test]
    fn endpoints_are_encrypted_and_all_there() {
        for name in ["authorization_endpoint", "token_endpoint", "userinfo_endpoint"] {
            for wrong in [json!(null), json!("http://p.example/x"), json!("/x"), json!(7)] {
                assert!(read_with(name, wrong.clone()).is_err(), "{name} {wrong}");
            }
            // Loopback is no way out for an issuer that is elsewhere.
            let why = read_with(name, json!("http://127.0.0.1/x")).unwrap_err();
            assert!(why.contains(name) && why.contains("https"), "{why}");
        }
        assert_eq!(read_with("revocation_endpoint", json!(null)).unwrap().revoke_url, None);
        assert!(read_with("revocation_endpoint", json!("http://p.example/r")).is_err());
    }

    #[test]
    fn what_the_operator_says_stands_above_what_is_discovered() {
        let userinfo: Url = "https://me.example/u".parse().unwrap();
        let given = Given { userinfo_url: Some(userinfo.clone()), ..Given::default() };
        let document = json!({
            "issuer": ISSUER,
            "authorization_endpoint": "https://p.example/a",
            "token_endpoint": "https://p.example/t",
            "userinfo_endpoint": "http://not.encrypted.example/",
            "authorization_response_iss_parameter_supported": true,
        });
        let endpoints = read(document.to_string().as_bytes(), ISSUER, &given).unwrap();
        assert_eq!(endpoints.userinfo_url, userinfo);
        assert!(endpoints.iss_required);
    }
}
