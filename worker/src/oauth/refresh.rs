//! New tokens for those that we hold: RFC 6749 §6, and vendors' ways to the same end.

use latchkey_shared::credentials::Credentials;
use latchkey_shared::platforms::quirks::Wire;
use latchkey_shared::platforms::{Endpoints, Flow, Platform, RefreshModel};
use latchkey_shared::tokens::TokenSet;
use oauth2::RefreshToken;
use secrecy::{ExposeSecret as _, SecretString};
use std::time::Duration;
use url::Url;

use super::refusal::TokenError;
use super::token_client::{OneCall, answer, client, token_error};
use super::{Answer, PlatformHttp, app_password};

/// What a refresh presents; `None`: there is nothing to present.
#[must_use]
pub fn presented<'a>(platform: &Platform, tokens: &'a TokenSet) -> Option<&'a SecretString> {
    match platform.refresh {
        RefreshModel::SelfExtending { .. } => Some(&tokens.access_token),
        _ => tokens.refresh_token.as_ref(),
    }
}

/// The token that a refresh presents, and the set that it is of.
#[derive(Clone, Copy, Debug)]
pub struct Presented<'a> {
    /// The set.
    pub tokens: &'a TokenSet,
    /// One of it.
    pub token: &'a SecretString,
}

/// Refreshes. Waits as long as the platform's model allows: where tokens rotate, giving up early is
/// what loses them. What the answer leaves out stays as it was.
///
/// # Errors
/// [`TokenError`].
pub async fn refresh(
    http: &PlatformHttp,
    platform: &Platform,
    endpoints: &Endpoints,
    credentials: &Credentials,
    presented: Presented<'_>,
) -> Result<Answer, TokenError> {
    let Presented { tokens, token } = presented;
    let deadline = http.timeouts().refresh(platform.refresh);
    let mut answer = match platform.flow {
        Flow::AppPassword => app_password::refresh(http, platform, tokens, deadline).await?,
        Flow::AuthorizationCode => {
            let url = endpoints.refresh_url.as_ref().unwrap_or(&endpoints.token_url);
            let to = Place { url, wire: &platform.quirks.refresh, deadline };
            present(http, platform, &to, credentials, token).await?
        }
    };
    // RFC 6749 §6: without a new refresh token the old one stays in force.
    if answer.tokens.refresh_token.is_none() {
        answer.tokens.refresh_token.clone_from(&tokens.refresh_token);
        answer.refresh_token_stayed = true;
    }
    answer.tokens.subject = answer.tokens.subject.or_else(|| tokens.subject.clone());
    answer.tokens.host = answer.tokens.host.or_else(|| tokens.host.clone());
    Ok(answer)
}

/// Where a platform gives long-lived tokens, and how.
#[derive(Clone, Copy, Debug)]
pub struct LongLived<'a> {
    /// The endpoint.
    pub url: &'a Url,
    /// What it takes and answers.
    pub wire: &'a Wire,
}

/// Trades the short-lived token of an exchange in for a long-lived one. Harmless when done twice: the
/// short-lived one stays good.
///
/// # Errors
/// [`TokenError`].
pub async fn trade_in(
    http: &PlatformHttp,
    platform: &Platform,
    to: LongLived<'_>,
    credentials: &Credentials,
    tokens: &TokenSet,
) -> Result<Answer, TokenError> {
    let to = Place { url: to.url, wire: to.wire, deadline: http.timeouts().other };
    let mut answer = present(http, platform, &to, credentials, &tokens.access_token).await?;
    answer.tokens.subject = answer.tokens.subject.or_else(|| tokens.subject.clone());
    Ok(answer)
}

struct Place<'a> {
    url: &'a Url,
    wire: &'a Wire,
    deadline: Duration,
}

async fn present(
    http: &PlatformHttp,
    platform: &Platform,
    to: &Place<'_>,
    credentials: &Credentials,
    token: &SecretString,
) -> Result<Answer, TokenError> {
    let client = client(platform, to.url, credentials);
    let token = RefreshToken::new(token.expose_secret().to_owned());
    let call = OneCall { http, platform, wire: to.wire, deadline: to.deadline };
    let mut request = client.exchange_refresh_token(&token);
    for (name, value) in &platform.token_parameters {
        request = request.add_extra_param(name, value);
    }
    let response = request.request_async(&call).await.map_err(token_error)?;
    answer(platform, &response)
}
