//! A platform's clear no, and what it means for an account.
//!
//! What a vendor's own codes mean stands in the platform's file, as rules; those come before what the
//! operator named, and that before what is known of every provider.

use std::time::Duration;

use latchkey_shared::platforms::Platform;
use latchkey_shared::platforms::quirks::{ErrorRule, Meaning};
use serde_json::{Value, json};

use super::{CallError, errors, known_words};

pub use super::class::{Doubt, FailureClass};

/// How much of a platform's own words is kept.
const MAX_DESCRIPTION: usize = 200;
const MAX_CODE: usize = 64;

/// A platform's clear no, in its own code and words; the words redacted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// The HTTP status that it came with, where that is known.
    pub status: Option<u16>,
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

impl Refusal {
    /// A refusal in the platform's words.
    #[must_use]
    pub fn new(code: &str, description: Option<&str>) -> Self {
        let code = if code.contains(char::is_whitespace) { redact(code) } else { code.to_owned() };
        let code = code.chars().filter(|c| !c.is_control()).take(MAX_CODE).collect();
        Self { status: None, code, subcode: None, description: description.map(redact), wait: None }
    }

    /// The error inside a body that is no token answer, whatever its HTTP status.
    #[must_use]
    pub fn inside(body: &[u8]) -> Option<Self> {
        errors::read(&serde_json::from_slice(body).ok()?)
    }

    /// The same, narrowed down.
    #[must_use]
    pub fn with_subcode(self, subcode: Option<String>) -> Self {
        let subcode =
            subcode.map(|text| text.chars().filter(|c| !c.is_control()).take(MAX_CODE).collect());
        Self { subcode, ..self }
    }

    /// Code, subcode and words in one text, to be compared with those of another refusal. Words with a
    /// digit are left out: times and request ids differ each time.
    #[must_use]
    pub fn signature(&self) -> String {
        let (code, subcode) = self.codes();
        let same = |word: &&str| !word.contains(|char: char| char.is_ascii_digit());
        let words: Vec<&str> = self.words().split_whitespace().filter(same).collect();
        format!("{code}/{}/{}", subcode.unwrap_or_default(), words.join(" "))
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

    /// The platform's words; none are an empty text.
    pub(super) fn words(&self) -> &str {
        self.description.as_deref().unwrap_or_default()
    }

    /// Whether it speaks of our client alone, which is looked at before anything else (RFC 6749 §5.2):
    /// nothing that was presented is spent.
    #[must_use]
    pub fn is_of_the_client(&self, platform: &Platform) -> bool {
        let of_the_request = ["invalid_request", "invalid_scope", "unsupported_grant_type"];
        let by_rule = self.rule(platform).is_some();
        let ours = self.class(platform) == FailureClass::OurFault
            && (by_rule || !of_the_request.contains(&self.code.as_str()));
        ours || self.meaning(platform) == Some(Meaning::ClientOrToken)
    }

    /// Whether the platform says itself that this will pass.
    #[must_use]
    pub fn will_pass(&self, platform: &Platform) -> bool {
        let meaning = self.meaning(platform);
        matches!(meaning, Some(Meaning::Transient | Meaning::UsedUp | Meaning::Broken))
    }

    /// Whether an allowance is used up, which comes back in hours or days.
    #[must_use]
    pub fn is_used_up(&self, platform: &Platform) -> bool {
        self.meaning(platform) == Some(Meaning::UsedUp)
    }

    /// How long to leave the platform alone.
    #[must_use]
    pub fn patience(&self, platform: &Platform) -> Option<Duration> {
        self.wait.or_else(|| self.rule(platform)?.wait)
    }

    /// What it means at the token endpoint. Only what clearly speaks of this grant is death.
    #[must_use]
    pub fn class(&self, platform: &Platform) -> FailureClass {
        match self.meaning(platform) {
            Some(Meaning::Broken) if platform.refresh.rotates() => {
                FailureClass::InDoubt(Doubt::Answered)
            }
            Some(
                Meaning::Transient
                | Meaning::UsedUp
                | Meaning::Broken
                | Meaning::SaysNothing
                | Meaning::ClientOrToken,
            ) => FailureClass::Transient,
            Some(Meaning::Dead) => FailureClass::Dead,
            Some(Meaning::DeadIfRepeated) => FailureClass::DeadIfRepeated,
            Some(Meaning::Checkpoint) => FailureClass::Checkpoint,
            Some(Meaning::NeedsConsent) => FailureClass::NeedsConsent,
            // At a person's own host we have no client: such a host must not speak for the others.
            Some(Meaning::OurFault) if platform.quirks.own_host => FailureClass::Unclear,
            Some(Meaning::OurFault) => FailureClass::OurFault,
            None => FailureClass::Unclear,
        }
    }

    /// What it means where an access token was used: no client is spoken of. A bare 401 is said of dead tokens, and
    /// sometimes of living ones.
    #[must_use]
    pub fn class_of_use(&self, platform: &Platform) -> FailureClass {
        let unclear = self.class(platform) == FailureClass::Unclear && self.status == Some(401);
        match self.meaning(platform) {
            Some(Meaning::ClientOrToken) => FailureClass::DeadIfRepeated,
            _ if unclear => FailureClass::DeadIfRepeated,
            _ => self.class(platform),
        }
    }

    /// What it means whatever HTTP status it came with; `None`: the status counts.
    fn class_at_any_status(&self, platform: &Platform) -> Option<FailureClass> {
        let class = self.class(platform);
        let counts = match class {
            FailureClass::Unclear => false,
            FailureClass::Transient => {
                matches!(self.meaning(platform), Some(Meaning::Transient | Meaning::UsedUp))
            }
            _ => true,
        };
        counts.then_some(class)
    }

    /// Whether it has a code that says more than the status.
    fn names_an_error(&self) -> bool {
        let is_status = self.status.is_some_and(|status| self.code == status.to_string());
        !is_status && self.code != errors::NO_CODE && !self.code.contains(' ')
    }

    fn meaning(&self, platform: &Platform) -> Option<Meaning> {
        self.rule(platform)
            .map(|rule| rule.means)
            .or_else(|| self.is_named_dead(platform).then_some(Meaning::Dead))
            .or_else(|| known_words::meaning(&self.code, self.subcode.as_deref(), self.words()))
    }

    fn rule(&self, platform: &Platform) -> Option<&'static ErrorRule> {
        let words = self.words().to_lowercase();
        let (code, subcode) = self.codes();
        let fits = |rule: &&ErrorRule| rule.fits(self.status, code, subcode, &words);
        platform.quirks.errors.iter().find(fits)
    }

    /// Whether the operator says that it means death.
    fn is_named_dead(&self, platform: &Platform) -> bool {
        let (code, words) = (self.code.to_lowercase(), self.words().to_lowercase());
        let named = |text: &String| code == *text || words.contains(text.as_str());
        code != "invalid_client" && platform.dead_errors.iter().any(named)
    }

    fn codes(&self) -> (&str, Option<&str>) {
        (&self.code, self.subcode.as_deref())
    }
}

impl TokenError {
    /// A call that failed, or the refusal in its answer where that counts more than the status: a
    /// platform may say in any status that a grant is dead.
    pub(super) fn of_call(platform: &Platform, error: CallError) -> Self {
        match error {
            CallError::Status { retry_after, said: Some(said), .. }
                if !matches!(
                    said.class_at_any_status(platform),
                    None | Some(FailureClass::Transient | FailureClass::InDoubt(_))
                ) =>
            {
                Self::Refused(Refusal { wait: retry_after, ..said })
            }
            error => Self::Call(error),
        }
    }

    /// What it means for a grant of this platform, kept alive in this way.
    #[must_use]
    pub fn class(&self, platform: &Platform) -> FailureClass {
        let doubt = |doubt| match platform.refresh.rotates() {
            true => FailureClass::InDoubt(doubt),
            false => FailureClass::Transient,
        };
        match self {
            Self::Refused(refusal) => refusal.class(platform),
            Self::Unfit(..) => FailureClass::Dead,
            Self::Call(CallError::Unreadable(_)) => doubt(Doubt::Silent),
            Self::Call(CallError::Status { status, retry_after, said }) => {
                // Words without a code may be a gateway's, who says no more than the status does.
                let named = said.as_ref().filter(|said| said.names_an_error());
                let class = said.as_ref().and_then(|said| said.class_at_any_status(platform));
                let passes = (400..500).contains(status)
                    || (*status == 503 && (retry_after.is_some() || named.is_some()))
                    || platform.quirks.before_effect.contains(status);
                match class {
                    Some(FailureClass::InDoubt(_)) if *status == 429 => FailureClass::Transient,
                    Some(class) if class != FailureClass::Transient || named.is_some() => class,
                    _ if passes => FailureClass::Transient,
                    _ => doubt(Doubt::Answered),
                }
            }
            Self::Call(_) => FailureClass::Transient,
        }
    }

    /// What it means where a code was presented: no token could be meant.
    #[must_use]
    pub fn class_of_exchange(&self, platform: &Platform) -> FailureClass {
        match self {
            Self::Refused(_) if self.refuses_the_client(platform) => FailureClass::OurFault,
            _ => self.class(platform),
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
            Self::Call(CallError::Status { retry_after: None, said: Some(said), .. }) => {
                said.patience(platform)
            }
            Self::Call(error) => error.asked_patience(),
        }
    }

    /// One word for logs, metrics and the account's last error.
    #[must_use]
    pub fn code(&self) -> String {
        match self {
            Self::Refused(refusal) => refusal.code.clone(),
            Self::Unfit(code, _) => code.to_ascii_lowercase(),
            Self::Call(error) => error.code(),
        }
    }

    /// What the platform said, as it is stored and shown.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Refused(refusal) | Self::Unfit(_, Some(refusal)) => refusal.to_json(),
            Self::Call(CallError::Status { said: Some(said), .. }) => said.to_json(),
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
    use latchkey_shared::platforms::{BUILT_IN, Platforms, Quirks};

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

    fn class(id: &str, error: CallError) -> FailureClass {
        TokenError::Call(error).class(platforms().get(id).unwrap())
    }

    #[test]
    fn silence_is_doubt_only_where_tokens_rotate() {
        let silence = || CallError::Unreadable("cut".to_owned());
        assert_eq!(class("X", silence()), FailureClass::InDoubt(Doubt::Silent));
        assert_eq!(class("YOUTUBE", silence()), FailureClass::Transient);
        assert_eq!(class("THREADS", silence()), FailureClass::Transient);
    }

    #[test]
    fn what_comes_before_any_effect_is_no_doubt() {
        let platforms = platforms();
        let busy = || CallError::Status { status: 503, retry_after: None, said: None };
        assert_eq!(class("X", busy()), FailureClass::InDoubt(Doubt::Answered));
        let x = platforms.get("X").unwrap();
        let quirks = Box::new(Quirks { before_effect: &[503], ..*x.quirks });
        let mut documented = x.clone();
        documented.quirks = Box::leak(quirks);
        assert_eq!(TokenError::Call(busy()).class(&documented), FailureClass::Transient);
    }

    #[test]
    fn a_death_counts_at_any_status_and_keeps_its_words() {
        let platforms = platforms();
        let said = errors::of_answer(503, br#"{"error":"invalid_grant"}"#);
        let error = CallError::Status { status: 503, retry_after: None, said };
        let error = TokenError::of_call(platforms.get("X").unwrap(), error);
        assert!(matches!(&error, TokenError::Refused(_)), "{error:?}");
        assert_eq!(
            (error.code(), error.to_json()["error"].clone()),
            ("invalid_grant".to_owned(), json!("invalid_grant"))
        );
    }

    #[test]
    fn a_token_in_the_complaint_is_left_out() {
        let words = "token sbx-rt-0123456789012345678901234567890 is spent";
        let refusal = Refusal::new("invalid_grant", Some(words));
        assert_eq!(refusal.description.as_deref(), Some("token [redacted] is spent"));
        assert_eq!(Refusal::new(words, None).code, "token [redacted] is spent");
    }

    #[test]
    fn a_host_of_a_person_s_choice_does_not_speak_of_our_client() {
        let platforms = platforms();
        let refusal = Refusal::new("invalid_client", None);
        assert_eq!(refusal.class(platforms.get("BLUESKY").unwrap()), FailureClass::Unclear);
        assert!(!refusal.is_of_the_client(platforms.get("BLUESKY").unwrap()));
        assert!(refusal.is_of_the_client(platforms.get("X").unwrap()));
        let dead = Refusal::new("unauthorized_client", Some("refresh_token is invalid"));
        assert!(!dead.is_of_the_client(platforms.get("SANDBOX").unwrap()));
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
