//! Who the person is: one request with the new access token.

use latchkey_shared::platforms::{Endpoints, IdentityMapping, Platform};
use latchkey_shared::tokens::TokenSet;
use serde_json::Value;

use super::PlatformHttp;
use super::ask::{AskError, Question, ask, lacks};
use super::secrets::REDACTED;
use super::wire;

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

/// Asks the platform.
///
/// # Errors
/// [`AskError`].
pub async fn identify(
    http: &PlatformHttp,
    (platform, endpoints): (&Platform, &Endpoints),
    tokens: &TokenSet,
) -> Result<Identity, AskError> {
    let question = Question {
        url: &endpoints.userinfo_url,
        ask: &platform.quirks.identity,
        query: Vec::new(),
        deadline: http.timeouts().identity(),
    };
    let body = ask(http, platform, &question, tokens).await?;
    let mapping = &platform.identity_mapping;
    // An id that came with the tokens says nothing of this answer: an error may stand in it.
    let unsaid = mapping.id.is_empty() && super::errors::read(&body).is_some();
    let identity = read(mapping, &body, tokens.subject.as_deref()).filter(|_| !unsaid);
    identity.ok_or_else(|| lacks(platform, &body, "an id"))
}

/// The identity inside an answer, or an item of one. `subject` is the id that came with the tokens.
pub(super) fn read<S: AsRef<str>>(
    mapping: &IdentityMapping<S>,
    body: &Value,
    subject: Option<&str>,
) -> Option<Identity> {
    let text = |pointer: &S| {
        let text = wire::text(body.pointer(pointer.as_ref())?)?;
        Some(text.chars().take(MAX_TEXT).collect::<String>())
    };
    let id = match mapping.id.as_ref() {
        "" => subject.map(str::to_owned),
        _ => text(&mapping.id),
    };
    Some(Identity {
        // One that was a secret names nobody: everybody's would be the same.
        id: id.filter(|id| !id.is_empty() && !id.contains(REDACTED))?,
        // Some write handles with the sign that belongs before them, some without.
        username: mapping.username.as_ref().and_then(text).map(without_sign),
        display_name: mapping.display_name.as_ref().and_then(text),
        avatar_url: mapping.avatar_url.as_ref().and_then(text),
    })
}

fn without_sign(handle: String) -> String {
    handle.strip_prefix('@').map(str::to_owned).unwrap_or(handle)
}
