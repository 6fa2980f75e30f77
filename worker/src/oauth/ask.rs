//! Reading something with an access token: who somebody is, what there is to choose from, whether a
//! token still works. Asking again harms nobody.

use std::time::Duration;

use latchkey_shared::platforms::Platform;
use latchkey_shared::platforms::quirks::{Ask, TokenPlace};
use latchkey_shared::tokens::TokenSet;
use secrecy::ExposeSecret as _;
use serde_json::Value;
use url::Url;

use super::refusal::Refusal;
use super::secrets::Secrets;
use super::{CallError, PlatformHttp, rate_limit};

/// Why nothing was learned.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The platform does not accept the token for this.
    #[error("the platform answered {0}")]
    Refused(u16),
    /// The same, in its own words.
    #[error("the platform refused: {}", .0.code)]
    Said(Refusal),
    /// The answer lacks what was asked for.
    #[error("the platform's answer lacks {0}")]
    Lacks(&'static str),
    /// The answer is a signed or encrypted JWT (OpenID Connect Core 1.0 §5.3.2): the client was registered so.
    #[error("the platform answers with a JWT: have it answer with plain JSON")]
    Jwt,
    /// The platform did not answer, or says itself that this will pass.
    #[error("the platform did not answer")]
    Call(#[from] CallError),
}

impl AskError {
    /// How long the platform wants to be left alone.
    #[must_use]
    pub fn patience(&self, platform: &Platform) -> Option<Duration> {
        match self {
            Self::Said(refusal) => refusal.patience(platform),
            Self::Call(error) => error.asked_patience(),
            Self::Refused(_) | Self::Lacks(_) | Self::Jwt => None,
        }
    }
}

/// A question to a platform.
pub(super) struct Question<'a> {
    /// Where.
    pub url: &'a Url,
    /// How.
    pub ask: &'a Ask,
    /// More of the query.
    pub query: Vec<(&'static str, String)>,
    /// For how long.
    pub deadline: Duration,
}

/// Asks, and answers what the platform said if that is JSON and no error.
///
/// # Errors
/// [`AskError`].
pub(super) async fn ask(
    http: &PlatformHttp,
    platform: &Platform,
    question: &Question<'_>,
    tokens: &TokenSet,
) -> Result<Value, AskError> {
    let request = request(platform, question, tokens)
        .map_err(|error| CallError::Unreadable(error.to_string()))?;
    let secrets = Secrets::of_request(&request);
    let response = http.send(platform, request, question.deadline).await?;
    let status = response.status();
    let body: Option<Value> = serde_json::from_slice(&secrets.clean_body(response.body())).ok();
    match body {
        Some(body) if status.is_success() => Ok(body),
        None if status.is_success() && is_jwt(response.body()) => Err(AskError::Jwt),
        None if status.is_success() => Err(CallError::Unreadable("no JSON".to_owned()).into()),
        body => {
            let wait = rate_limit::wait(platform, response.headers());
            let said = body.as_ref().and_then(super::errors::read);
            let said = said.or_else(|| challenge(response.headers(), &secrets));
            Err(said.map_or(AskError::Refused(status.as_u16()), |refusal| {
                let status = Some(status.as_u16());
                refused(platform, Refusal { status, wait, ..refusal })
            }))
        }
    }
}

/// The error in `WWW-Authenticate`, where userinfo endpoints put it (RFC 6750 §3.1, OpenID Connect Core 1.0 §5.3.3).
fn challenge(headers: &http::HeaderMap, secrets: &Secrets) -> Option<Refusal> {
    let header = headers.get(http::header::WWW_AUTHENTICATE)?.to_str().ok()?;
    let parameter = |name: &str| {
        let (_, rest) = header.split_once(&format!("{name}=\""))?;
        Some(secrets.clean(rest.split('"').next()?))
    };
    let words = parameter("error_description");
    Some(Refusal::new(&parameter(" error")?, words.as_deref()))
}

/// A JSON object in base64url begins so, and its parts are joined by dots (RFC 7515 §3.1, RFC 7516 §3.1).
fn is_jwt(body: &[u8]) -> bool {
    let body = body.trim_ascii();
    let of_a_jwt = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    body.starts_with(b"eyJ") && body.contains(&b'.') && body.iter().all(of_a_jwt)
}

/// An error, or what will pass.
pub(super) fn refused(platform: &Platform, refusal: Refusal) -> AskError {
    if refusal.will_pass(platform) {
        return busy(platform, refusal).into();
    }
    AskError::Said(refusal)
}

/// A refusal that will pass.
pub fn busy(platform: &Platform, refusal: Refusal) -> CallError {
    let (wait, used_up) = (refusal.patience(platform), refusal.is_used_up(platform));
    CallError::Busy { wait, used_up, code: refusal.code }
}

/// What is missing from an answer that is no error by its status: an error after all, or nothing.
pub(super) fn lacks(platform: &Platform, body: &Value, what: &'static str) -> AskError {
    match super::errors::read(body) {
        Some(refusal) => refused(platform, refusal),
        None => AskError::Lacks(what),
    }
}

fn request(
    platform: &Platform,
    question: &Question<'_>,
    tokens: &TokenSet,
) -> http::Result<http::Request<Vec<u8>>> {
    let (ask, token) = (question.ask, tokens.access_token.expose_secret());
    let mut url = match &tokens.host {
        Some(host) => at_host(question.url, host),
        None => question.url.clone(),
    };
    let subject = ask.subject.zip(tokens.subject.clone());
    let in_query = match ask.token {
        TokenPlace::Query(name) => Some((name, token.to_owned())),
        TokenPlace::Bearer | TokenPlace::Header(_) => None,
    };
    let more: Vec<_> = question.query.iter().cloned().chain(subject).chain(in_query).collect();
    if !more.is_empty() {
        url.query_pairs_mut().extend_pairs(more);
    }
    let mut request =
        http::Request::get(url.as_str()).header(http::header::ACCEPT, "application/json");
    request = match ask.token {
        TokenPlace::Bearer => {
            request.header(http::header::AUTHORIZATION, format!("Bearer {token}"))
        }
        TokenPlace::Header(name) => request.header(name, token),
        TokenPlace::Query(_) => request,
    };
    for (name, value) in ask.headers {
        request = request.header(*name, value.replace("{version}", &platform.version));
    }
    request.body(Vec::new())
}

/// The same path and query at the person's own host.
fn at_host(url: &Url, host: &Url) -> Url {
    let mut at_host = host.clone();
    at_host.set_path(url.path());
    at_host.set_query(url.query());
    at_host
}
