//! `X`, by OAuth 2.0 with PKCE.
//!
//! <https://docs.x.com/fundamentals/authentication/oauth-2-0/authorization-code>
//! <https://docs.x.com/fundamentals/authentication/oauth-2-0/user-access-token>
//! <https://docs.x.com/x-api/fundamentals/response-codes-and-errors>
//! <https://docs.x.com/fundamentals/rate-limits>

use std::time::Duration;

use super::quirks::{Codes, ErrorRule, Meaning, RateLimit};
use super::vocabulary::pointers;
use super::{ClientAuth, Flow, Pkce, Quirks, Reach, RefreshModel, Spec, Urls};

/// Codes live for 30 s, access tokens for 2 h. Each refresh brings a new refresh token, and the old one
/// stops working (relied upon by several implementations, not in X's documents); whether a spent one
/// ends the consent, and when an unused one ends, is unverified. A confidential client that leaves out
/// HTTP Basic is told that a header is missing.
pub const X: Spec = Spec {
    id: "X",
    name: "X",
    flow: Flow::AuthorizationCode,
    version: Some("2"),
    urls: Urls {
        revoke: Some("https://api.x.com/{version}/oauth2/revoke"),
        ..Urls::new(
            "https://x.com/i/oauth2/authorize",
            "https://api.x.com/{version}/oauth2/token",
            "https://api.x.com/{version}/users/me?user.fields=profile_image_url",
        )
    },
    client_auth: Some(ClientAuth::Basic),
    pkce: Pkce::S256,
    scope_separator: " ",
    // Without `offline.access` there is no refresh token, and the account ends after 2 h.
    default_scopes: &["tweet.read", "tweet.write", "users.read", "media.write", "offline.access"],
    authorize_parameters: &[],
    token_lifetime: Some(Duration::from_secs(2 * 3600)),
    refresh: RefreshModel::Rotating { grace: None },
    // What came from the token that is presented; unverified.
    reach: Reach::Token,
    identity_mapping: pointers(
        "/data/id",
        "/data/username",
        "/data/name",
        "/data/profile_image_url",
    ),
    quirks: Quirks {
        code_lifetime: Duration::from_secs(30),
        rate_limit: Some(RateLimit::Reset("x-rate-limit-reset")),
        errors: ERRORS,
        ..Quirks::STANDARD
    },
};

/// A dead refresh token, a dead code and a malformed request have one code: the words tell them apart.
const ERRORS: &[ErrorRule] = &[
    ErrorRule::of(Codes::Is(&["invalid_request"]), Meaning::Dead).saying(&[
        "value passed for the authorization code was invalid",
        "value passed for the token was invalid",
    ]),
    // Our client lacks the access, or has used up what was paid for: not the person.
    ErrorRule::of(Codes::Is(&["client-forbidden"]), Meaning::OurFault),
    ErrorRule::of(Codes::Any, Meaning::OurFault).at(&[402]),
    ErrorRule::of(Codes::Is(&["usage-capped"]), Meaning::UsedUp),
    ErrorRule::of(Codes::Is(&["88", "rate-limit-exceeded"]), Meaning::Transient),
];
