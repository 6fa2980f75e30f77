//! Refresh token for new tokens: RFC 6749 §6.

use latchkey_shared::credentials::Credentials;
use latchkey_shared::platforms::{Endpoints, Platform};
use oauth2::RefreshToken;
use secrecy::{ExposeSecret as _, SecretString};

use super::refusal::TokenError;
use super::token_client::{OneCall, answer, client, token_error};
use super::{Answer, PlatformHttp};

/// Presents the refresh token. Waits as long as the platform's model allows: where tokens rotate,
/// giving up early is what loses them.
///
/// # Errors
/// [`TokenError`].
pub async fn refresh(
    http: &PlatformHttp,
    (platform, endpoints): (&Platform, &Endpoints),
    credentials: &Credentials,
    token: &SecretString,
) -> Result<Answer, TokenError> {
    let client = client((platform, endpoints), credentials);
    let token = RefreshToken::new(token.expose_secret().to_owned());
    let call = OneCall { http, deadline: http.timeouts().refresh(platform.refresh) };
    let mut request = client.exchange_refresh_token(&token);
    for (name, value) in &platform.token_parameters {
        request = request.add_extra_param(name, value);
    }
    let response = request.request_async(&call).await.map_err(token_error)?;
    answer(platform, &response)
}
