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
            Self::Refused(_) | Self::Lacks(_) => None,
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
        None if status.is_success() => Err(CallError::Unreadable("no JSON".to_owned()).into()),
        body => {
            let wait = rate_limit::wait(platform, response.headers());
            let said = body.as_ref().and_then(super::errors::read);
            Err(said.map_or(AskError::Refused(status.as_u16()), |refusal| {
                let status = Some(status.as_u16());
                refused(platform, Refusal { status, wait, ..refusal })
            }))
        }
    }
}

/// An error, or what will pass.
pub(super) fn refused(platform: &Platform, refusal: Refusal) -> AskError {
    if refusal.will_pass(platform) {
        return CallError::Busy { wait: refusal.patience(platform), code: refusal.code }.into();
    }
    AskError::Said(refusal)
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
