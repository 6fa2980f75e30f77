//! What it means for an account that a refresh brought no tokens.
//!
//! | The platform | Where tokens rotate | Elsewhere |
//! | --- | --- | --- |
//! | was not reached; said 429, 5xx, or a 4xx without an OAuth error | transient | transient |
//! | sent an error that it may take back, such as `slow_down` | transient | transient |
//! | did not answer in time, redirected, or sent what cannot be read: no JSON, another content type, too much | in doubt | transient |
//! | refused the grant, whatever the status: `invalid_grant` | dead | dead |
//! | wants the person's consent anew: `consent_required` and the like | needs consent | needs consent |
//! | refused the client or the request: `invalid_client` and the like | our fault | our fault |

use latchkey_shared::platforms::RefreshModel;
use serde::Deserialize;
use serde_json::{Value, json};

use super::CallError;

/// How much of a platform's own words is kept.
const MAX_DESCRIPTION: usize = 200;

/// A platform's clear no: an OAuth error (RFC 6749 §5.2), its description redacted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// The platform's code.
    pub code: String,
    /// The platform's words, shortened; whatever looks like a credential is left out.
    pub description: Option<String>,
}

/// Why the token endpoint gave no tokens.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It said no.
    #[error("the platform refused: {}", .0.code)]
    Refused(Refusal),
    /// It said nothing that can be read.
    #[error("the call brought no answer")]
    Call(#[from] CallError),
}

/// What a failed refresh means.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FailureClass {
    /// The token cannot have been spent: try again.
    Transient,
    /// The token may have been spent, and nobody read the answer.
    InDoubt,
    /// The grant is dead: only the person can help.
    Dead,
    /// The person must consent again, for more or for something else.
    NeedsConsent,
    /// We are wrong, not the account: bad client credentials, a malformed request.
    OurFault,
}

impl Refusal {
    /// A refusal in the platform's words.
    #[must_use]
    pub fn new(code: &str, description: Option<&str>) -> Self {
        let code = code.chars().filter(|c| !c.is_control()).take(64).collect();
        Self { code, description: description.map(redact) }
    }

    /// The OAuth error inside a body that is no token answer, whatever its HTTP status.
    #[must_use]
    pub fn inside(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct OAuthError {
            error: String,
            error_description: Option<String>,
        }
        let error: OAuthError = serde_json::from_slice(body).ok()?;
        Some(Self::new(&error.error, error.error_description.as_deref()))
    }

    /// As it is stored and shown.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({ "error": self.code, "description": self.description })
    }

    /// Whether it speaks of our client alone, which is looked at before anything else (RFC 6749 §5.2):
    /// nothing that was presented is spent.
    #[must_use]
    pub fn is_of_the_client(&self) -> bool {
        matches!(self.code.as_str(), "invalid_client" | "unauthorized_client")
    }

    /// Whether the platform says itself that this will pass.
    #[must_use]
    pub fn will_pass(&self) -> bool {
        matches!(self.code.as_str(), "temporarily_unavailable" | "server_error" | "slow_down")
    }

    /// What it means at the token endpoint. Only what clearly speaks of this grant is death.
    #[must_use]
    pub fn class(&self) -> FailureClass {
        match self.code.as_str() {
            "invalid_grant" => FailureClass::Dead,
            "interaction_required" | "consent_required" | "login_required" => {
                FailureClass::NeedsConsent
            }
            "invalid_client"
            | "unauthorized_client"
            | "invalid_request"
            | "unsupported_grant_type"
            | "invalid_scope" => FailureClass::OurFault,
            _ => FailureClass::Transient,
        }
    }
}

impl TokenError {
    /// What it means for a grant of this model.
    #[must_use]
    pub fn class(&self, model: RefreshModel) -> FailureClass {
        match self {
            Self::Refused(refusal) => refusal.class(),
            Self::Call(error) if model.rotates() && error.may_have_acted() => FailureClass::InDoubt,
            Self::Call(_) => FailureClass::Transient,
        }
    }

    /// Whether another secret of the same client may be tried.
    #[must_use]
    pub fn refuses_the_client(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.is_of_the_client())
    }

    /// One word for logs, metrics and the account's last error.
    #[must_use]
    pub fn code(&self) -> String {
        match self {
            Self::Refused(refusal) => refusal.code.clone(),
            Self::Call(CallError::NotSent(_)) => "unreachable".to_owned(),
            Self::Call(CallError::Undiscovered(_)) => "discovery_failed".to_owned(),
            Self::Call(CallError::Status { status, .. }) => format!("http_{status}"),
            Self::Call(CallError::Unreadable(_)) => "no_readable_answer".to_owned(),
        }
    }
}

/// Platforms have been seen to repeat the token in their complaint about it: words that long are
/// no words.
fn redact(description: &str) -> String {
    let words = description
        .split_whitespace()
        .map(|word| if word.len() > 24 { "[redacted]" } else { word });
    words
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_DESCRIPTION)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_invalid_grant_is_death() {
        let class = |code: &str| Refusal::new(code, None).class();
        assert_eq!(class("invalid_grant"), FailureClass::Dead);
        for ours in
            ["invalid_client", "unauthorized_client", "invalid_request", "unsupported_grant_type"]
        {
            assert_eq!(class(ours), FailureClass::OurFault, "{ours}");
        }
        for unclear in ["server_error", "temporarily_unavailable", "slow_down", ""] {
            assert_eq!(class(unclear), FailureClass::Transient, "{unclear}");
        }
    }

    #[test]
    fn silence_is_doubt_only_where_tokens_rotate() {
        let silence = || TokenError::Call(CallError::Unreadable("cut".to_owned()));
        assert_eq!(silence().class(RefreshModel::Rotating { grace: None }), FailureClass::InDoubt);
        assert_eq!(silence().class(RefreshModel::Stable), FailureClass::Transient);
        let busy = TokenError::Call(CallError::Status { status: 503, retry_after: None });
        assert_eq!(busy.class(RefreshModel::Rotating { grace: None }), FailureClass::Transient);
    }

    #[test]
    fn a_token_in_the_complaint_is_left_out() {
        let refusal = Refusal::new(
            "invalid_grant",
            Some("token sbx-rt-0123456789012345678901234567890 is spent"),
        );
        assert_eq!(refusal.description.as_deref(), Some("token [redacted] is spent"));
    }

    #[test]
    fn an_error_inside_a_200_is_found() {
        assert_eq!(
            Refusal::inside(br#"{"error":"invalid_grant"}"#).unwrap().class(),
            FailureClass::Dead
        );
        assert!(Refusal::inside(b"<html>").is_none());
    }
}
