//! What a platform sends back with the browser (RFC 6749 §4.1.2), read leniently: platforms add
//! parameters of their own, and some send both halves.

use serde_json::{Value, json};
use url::form_urlencoded;

const MAX_CODE_BYTES: usize = 4 * 1024;
const MAX_TEXT_CHARS: usize = 200;

/// What came back.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Answer {
    /// Which connect it belongs to.
    pub(crate) state: Option<String>,
    /// Who says so (RFC 9207).
    pub(crate) issuer: Option<String>,
    /// How it went; `None` when it says neither.
    pub(crate) outcome: Option<Outcome>,
}

/// How it went at the platform.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    /// The person approved.
    Approved(Code),
    /// The person, or the platform, did not.
    Refused(Refusal),
}

/// A code, which never shows.
#[derive(Eq, PartialEq)]
pub(crate) struct Code(pub(crate) String);

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Code(hidden)")
    }
}

/// What the platform says of its refusal (RFC 6749 §4.1.2.1).
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Refusal {
    /// The OAuth code.
    pub(crate) error: String,
    description: Option<String>,
}

impl Answer {
    /// Reads a query. Of a parameter that stands twice the first counts.
    pub(crate) fn read(query: &str) -> Self {
        let get = |wanted: &str| {
            form_urlencoded::parse(query.as_bytes())
                .find(|(name, value)| name == wanted && !value.is_empty())
                .map(|(_, value)| value.into_owned())
        };
        let refused = get("error").map(|error| Refusal {
            error: redact(&oauth_code(error)),
            description: get("error_description").map(|text| redact(&text)),
        });
        let approved = get("code").filter(|code| code.len() <= MAX_CODE_BYTES);
        Self {
            state: get("state"),
            issuer: get("iss"),
            outcome: refused
                .map(Outcome::Refused)
                .or(approved.map(|code| Outcome::Approved(Code(code)))),
        }
    }
}

impl Refusal {
    /// Whether the person said no, or something went wrong.
    pub(crate) fn reason(&self) -> &'static str {
        if self.error == "access_denied" { "ACCESS_DENIED" } else { "PLATFORM_ERROR" }
    }

    /// For the connect's row.
    pub(crate) fn to_json(&self) -> Value {
        json!({ "error": self.error, "description": self.description })
    }
}

/// LinkedIn says `user_cancelled_login` and `user_cancelled_authorize` where the standard has a word.
fn oauth_code(error: String) -> String {
    if error.starts_with("user_cancelled_") { "access_denied".to_owned() } else { error }
}

/// Anybody can write this text: short, and nothing that does more than stand there.
pub(crate) fn redact(text: &str) -> String {
    let plain = text.chars().filter(|char| !char.is_control());
    plain.take(MAX_TEXT_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(query: &str) -> Refusal {
        match Answer::read(query).outcome {
            Some(Outcome::Refused(refusal)) => refusal,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_approval_has_a_code() {
        let answer = Answer::read("code=a%2Bb&state=s&scope=x&code=second");
        assert_eq!(answer.state.as_deref(), Some("s"));
        assert_eq!(answer.outcome, Some(Outcome::Approved(Code("a+b".to_owned()))));
        assert!(!format!("{answer:?}").contains("a+b"));
    }

    #[test]
    fn neither_is_neither() {
        let long = format!("state=s&code={}", "x".repeat(MAX_CODE_BYTES + 1));
        for query in ["", "state=s", "state=s&code=", &long, "%%%&=&&"] {
            assert_eq!(Answer::read(query).outcome, None, "{query}");
        }
    }

    #[test]
    fn a_refusal_beats_a_code_and_cancelling_has_one_word() {
        let cancelled = refusal("code=c&error=user_cancelled_authorize&state=s");
        assert_eq!(cancelled.error, "access_denied");
        assert_eq!(cancelled.reason(), "ACCESS_DENIED");
        assert_eq!(refusal("error=server_error").reason(), "PLATFORM_ERROR");
    }

    #[test]
    fn what_a_platform_says_is_cut_short() {
        let long = "d".repeat(500);
        let query = format!("error=x%0D%0Ay&error_description=%1B[1m%00{long}");
        let refusal = refusal(&query);
        assert_eq!(refusal.error, "xy");
        let description = refusal.description.unwrap();
        assert_eq!(description.chars().count(), MAX_TEXT_CHARS);
        assert!(description.starts_with("[1md"));
    }
}
