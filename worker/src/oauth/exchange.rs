//! Code for tokens: RFC 6749 §4.1.3 with PKCE (RFC 7636 §4.5).

use latchkey_shared::credentials::Credentials;
use latchkey_shared::platforms::{Endpoints, Platform};
use oauth2::{AuthorizationCode, PkceCodeVerifier, RedirectUrl};
use secrecy::{ExposeSecret as _, SecretString};

use super::refusal::TokenError;
use super::token_client::{OneCall, answer, client, token_error};
use super::{Answer, CallError, PlatformHttp};

/// What the exchange presents.
#[derive(Clone, Debug)]
pub struct CodeExchange<'a> {
    /// The code: presented once, ever.
    pub code: SecretString,
    /// The PKCE verifier, where the platform takes PKCE.
    pub verifier: Option<SecretString>,
    /// The redirect URI of the authorization request, to the letter.
    pub redirect_uri: &'a str,
}

/// Presents the code.
///
/// # Errors
/// [`TokenError`].
pub async fn exchange(
    http: &PlatformHttp,
    platform: &Platform,
    endpoints: &Endpoints,
    credentials: &Credentials,
    presented: CodeExchange<'_>,
) -> Result<Answer, TokenError> {
    let redirect = RedirectUrl::new(presented.redirect_uri.to_owned())
        .map_err(|error| CallError::Unreadable(format!("the redirect URI: {error}")))?;
    let client = client(platform, &endpoints.token_url, credentials).set_redirect_uri(redirect);
    let mut request =
        client.exchange_code(AuthorizationCode::new(presented.code.expose_secret().to_owned()));
    if let Some(verifier) = presented.verifier {
        request =
            request.set_pkce_verifier(PkceCodeVerifier::new(verifier.expose_secret().to_owned()));
    }
    for (name, value) in &platform.token_parameters {
        request = request.add_extra_param(name, value);
    }
    let wire = &platform.quirks.exchange;
    let call = OneCall { http, platform, wire, deadline: http.timeouts().other };
    let response = request.request_async(&call).await.map_err(token_error)?;
    answer(platform, &response)
}
