//! Who the person is: one request with the new access token.

use latchkey_shared::platforms::{Endpoints, Platform};
use latchkey_shared::tokens::TokenSet;
use secrecy::ExposeSecret as _;
use serde_json::Value;

use super::refusal::Refusal;
use super::{CallError, PlatformHttp};

/// Names and addresses longer than this are cut.
const MAX_TEXT: usize = 500;

/// Who somebody is at a platform.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    /// The platform's id.
    pub id: String,
    /// The handle.
    pub username: Option<String>,
    /// The name people see.
    pub display_name: Option<String>,
    /// A picture.
    pub avatar_url: Option<String>,
}

/// Why it is not known who the person is.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The platform does not accept the token for this.
    #[error("the platform answered {0} to the question who this is")]
    Refused(u16),
    /// The same, in its own words.
    #[error("the platform refused to say who this is: {}", .0.code)]
    Said(Refusal),
    /// The answer has no id where it should be.
    #[error("the platform's answer has no id")]
    NoId,
    /// The platform did not answer.
    #[error("the platform did not say who this is")]
    Call(#[from] CallError),
}

/// Asks the platform.
///
/// # Errors
/// [`IdentityError`].
pub async fn identify(
    http: &PlatformHttp,
    (platform, endpoints): (&Platform, &Endpoints),
    tokens: &TokenSet,
) -> Result<Identity, IdentityError> {
    let request = http::Request::get(endpoints.userinfo_url.as_str())
        .header(
            http::header::AUTHORIZATION,
            format!("Bearer {}", tokens.access_token.expose_secret()),
        )
        .header(http::header::ACCEPT, "application/json")
        .body(Vec::new())
        .map_err(|error| CallError::Unreadable(error.to_string()))?;
    let response = http.send(request, http.timeouts().identity()).await?;
    let said = || match Refusal::inside(response.body())? {
        busy if busy.will_pass() => Some(CallError::Unreadable(busy.code).into()),
        refusal => Some(IdentityError::Said(refusal)),
    };
    if !response.status().is_success() {
        let status = response.status().as_u16();
        return Err(said().unwrap_or(IdentityError::Refused(status)));
    }
    let body = serde_json::from_slice(response.body())
        .map_err(|error| CallError::Unreadable(error.to_string()))?;
    read(platform, &body).ok_or_else(|| said().unwrap_or(IdentityError::NoId))
}

fn read(platform: &Platform, body: &Value) -> Option<Identity> {
    let mapping = &platform.identity_mapping;
    let text = |pointer: Option<&str>| pointer.and_then(|pointer| as_text(body.pointer(pointer)?));
    Some(Identity {
        id: text(Some(&mapping.id)).filter(|id| !id.is_empty())?,
        username: text(mapping.username.as_deref()),
        display_name: text(mapping.display_name.as_deref()),
        avatar_url: text(mapping.avatar_url.as_deref()),
    })
}

/// Ids may be numbers beyond what a double holds: they are kept to the digit.
fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.chars().take(MAX_TEXT).collect()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
