//! Refresh token for new tokens: RFC 6749 §6.

use latchkey_shared::credentials::Credentials;
use latchkey_shared::platforms::Platform;
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
    platform: &Platform,
    credentials: &Credentials,
    token: &SecretString,
) -> Result<Answer, TokenError> {
    let client = client(platform, credentials);
    let token = RefreshToken::new(token.expose_secret().to_owned());
    let call = OneCall { http, deadline: http.timeouts().refresh(platform.refresh) };
    let response =
        client.exchange_refresh_token(&token).request_async(&call).await.map_err(token_error)?;
    answer(&response)
}
