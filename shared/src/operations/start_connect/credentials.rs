//! Handles and app passwords, for platforms without a consent page. A password is checked by its form
//! before it goes anywhere, and stands nowhere but sealed on the connect's row.

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::app_password::looks_like_app_password;
use crate::code::Code;
use crate::platforms::{Endpoints, Flow, Platform};
use crate::refused::Refused;
use crate::texts;
use crate::validate::Checks;

/// Who the person is at the platform, and the password that was made for you.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Credentials {
    /// The account's handle or DID.
    #[schema(min_length = 3, max_length = 253, example = "ann.bsky.social")]
    pub identifier: String,
    /// An app password; the account's own is refused. No answer shows it.
    #[schema(value_type = String, example = "xxxx-xxxx-xxxx-xxxx", write_only)]
    pub password: SecretString,
}

#[derive(Serialize)]
struct Plain<'a> {
    identifier: &'a str,
    password: &'a str,
}

/// What is sealed on the connect's row in place of a code: `None` where a browser brings it.
///
/// # Errors
/// When credentials are out of place, or not of their form.
pub fn check(
    given: Option<&Credentials>,
    platform: &Platform,
    endpoints: &Endpoints,
) -> Result<Option<Zeroizing<Vec<u8>>>, Refused> {
    match (platform.flow, given) {
        (Flow::AuthorizationCode, Some(_)) => {
            let mut checks = Checks::default();
            let name = &platform.name;
            checks.wrong("/credentials", format!("must be left out: people approve at {name}"));
            checks.finish().map(|()| None)
        }
        (_, None) => Ok(None),
        (Flow::AppPassword, Some(given)) => given.checked(endpoints).map(Some),
    }
}

impl Credentials {
    /// Of a form.
    #[must_use]
    pub fn new(identifier: String, password: SecretString) -> Self {
        Self { identifier, password }
    }

    fn checked(&self, endpoints: &Endpoints) -> Result<Zeroizing<Vec<u8>>, Refused> {
        let mut checks = Checks::default();
        let identifier = texts::handle(&self.identifier);
        if !is_identifier(&identifier) {
            checks.wrong(
                "/credentials/identifier",
                "must be a handle, such as ann.bsky.social, or a DID: no e-mail address",
            );
        }
        checks.finish()?;
        let password = self.password.expose_secret().trim();
        if !looks_like_app_password(password) {
            let detail = format!(
                "This is not an app password, and an account's own password is never taken. The person \
                 makes one at {}.",
                endpoints.authorize_url
            );
            return Err(Refused::new(Code::AppPasswordRequired, detail).at("/credentials/password"));
        }
        let plain = serde_json::to_vec(&Plain { identifier: &identifier, password });
        Ok(Zeroizing::new(plain.expect("two texts can be written")))
    }
}

/// Nothing else is judged here: whose handle it is, the network knows.
fn is_identifier(text: &str) -> bool {
    let plain = |char: char| !char.is_whitespace() && !char.is_control() && char != '@';
    (3..=253).contains(&text.chars().count())
        && text.chars().all(plain)
        && (text.contains('.') || text.starts_with("did:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_a_handle_or_a_did() {
        for good in ["ann.bsky.social", "did:plc:z72i7hdynmk6r22z27h6tvur", "a.b"] {
            assert!(is_identifier(good), "{good}");
        }
        let long = format!("{}.social", "a".repeat(250));
        for wrong in ["", "ab", "ann", "ann@example.com", "ann bsky.social", "a\0.b", &long] {
            assert!(!is_identifier(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let text = r#"{"identifier":"a.b","password":"abcd-efgh-2345-z7z7"}"#;
        let given: Credentials = serde_json::from_str(text).unwrap();
        assert!(!format!("{given:?}").contains("abcd"));
    }
}
