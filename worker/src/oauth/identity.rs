//! Who the person is: one request with the new access token.

use latchkey_shared::platforms::{Endpoints, IdentityMapping, Platform};
use latchkey_shared::texts;
use latchkey_shared::tokens::TokenSet;
use serde_json::Value;
use url::Url;

use super::PlatformHttp;
use super::ask::{AskError, Question, ask, lacks};
use super::secrets::REDACTED;
use super::wire;

/// Names longer than this are cut.
const MAX_TEXT: usize = 500;
/// Addresses of pictures that are longer are left out.
const MAX_URL: usize = 2048;

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

impl Identity {
    /// Who began a session, without what else there is to know.
    ///
    /// # Errors
    /// When the session named nobody.
    pub fn of_session(tokens: &TokenSet) -> Result<Self, AskError> {
        let id = tokens.subject.clone().ok_or(AskError::Lacks("an id"))?;
        Ok(Self { id, username: None, display_name: None, avatar_url: None })
    }
}

/// Asks the platform for what the granted scopes allow.
///
/// # Errors
/// [`AskError`].
pub async fn identify(
    http: &PlatformHttp,
    platform: &Platform,
    endpoints: &Endpoints,
    tokens: &TokenSet,
    scopes: &[String],
) -> Result<Identity, AskError> {
    let asked = &platform.quirks.identity;
    let url = with_fields_of(&endpoints.userinfo_url, asked.scoped_fields, scopes);
    let question =
        Question { url: &url, ask: asked, query: Vec::new(), deadline: http.timeouts().identity() };
    let body = ask(http, platform, &question, tokens).await?;
    let mapping = &platform.identity_mapping;
    // An id that came with the tokens says nothing of this answer: an error may stand in it.
    let unsaid = mapping.id.is_empty() && super::errors::read(&body).is_some();
    let identity = read(mapping, &body, tokens.subject.as_deref()).filter(|_| !unsaid);
    identity.ok_or_else(|| lacks(platform, &body, "an id"))
}

/// The address without the fields for which no scope was granted.
fn with_fields_of(url: &Url, scoped: &[(&str, &str)], granted: &[String]) -> Url {
    let lacks = |field: &str| {
        scoped.iter().any(|(name, scope)| *name == field && !granted.iter().any(|one| one == scope))
    };
    let mut narrowed = url.clone();
    if scoped.is_empty() {
        return narrowed;
    }
    narrowed.query_pairs_mut().clear().extend_pairs(url.query_pairs().map(|(name, value)| {
        if name != "fields" {
            return (name, value);
        }
        let fields: Vec<&str> = value.split(',').filter(|field| !lacks(field)).collect();
        let fields = fields.join(",").into();
        (name, fields)
    }));
    narrowed
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
    let name = |pointer: &S| texts::name(&text(pointer)?, MAX_TEXT);
    let picture = |pointer: &S| {
        let url = body.pointer(pointer.as_ref())?.as_str()?;
        is_picture(url).then(|| url.to_owned())
    };
    let id = match mapping.id.as_ref() {
        "" => subject.map(str::to_owned),
        _ => text(&mapping.id),
    };
    Some(Identity {
        // One that was a secret names nobody: everybody's would be the same.
        id: id.filter(|id| !id.is_empty() && !id.contains(REDACTED))?,
        // Some write handles with the sign that belongs before them, some without.
        username: mapping.username.as_ref().and_then(name).map(without_sign),
        display_name: mapping.display_name.as_ref().and_then(name),
        avatar_url: mapping.avatar_url.as_ref().and_then(picture),
    })
}

/// An address that a browser may load a picture from. A longer one is left out: a part of it leads nowhere.
fn is_picture(url: &str) -> bool {
    let scheme = Url::parse(url).map(|url| url.scheme().to_owned());
    let of_the_web = scheme.is_ok_and(|scheme| matches!(scheme.as_str(), "https" | "http"));
    of_the_web && url.len() <= MAX_URL && !url.contains('\0')
}

fn without_sign(handle: String) -> String {
    handle.strip_prefix('@').map(str::to_owned).unwrap_or(handle)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_of(id: &Value, name: &Value, picture: &Value) -> Option<Identity> {
        let mapping = IdentityMapping {
            id: "/id",
            username: Some("/name"),
            display_name: Some("/name"),
            avatar_url: Some("/picture"),
        };
        read(&mapping, &json!({ "id": id, "name": name, "picture": picture }), None)
    }

    #[test]
    fn what_cannot_be_stored_is_replaced() {
        let identity = read_of(&json!("a\0b"), &json!("@ann\0"), &Value::Null).unwrap();
        assert_eq!(identity.id, "a\u{fffd}b");
        assert_eq!(identity.username.as_deref(), Some("ann\u{fffd}"));
        assert_eq!(identity.display_name.as_deref(), Some("@ann\u{fffd}"));
    }

    #[test]
    fn a_picture_is_an_address_of_the_web() {
        let shown = |url: &str| read_of(&json!("1"), &Value::Null, &json!(url)).unwrap().avatar_url;
        let long = format!("https://cdn.example/{}", "x".repeat(1500));
        for url in ["https://cdn.example/a.png?s=1", "http://cdn.example/a.png", &long] {
            assert_eq!(shown(url).as_deref(), Some(url));
        }
        let longer = format!("https://cdn.example/{}", "x".repeat(3000));
        for url in [
            "javascript:alert(1)",
            "data:image/svg+xml,<svg onload=alert(1)>",
            " JaVaScRiPt:alert(1)",
            "//cdn.example/a.png",
            "https://cdn.example/\0",
            "nonsense",
            "",
            &longer,
        ] {
            assert_eq!(shown(url), None, "{url}");
        }
    }
}
