//! Why something is refused, and the words a platform has for it: each vendor has its own, and the
//! routes of the standard have those of RFC 6749.

use super::answer::Answer;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// Something is missing, unreadable, or comes too early.
    Request,
    /// The client is unknown, its secret is wrong, or it proves itself in the wrong way.
    Client,
    /// The code is unknown or was used before.
    Code,
    /// The code is good, and something beside it is not; or it came too late.
    Mismatch,
    /// The refresh token is unknown, spent, expired, or its consent has ended.
    Refresh,
    /// The access token is unknown, or of another kind than is wanted.
    Token,
    /// The access token has expired.
    Expired,
    /// The consent behind the access token has ended.
    Ended,
    /// The person may not act for the page any more.
    RoleLost,
}

/// One platform's way to refuse.
#[derive(Debug)]
pub(super) struct Dialect {
    /// The platform's id, or its vendor's where its platforms cannot be told apart; none is the standard.
    pub(super) platform: Option<&'static str>,
    /// At whose consent page its codes come from; several platforms may share one.
    pub(super) vendor: Option<&'static str>,
    /// The answer to a problem; the text says more to whoever reads it.
    pub(super) refuse: fn(Problem, &str) -> Answer,
}

/// RFC 6749 §5.2.
pub(super) static STANDARD: Dialect = Dialect {
    platform: None,
    vendor: None,
    refuse: |problem, why| match problem {
        Problem::Request => Answer::refused("invalid_request", why),
        Problem::Client => Answer::refused("invalid_client", why),
        _ => Answer::refused("invalid_grant", why),
    },
};
