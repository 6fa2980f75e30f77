//! The first half of an authorization-code flow: state, PKCE and the authorize URL.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::platforms::{Endpoints, Pkce, Platform};
use crate::random;

/// SHA-256: one-time values are found by it and never stored in the clear.
#[must_use]
pub fn hash(secret: &str) -> Vec<u8> {
    Sha256::digest(secret.as_bytes()).to_vec()
}

/// A PKCE verifier of 43 characters (RFC 7636 §4.1), if the platform takes PKCE.
#[must_use]
pub fn new_verifier(platform: &Platform) -> Option<SecretString> {
    match platform.pkce {
        Pkce::S256 | Pkce::S256Hex => Some(random::token().into()),
        Pkce::None => None,
    }
}

/// What one authorization asks for.
#[derive(Debug)]
pub struct Request<'a> {
    /// The client id of the app.
    pub client_id: &'a str,
    /// Where the platform sends the browser back to.
    pub redirect_uri: &'a str,
    /// What is asked for.
    pub scopes: &'a [String],
    /// Comes back with the browser; found by its hash.
    pub state: &'a str,
    /// The PKCE verifier; only its challenge is sent.
    pub verifier: Option<&'a SecretString>,
}

/// Where the person approves: RFC 6749 §4.1.1, RFC 7636 §4.3.
#[must_use]
pub fn authorize_url(platform: &Platform, endpoints: &Endpoints, request: &Request<'_>) -> Url {
    let mut url = endpoints.authorize_url.clone();
    {
        let mut query = url.query_pairs_mut();
        query
            .append_pair("response_type", "code")
            .append_pair(platform.quirks.client_id, request.client_id)
            .append_pair("redirect_uri", request.redirect_uri);
        if !request.scopes.is_empty() {
            query.append_pair("scope", &request.scopes.join(&platform.scope_separator));
        }
        query.append_pair("state", request.state);
        if let Some(verifier) = request.verifier {
            query
                .append_pair("code_challenge", &challenge(platform.pkce, verifier))
                .append_pair("code_challenge_method", "S256");
        }
        query.extend_pairs(&platform.authorize_parameters);
        if needs_consent(request.scopes) && !platform.authorize_parameters.contains_key("prompt") {
            query.append_pair("prompt", "consent");
        }
    }
    url
}

/// An OpenID provider ignores `offline_access` unless the person is asked for consent (OpenID Connect Core 1.0 §11).
fn needs_consent(scopes: &[String]) -> bool {
    let asked = |wanted: &str| scopes.iter().any(|scope| scope == wanted);
    asked("openid") && asked("offline_access")
}

fn challenge(pkce: Pkce, verifier: &SecretString) -> String {
    let digest = Sha256::digest(verifier.expose_secret().as_bytes());
    match pkce {
        Pkce::S256Hex => hex::encode(digest),
        Pkce::S256 | Pkce::None => URL_SAFE_NO_PAD.encode(digest),
    }
}

/// Whether the one who sent the browser back may be the one who was asked (RFC 9207 §2.4).
#[must_use]
pub fn issuer_fits(asked: Option<&str>, required: bool, answered: Option<&str>) -> bool {
    match (asked, answered) {
        (Some(asked), Some(answered)) => asked == answered,
        (Some(_), None) => !required,
        (None, _) => true,
    }
}
