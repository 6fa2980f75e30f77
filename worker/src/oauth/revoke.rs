//! Telling the platform that a token is out of use: RFC 7009.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use latchkey_shared::credentials::Credentials;
use latchkey_shared::platforms::{ClientAuth, Platform};
use latchkey_shared::tokens::TokenSet;
use secrecy::ExposeSecret as _;
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::refusal::Refusal;
use super::{CallError, PlatformHttp};

/// What the platform said.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Revoked {
    /// Done, or there was nothing left to do (§2.2 makes no difference).
    Yes {
        /// HTTP status.
        status: u16,
    },
    /// It does not revoke tokens of this type (§2.2.1).
    Unsupported,
    /// It said no: our credentials, or something unclear. The token may be alive.
    Refused(Refusal),
}

/// Presents the refresh token, which normally takes the access tokens with it (§2.1); the access
/// token where there is no other.
///
/// # Errors
/// [`CallError`]: the token must be taken as alive.
pub async fn revoke(
    http: &PlatformHttp,
    platform: &Platform,
    (endpoint, credentials): (&Url, &Credentials),
    tokens: &TokenSet,
) -> Result<Revoked, CallError> {
    let request = request(platform, (endpoint, credentials), tokens)
        .map_err(|error| CallError::Unreadable(error.to_string()))?;
    let response = http.send(request, http.timeouts().other).await?;
    Ok(read(response.status(), response.body()))
}

fn request(
    platform: &Platform,
    (endpoint, credentials): (&Url, &Credentials),
    tokens: &TokenSet,
) -> http::Result<http::Request<Vec<u8>>> {
    let (token, hint) = match &tokens.refresh_token {
        Some(token) => (token, "refresh_token"),
        None => (&tokens.access_token, "access_token"),
    };
    let mut form = Serializer::new(String::new());
    form.append_pair("token", token.expose_secret()).append_pair("token_type_hint", hint);
    let mut request = http::Request::post(endpoint.as_str())
        .header(http::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(http::header::ACCEPT, "application/json");
    match platform.client_auth {
        ClientAuth::Basic => {
            request = request.header(http::header::AUTHORIZATION, basic(credentials))
        }
        ClientAuth::Body => {
            form.append_pair("client_id", &credentials.client_id)
                .append_pair("client_secret", credentials.client_secret.expose_secret());
        }
    }
    request.body(form.finish().into_bytes())
}

/// The status says it all (§2.2), except where a platform hides its no in a 200. A platform that
/// does not know the token any more (against §2.2, but seen) has nothing left to revoke.
fn read(status: http::StatusCode, body: &[u8]) -> Revoked {
    let said = Refusal::inside(body);
    if status.is_success() && said.is_none() {
        return Revoked::Yes { status: status.as_u16() };
    }
    let refusal = said.unwrap_or_else(|| Refusal::new(&format!("http_{}", status.as_u16()), None));
    match refusal.code.as_str() {
        "unsupported_token_type" => Revoked::Unsupported,
        "invalid_token" | "invalid_grant" => Revoked::Yes { status: status.as_u16() },
        _ => Revoked::Refused(refusal),
    }
}

/// RFC 6749 §2.3.1: both halves are form-encoded before they are joined.
fn basic(credentials: &Credentials) -> String {
    let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!(
        "{}:{}",
        encode(&credentials.client_id),
        encode(credentials.client_secret.expose_secret())
    );
    format!("Basic {}", STANDARD.encode(pair))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_platforms_answer_to_a_revocation() {
        let answer = |status: u16, body: &str| {
            read(http::StatusCode::from_u16(status).unwrap(), body.as_bytes())
        };
        for (status, body) in [
            (200, ""),
            (200, "{}"),
            (204, ""),
            (200, "<html>"),
            (400, r#"{"error":"invalid_token"}"#),
            (200, r#"{"error":"invalid_grant"}"#),
        ] {
            assert_eq!(answer(status, body), Revoked::Yes { status }, "{status} {body}");
        }
        let unsupported = answer(400, r#"{"error":"unsupported_token_type"}"#);
        assert_eq!(unsupported, Revoked::Unsupported);
        for (status, body, code) in [
            (200, r#"{"error":"invalid_client"}"#, "invalid_client"),
            (401, r#"{"error":"invalid_client"}"#, "invalid_client"),
            (403, "<html>", "http_403"),
        ] {
            assert_eq!(answer(status, body), Revoked::Refused(Refusal::new(code, None)));
        }
    }
}
