//! Whether an account's own token still works, asked with the client's own token.

use chrono::{DateTime, Utc};
use latchkey_shared::credentials::Credentials;
use latchkey_shared::platforms::Platform;
use latchkey_shared::platforms::quirks::{Ask, Inspection, TokenPlace};
use latchkey_shared::tokens::TokenSet;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use url::Url;

use super::PlatformHttp;
use super::ask::{AskError, Question, ask, lacks};
use super::refusal::Refusal;
use super::wire;

const BY_QUERY: Ask = Ask { token: TokenPlace::Query("access_token"), ..Ask::STANDARD };

/// What the platform says of a token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Inspected {
    /// It works.
    Valid {
        /// By when the person must consent again, if there is such an end.
        reauth_at: Option<DateTime<Utc>>,
        /// What the person granted, if the platform says so.
        scopes: Option<Vec<String>>,
    },
    /// It does not, and why.
    Invalid(Refusal),
}

/// The client's own token: it can do what needs no person.
#[must_use]
pub fn app_token(credentials: &Credentials) -> SecretString {
    let Credentials { client_id, client_secret, .. } = credentials;
    format!("{client_id}|{}", client_secret.expose_secret()).into()
}

/// Where a platform is asked about a token, and how.
#[derive(Debug)]
pub struct Inspector<'a> {
    /// The endpoint.
    pub url: &'a Url,
    /// What the platform's endpoint takes and what its answers mean.
    pub inspection: &'a Inspection,
}

/// Asks the platform about a token.
///
/// # Errors
/// [`AskError`].
pub async fn inspect(
    http: &PlatformHttp,
    platform: &Platform,
    to: &Inspector<'_>,
    credentials: &Credentials,
    token: &SecretString,
) -> Result<Inspected, AskError> {
    let question = Question {
        url: to.url,
        ask: &BY_QUERY,
        query: vec![(to.inspection.token, token.expose_secret().to_owned())],
        deadline: http.timeouts().other,
    };
    let asker = TokenSet {
        access_token: app_token(credentials),
        refresh_token: None,
        subject: None,
        host: None,
    };
    let body = ask(http, platform, &question, &asker).await?;
    read(&body).ok_or_else(|| lacks(platform, &body, "whether the token is valid"))
}

/// `debug_token`: 0 is never, and of two ends the earlier counts.
fn read(body: &Value) -> Option<Inspected> {
    let data = &body["data"];
    if data["is_valid"].as_bool()? {
        let ends = ["expires_at", "data_access_expires_at"]
            .into_iter()
            .filter_map(|end| data[end].as_i64().filter(|end| *end > 0));
        let reauth_at = ends.min().and_then(|end| DateTime::from_timestamp(end, 0));
        let listed = data["scopes"].as_array().map(|list| list.iter().filter_map(Value::as_str));
        let scopes = listed.map(wire::sound_scopes);
        return Some(Inspected::Valid { reauth_at, scopes });
    }
    let said = super::errors::read(data);
    Some(Inspected::Invalid(said.unwrap_or_else(|| Refusal::new("not_valid", None))))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_is_valid_or_not_or_the_answer_says_neither() {
        let seen = |data: Value| read(&json!({ "data": data }));
        let end = |seconds| Some(DateTime::from_timestamp(seconds, 0).unwrap());
        for (expires, data_access, reauth_at) in [(0, 0, None), (0, 9, end(9)), (5, 9, end(5))] {
            let data = json!({ "is_valid": true, "expires_at": expires, "data_access_expires_at": data_access });
            assert_eq!(seen(data), Some(Inspected::Valid { reauth_at, scopes: None }));
        }
        let scopes = json!({ "is_valid": true, "expires_at": 0, "scopes": ["pages_show_list"] });
        let scopes = match seen(scopes) {
            Some(Inspected::Valid { scopes, .. }) => scopes,
            other => panic!("{other:?}"),
        };
        assert_eq!(scopes.as_deref(), Some(&["pages_show_list".to_owned()][..]));
        let dead = seen(
            json!({ "is_valid": false, "error": { "code": 190, "subcode": 492, "message": "m" } }),
        );
        match dead {
            Some(Inspected::Invalid(refusal)) => assert_eq!(refusal.code, "190"),
            other => panic!("{other:?}"),
        }
        assert_eq!(seen(json!({})), None);
    }
}
