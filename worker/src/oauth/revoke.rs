//! Telling the platform that a token is out of use: RFC 7009, and vendors' ways to the same end.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use latchkey_shared::credentials::Credentials;
use latchkey_shared::platforms::quirks::{Presents, RevokeForm};
use latchkey_shared::platforms::{ClientAuth, Flow, Platform, with_subject};
use latchkey_shared::tokens::TokenSet;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::inspect::app_token;
use super::refusal::{FailureClass, Refusal};
use super::secrets::Secrets;
use super::{CallError, PlatformHttp, app_password, rate_limit};

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

/// Presents what the platform wants: by RFC 7009 the refresh token, which normally takes the access
/// tokens with it (§2.1); the access token where there is no other.
///
/// # Errors
/// [`CallError`]: the token must be taken as alive.
pub async fn revoke(
    http: &PlatformHttp,
    platform: &Platform,
    endpoint: &Url,
    credentials: &Credentials,
    tokens: &TokenSet,
) -> Result<Revoked, CallError> {
    let deadline = http.timeouts().other;
    if platform.flow == Flow::AppPassword {
        return app_password::end(http, tokens, deadline).await;
    }
    let request = request(platform, endpoint, credentials, tokens)
        .map_err(|error| CallError::Unreadable(error.to_string()))?;
    let secrets = Secrets::of_request(&request);
    let response = http.send(platform, request, deadline).await?;
    let answer = read(platform, response.status(), &secrets.clean_body(response.body()));
    Ok(match answer {
        Revoked::Refused(refusal) => {
            let wait = rate_limit::wait(platform, response.headers());
            Revoked::Refused(Refusal { wait, ..refusal })
        }
        other => other,
    })
}

fn request(
    platform: &Platform,
    endpoint: &Url,
    credentials: &Credentials,
    tokens: &TokenSet,
) -> http::Result<http::Request<Vec<u8>>> {
    let call = &platform.quirks.revocation;
    let (token, hint) = presented(call.presents, credentials, tokens);
    let mut pairs = vec![(call.token, token.expose_secret().to_owned())];
    let mut url = with_subject(endpoint, tokens.subject.as_deref().unwrap_or("me"));
    let mut authorization = None;
    match platform.client_auth {
        _ if !call.client => {}
        ClientAuth::Basic => authorization = Some(basic(credentials)),
        ClientAuth::Body => {
            let secret = credentials.client_secret.expose_secret();
            let id =
                if call.form == RevokeForm::Json { "client_id" } else { platform.quirks.client_id };
            pairs.extend([
                (id, credentials.client_id.clone()),
                ("client_secret", secret.to_owned()),
            ]);
        }
    }
    let (method, content_type, body) = match call.form {
        RevokeForm::Form => {
            pairs.extend(hint.map(|hint| ("token_type_hint", hint.to_owned())));
            let form = Serializer::new(String::new()).extend_pairs(pairs).finish();
            ("POST", Some("application/x-www-form-urlencoded"), form)
        }
        RevokeForm::Json => {
            let members = pairs.into_iter().map(|(name, value)| (name.to_owned(), json!(value)));
            let object = Value::Object(members.collect::<Map<_, _>>());
            ("POST", Some("application/json"), object.to_string())
        }
        RevokeForm::Delete => {
            url.query_pairs_mut().extend_pairs(pairs);
            ("DELETE", None, String::new())
        }
    };
    let mut request = http::Request::builder()
        .method(method)
        .uri(url.as_str())
        .header(http::header::ACCEPT, "application/json");
    if let Some(authorization) = authorization {
        request = request.header(http::header::AUTHORIZATION, authorization);
    }
    if let Some(content_type) = content_type {
        request = request.header(http::header::CONTENT_TYPE, content_type);
    }
    request.body(body.into_bytes())
}

/// The token, and what RFC 7009 calls its kind where both may be presented.
fn presented(
    presents: Presents,
    credentials: &Credentials,
    tokens: &TokenSet,
) -> (SecretString, Option<&'static str>) {
    match (presents, &tokens.refresh_token) {
        (Presents::RefreshToken, Some(token)) => (token.clone(), Some("refresh_token")),
        (Presents::RefreshToken, None) => (tokens.access_token.clone(), Some("access_token")),
        (Presents::AccessToken, _) => (tokens.access_token.clone(), None),
        (Presents::AppToken, _) => (app_token(credentials), None),
    }
}

/// The status says it all (§2.2), except where a platform hides its no in a 200. A platform that
/// does not know the token any more (against §2.2, but seen) has nothing left to revoke.
fn read(platform: &Platform, status: http::StatusCode, body: &[u8]) -> Revoked {
    let said =
        Refusal::inside(body).map(|refusal| Refusal { status: Some(status.as_u16()), ..refusal });
    if status.is_success() && said.is_none() {
        return Revoked::Yes { status: status.as_u16() };
    }
    let refusal = said.unwrap_or_else(|| Refusal::new(&format!("http_{}", status.as_u16()), None));
    match refusal.code.as_str() {
        "unsupported_token_type" => Revoked::Unsupported,
        "invalid_token" | "invalid_grant" => Revoked::Yes { status: status.as_u16() },
        _ if platform.quirks.revocation.presents != Presents::AppToken
            && refusal.class(platform) == FailureClass::Dead =>
        {
            Revoked::Yes { status: status.as_u16() }
        }
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
    use super::super::refusal::tests::platforms;
    use super::*;

    #[test]
    fn what_platforms_answer_to_a_revocation() {
        let platforms = platforms();
        let sandbox = platforms.get("SANDBOX").unwrap();
        let answer = |status: u16, body: &str| {
            read(sandbox, http::StatusCode::from_u16(status).unwrap(), body.as_bytes())
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
            let told = match answer(status, body) {
                Revoked::Refused(refusal) => refusal.code,
                other => panic!("{other:?}"),
            };
            assert_eq!(told, code, "{status} {body}");
        }
    }
}
