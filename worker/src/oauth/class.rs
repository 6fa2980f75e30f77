//! What it means for an account that a refresh brought no tokens.
//!
//! | The platform | Where tokens rotate | Elsewhere |
//! | --- | --- | --- |
//! | was not reached | transient | transient |
//! | answered 429; 503 with `Retry-After` or a readable error; a 4xx without a readable error | transient | transient |
//! | sent an error that says that it will pass, such as `slow_down` | transient | transient |
//! | answered another 5xx or a redirect, or sent `server_error` at any status | in doubt: answered | transient |
//! | did not answer in time, or sent a 2xx that cannot be read | in doubt: silent | transient |
//! | refused the grant, whatever the status: `invalid_grant`, and vendors' words for it | dead | dead |
//! | sent what it answers for dead grants, and sometimes for living ones | dead if repeated | dead if repeated |
//! | wants the person to act there, or to consent anew | checkpoint, needs consent | the same |
//! | refused the client or the request: `invalid_client` and the like | our fault | our fault |
//! | sent an error that nobody knows | unclear | unclear |

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

impl FailureClass {
    /// One word for metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::InDoubt(Doubt::Answered) => "in_doubt_answered",
            Self::InDoubt(Doubt::Silent) => "in_doubt_silent",
            Self::Dead => "dead",
            Self::DeadIfRepeated => "dead_if_repeated",
            Self::Checkpoint => "checkpoint",
            Self::Unclear => "unclear",
            Self::NeedsConsent => "needs_consent",
            Self::OurFault => "our_fault",
        }
    }
}

/// Why nobody knows whether a token was spent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Doubt {
    /// An answer came that says nothing of it, such as a gateway's 502. No other answer can follow.
    Answered,
    /// No answer came, or one that cannot be read: the platform may have acted, and may still answer.
    Silent,
}
