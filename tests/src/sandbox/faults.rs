//! How the sandbox misbehaves when told to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The endpoints that faults apply to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// `POST /token` with a code, and what vendors have in its place.
    TokenCode,
    /// `POST /token` with a refresh token, and what vendors have in its place.
    TokenRefresh,
    /// `POST /revoke`, and what vendors have in its place.
    Revoke,
    /// `GET /userinfo`, and what vendors have in its place.
    Userinfo,
    /// Vendors alone: a token that lasts, for the short-lived one of the exchange.
    LongLived,
    /// Vendors alone: the pages, organisations or channels that a person may act for.
    Accounts,
    /// Vendors alone: how a token stands.
    Inspect,
    /// `GET /.well-known/…`: either place.
    Metadata,
    /// Bluesky alone: who goes by a handle, and where an account lives.
    Resolve,
}

/// On which side of the effect a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Nothing has changed when it strikes; except for a delay, nothing will.
    Before,
    /// The tokens are already made, spent or revoked.
    After,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// The answer is right, and late.
    Delay {
        /// Milliseconds to wait.
        ms: u64,
    },
    /// A bare status such as 503.
    Status {
        /// The HTTP status.
        status: u16,
    },
    /// 429.
    RateLimited {
        /// `Retry-After` in seconds; none leaves the header out.
        retry_after_secs: Option<u64>,
    },
    /// A status with a `Retry-After` to the letter: seconds, an HTTP date, or nonsense.
    RetryAfter {
        /// The HTTP status.
        status: u16,
        /// The header's value.
        value: String,
    },
    /// 200 with JSON that breaks off.
    Garbage,
    /// 200 with a body of 10 MB, which ends in the real answer.
    Huge,
    /// The real answer, one byte at a time.
    Drip {
        /// Milliseconds between two bytes.
        interval_ms: u64,
    },
    /// The real answer, but it says that it is something else than JSON.
    WrongContentType {
        /// The `Content-Type`, such as `text/html`.
        content_type: String,
    },
    /// The connection closes without a response.
    Drop,
    /// No response ever comes, and the connection stays open.
    Silence,
    /// 400 `invalid_grant`, or the vendor's own word for a dead grant, although it is good.
    InvalidGrant,
    /// 401 `invalid_client`, or the vendor's own word for it, although the client is right.
    InvalidClient,
    /// 200 with an OAuth error as its body.
    ErrorInOk {
        /// The error code.
        error: String,
    },
    /// The answer has no refresh token; in a refresh the presented one stays good.
    MissingRefreshToken,
    /// The answer names another scope than was granted.
    ChangedScope {
        /// The scope to name.
        scope: String,
    },
    /// 307 to another place.
    Redirect {
        /// The `Location`.
        location: String,
    },
    /// This answer to the letter.
    Answer {
        /// The HTTP status.
        status: u16,
        /// Its headers; without a `Content-Type` it is JSON.
        #[serde(default)]
        headers: BTreeMap<String, String>,
        /// Its body.
        body: String,
    },
}

impl Fault {
    fn name(&self) -> &'static str {
        match self {
            Self::Delay { .. } => "delay",
            Self::Status { .. } => "status",
            Self::RateLimited { .. } => "rate_limited",
            Self::RetryAfter { .. } => "retry_after",
            Self::Garbage => "garbage",
            Self::Huge => "huge",
            Self::Drip { .. } => "drip",
            Self::WrongContentType { .. } => "wrong_content_type",
            Self::Drop => "drop",
            Self::Silence => "silence",
            Self::InvalidGrant => "invalid_grant",
            Self::InvalidClient => "invalid_client",
            Self::ErrorInOk { .. } => "error_in_ok",
            Self::MissingRefreshToken => "missing_refresh_token",
            Self::ChangedScope { .. } => "changed_scope",
            Self::Redirect { .. } => "redirect",
            Self::Answer { .. } => "answer",
        }
    }

    /// Whether it needs a real answer to work on, and so always strikes after the effect.
    fn alters_the_answer(&self) -> bool {
        matches!(
            self,
            Self::Huge
                | Self::Drip { .. }
                | Self::WrongContentType { .. }
                | Self::MissingRefreshToken
                | Self::ChangedScope { .. }
        )
    }

    /// Whether the client gets no response at all.
    pub(super) fn is_mute(&self) -> bool {
        matches!(self, Self::Drop | Self::Silence)
    }
}

/// One fault, and the calls it strikes. Of several rules that fit a call the oldest applies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// The endpoint it strikes.
    pub endpoint: Endpoint,
    /// Only this person's calls; none is everybody's.
    #[serde(default)]
    pub user: Option<String>,
    /// How many calls it still strikes; none is all, until the faults are cleared.
    #[serde(default)]
    pub remaining: Option<u32>,
    /// Which side of the effect; none is what the fault usually means: garbage comes after the
    /// effect, faults that work on the real answer always do, and all others come before it.
    #[serde(default)]
    pub when: Option<When>,
    /// What goes wrong.
    pub fault: Fault,
}

impl FaultRule {
    /// A rule that strikes every call to `endpoint` on the fault's usual side.
    #[must_use]
    pub fn new(endpoint: Endpoint, fault: Fault) -> Self {
        Self { endpoint, user: None, remaining: None, when: None, fault }
    }

    /// Only this person's calls.
    #[must_use]
    pub fn for_user(self, user: impl Into<String>) -> Self {
        Self { user: Some(user.into()), ..self }
    }

    /// Only the next `count` calls.
    #[must_use]
    pub fn times(self, count: u32) -> Self {
        Self { remaining: Some(count), ..self }
    }

    /// Before the effect.
    #[must_use]
    pub fn before(self) -> Self {
        Self { when: Some(When::Before), ..self }
    }

    /// After the effect.
    #[must_use]
    pub fn after(self) -> Self {
        Self { when: Some(When::After), ..self }
    }

    /// The side it strikes on.
    pub(super) fn when(&self) -> When {
        if self.fault.alters_the_answer() {
            return When::After;
        }
        let usual = if self.fault == Fault::Garbage { When::After } else { When::Before };
        self.when.unwrap_or(usual)
    }

    /// Whether it answers in place of the effect.
    pub(super) fn spares_the_effect(&self) -> bool {
        self.when() == When::Before && !matches!(self.fault, Fault::Delay { .. })
    }

    /// How the ledger names it.
    pub(super) fn label(&self) -> String {
        let side = match self.when() {
            When::Before => "before",
            When::After => "after",
        };
        format!("{}:{side}", self.fault.name())
    }

    fn fits(&self, endpoint: Endpoint, user: Option<&str>) -> bool {
        self.endpoint == endpoint
            && self.remaining != Some(0)
            && (self.user.is_none() || self.user.as_deref() == user)
    }
}

/// The rules in force.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<FaultRule>);

impl Faults {
    pub(super) fn add(&mut self, rule: FaultRule) {
        self.0.push(rule);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn rules(&self) -> &[FaultRule] {
        &self.0
    }

    /// The rule that strikes this call, which it uses up by one.
    pub(super) fn take(&mut self, endpoint: Endpoint, user: Option<&str>) -> Option<FaultRule> {
        let rule = self.0.iter_mut().find(|rule| rule.fits(endpoint, user))?;
        if let Some(remaining) = &mut rule.remaining {
            *remaining -= 1;
        }
        Some(rule.clone())
    }
}
