//! What it means for an account that a refresh brought no tokens.
//!
//! | The platform | Where tokens rotate | Elsewhere |
//! | --- | --- | --- |
//! | was not reached; said 429, 5xx, or a 4xx without an error that can be read | transient | transient |
//! | sent an error that it may take back, such as `slow_down` | transient | transient |
//! | did not answer in time, redirected, or sent what cannot be read: no JSON, another content type, too much | in doubt | transient |
//! | refused the grant, whatever the status: `invalid_grant` | dead | dead |
//! | wants the person's consent anew: `consent_required` and the like | needs consent | needs consent |
//! | refused the client or the request: `invalid_client` and the like | our fault | our fault |
//!
//! What a vendor's own codes mean stands in the platform's file, as rules that come before these.

use std::time::Duration;

use latchkey_shared::platforms::Platform;
use latchkey_shared::platforms::quirks::{ErrorRule, Meaning};
use serde_json::{Value, json};

use super::CallError;
use super::errors;

/// How much of a platform's own words is kept.
const MAX_DESCRIPTION: usize = 200;
const MAX_CODE: usize = 64;

/// A platform's clear no, in its own code and words; the words redacted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// The platform's code.
    pub code: String,
    /// What narrows the code down, where the platform has such a thing.
    pub subcode: Option<String>,
    /// The platform's words, shortened; whatever looks like a credential is left out.
    pub description: Option<String>,
    /// How long the platform wants to be left alone.
    pub wait: Option<Duration>,
}

/// Why the token endpoint gave no tokens.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It said no.
    #[error("the platform refused: {}", .0.code)]
    Refused(Refusal),
    /// What it gave, or would have to, is of no use to us; the code says why.
    #[error("it cannot be connected: {0}")]
    Unfit(&'static str, Option<Refusal>),
    /// It said nothing that can be read.
    #[error("the call brought no answer")]
    Call(#[from] CallError),
}

/// What a failed refresh means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FailureClass {
    /// The token cannot have been spent: try again.
    Transient,
    /// The token may have been spent, and nobody read new tokens.
    InDoubt(Doubt),
    /// The grant is dead: only the person can help.
    Dead,
    /// The platform says what a dead grant is told, and has been seen to say it of living ones: death only
    /// if it says so again hours later.
    DeadIfRepeated,
    /// The platform wants the person to act there, such as to pass a checkpoint. The token stays as it is.
    Checkpoint,
    /// A refusal with an error code that no rule knows.
    Unclear,
    /// The person must consent again, for more or for something else.
    NeedsConsent,
    /// We are wrong, not the account: bad client credentials, a malformed request.
    OurFault,
}

/// Why nobody knows whether a token was spent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Doubt {
    /// An answer came that says nothing of it, such as a gateway's 502. No other answer can follow.
    Answered,
    /// No answer came, or one that cannot be read: the platform may have acted, and may still answer.
    Silent,
}

impl From<Meaning> for FailureClass {
    fn from(meaning: Meaning) -> Self {
        match meaning {
            Meaning::Transient => Self::Transient,
            Meaning::Dead => Self::Dead,
            Meaning::NeedsConsent => Self::NeedsConsent,
            Meaning::OurFault => Self::OurFault,
        }
    }
}

impl Refusal {
    /// A refusal in the platform's words.
    #[must_use]
    pub fn new(code: &str, description: Option<&str>) -> Self {
        let code = code.chars().filter(|c| !c.is_control()).take(MAX_CODE).collect();
        Self { code, subcode: None, description: description.map(redact), wait: None }
    }

    /// The error inside a body that is no token answer, whatever its HTTP status.
    #[must_use]
    pub fn inside(body: &[u8]) -> Option<Self> {
        errors::read(&serde_json::from_slice(body).ok()?)
    }

    /// The same, narrowed down.
    #[must_use]
    pub fn with_subcode(self, subcode: Option<String>) -> Self {
        let subcode = subcode.map(|text| text.chars().take(MAX_CODE).collect());
        Self { subcode, ..self }
    }

    /// Code, subcode and words in one text, to be compared with those of another refusal.
    #[must_use]
    pub fn signature(&self) -> String {
        let Self { code, subcode, description, .. } = self;
        let (subcode, words) = (subcode.as_deref(), description.as_deref());
        format!("{code}/{}/{}", subcode.unwrap_or_default(), words.unwrap_or_default())
    }

    /// As it is stored and shown.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut shown = json!({ "error": self.code, "description": self.description });
        if let Some(subcode) = &self.subcode {
            shown["subcode"] = json!(subcode);
        }
        shown
    }

    /// Whether it speaks of our client alone, which is looked at before anything else (RFC 6749 §5.2):
    /// nothing that was presented is spent.
    #[must_use]
    pub fn is_of_the_client(&self, platform: &Platform) -> bool {
        matches!(self.code.as_str(), "invalid_client" | "unauthorized_client")
            || self.rule(platform).is_some_and(|rule| rule.means == Meaning::OurFault)
    }

    /// Whether the platform says itself that this will pass.
    #[must_use]
    pub fn will_pass(&self, platform: &Platform) -> bool {
        matches!(self.code.as_str(), "temporarily_unavailable" | "server_error" | "slow_down")
            || self.rule(platform).is_some_and(|rule| rule.means == Meaning::Transient)
    }

    /// How long to leave the platform alone.
    #[must_use]
    pub fn patience(&self, platform: &Platform) -> Option<Duration> {
        self.wait.or_else(|| self.rule(platform)?.wait)
    }

    /// What it means at the token endpoint. Only what clearly speaks of this grant is death.
    #[must_use]
    pub fn class(&self, platform: &Platform) -> FailureClass {
        if let Some(rule) = self.rule(platform) {
            return rule.means.into();
        }
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

    fn rule(&self, platform: &Platform) -> Option<&'static ErrorRule> {
        let said = self.description.as_deref().unwrap_or_default().to_lowercase();
        let fits = |rule: &&ErrorRule| rule.code.contain(&self.code) && said.contains(rule.says);
        platform.quirks.errors.iter().find(fits)
    }
}

impl TokenError {
    /// What it means for a grant of this platform, kept alive in this way.
    #[must_use]
    pub fn class(&self, platform: &Platform) -> FailureClass {
        match self {
            Self::Refused(refusal) => refusal.class(platform),
            Self::Unfit(..) => FailureClass::Dead,
            Self::Call(error) if platform.refresh.rotates() && error.may_have_acted() => {
                FailureClass::InDoubt(Doubt::Silent)
            }
            Self::Call(_) => FailureClass::Transient,
        }
    }

    /// A refusal as it is compared with the one before: code, subcode and words.
    #[must_use]
    pub fn signature(&self) -> Option<String> {
        match self {
            Self::Refused(refusal) | Self::Unfit(_, Some(refusal)) => Some(refusal.signature()),
            Self::Unfit(code, None) => Some((*code).to_owned()),
            Self::Call(_) => None,
        }
    }

    /// Whether another secret of the same client may be tried.
    #[must_use]
    pub fn refuses_the_client(&self, platform: &Platform) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.is_of_the_client(platform))
    }

    /// How long the platform wants to be left alone.
    #[must_use]
    pub fn patience(&self, platform: &Platform) -> Option<Duration> {
        match self {
            Self::Refused(refusal) => refusal.patience(platform),
            Self::Unfit(..) => None,
            Self::Call(error) => error.asked_patience(),
        }
    }

    /// One word for logs, metrics and the account's last error.
    #[must_use]
    pub fn code(&self) -> String {
        match self {
            Self::Refused(refusal) => refusal.code.clone(),
            Self::Unfit(code, _) => code.to_ascii_lowercase(),
            Self::Call(CallError::NotSent(_) | CallError::Unresolved(_)) => {
                "unreachable".to_owned()
            }
            Self::Call(CallError::Undiscovered(_)) => "discovery_failed".to_owned(),
            Self::Call(CallError::Status { status, .. }) => format!("http_{status}"),
            Self::Call(CallError::Busy { code, .. }) => code.clone(),
            Self::Call(CallError::Unreadable(_)) => "no_readable_answer".to_owned(),
        }
    }

    /// What the platform said, as it is stored and shown.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Refused(refusal) | Self::Unfit(_, Some(refusal)) => refusal.to_json(),
            Self::Unfit(_, None) | Self::Call(_) => Value::Null,
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
pub(super) mod tests {
    use latchkey_shared::platforms::{BUILT_IN, Platforms};

    use super::*;

    /// All built-in platforms, configured.
    pub(in super::super) fn platforms() -> Platforms {
        let section = |id: &str| match id {
            "BLUESKY" => "[platforms.BLUESKY]\n".to_owned(),
            _ => format!(
                "[platforms.{id}]\nclient_id = \"c\"\nclient_secret = {{ value = \"s\" }}\n\
                 base_url = \"http://127.0.0.1:9\"\n"
            ),
        };
        let text: String = BUILT_IN.iter().map(|spec| section(spec.id)).collect();
        Platforms::parse(&text).unwrap()
    }

    fn class(id: &str, body: &str) -> FailureClass {
        let platforms = platforms();
        Refusal::inside(body.as_bytes()).unwrap().class(platforms.get(id).unwrap())
    }

    #[test]
    fn where_no_rule_fits_the_standard_speaks() {
        let class = |code: &str| class("SANDBOX", &json!({ "error": code }).to_string());
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
        let platforms = platforms();
        let class =
            |id: &str, error: CallError| TokenError::Call(error).class(platforms.get(id).unwrap());
        let silence = || CallError::Unreadable("cut".to_owned());
        assert_eq!(class("X", silence()), FailureClass::InDoubt(Doubt::Silent));
        assert_eq!(class("YOUTUBE", silence()), FailureClass::Transient);
        assert_eq!(class("THREADS", silence()), FailureClass::Transient);
        let busy = CallError::Status { status: 503, retry_after: None };
        assert_eq!(class("X", busy), FailureClass::Transient);
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
    fn one_code_with_two_meanings_is_told_by_its_words() {
        let x = |words: &str| {
            let body = json!({ "error": "invalid_request", "error_description": words });
            class("X", &body.to_string())
        };
        assert_eq!(x("Value passed for the token was invalid."), FailureClass::Dead);
        let code = x("Value passed for the authorization code was invalid.");
        assert_eq!(code, FailureClass::Dead, "of the code, not of our client");
        assert_eq!(x("Missing required parameter [grant_type]."), FailureClass::OurFault);
    }

    #[test]
    fn a_vendor_s_usual_wait_stands_in_for_a_header() {
        let platforms = platforms();
        let business = platforms.get("TIKTOK_BUSINESS").unwrap();
        let mut busy = Refusal::inside(br#"{"code":40100,"message":"Too many requests"}"#).unwrap();
        assert_eq!(busy.patience(business), Some(Duration::from_secs(300)));
        busy.wait = Some(Duration::from_secs(7));
        assert_eq!(busy.patience(business), Some(Duration::from_secs(7)));
    }
}
