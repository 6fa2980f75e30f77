//! `PINTEREST`, API v5.
//!
//! <https://developers.pinterest.com/docs/api/v5/oauth-token>
//! <https://developers.pinterest.com/docs/getting-started/set-up-authentication-and-authorization/>

use std::time::Duration;

use super::quirks::{Codes, ErrorRule, Meaning, RateLimit, Wire};
use super::vocabulary::pointers;
use super::{ClientAuth, Flow, Pkce, Quirks, Reach, RefreshModel, Spec, Urls};

/// Refresh tokens are of the continuous kind: 60 days, and each refresh brings a new one. Whether the
/// old one dies at once is unverified, so it is taken to. Members' tokens cannot be revoked: the
/// endpoint takes those of system users alone.
pub const PINTEREST: Spec = Spec {
    id: "PINTEREST",
    name: "Pinterest",
    flow: Flow::AuthorizationCode,
    version: Some("v5"),
    urls: Urls::new(
        "https://www.pinterest.com/oauth/",
        "https://api.pinterest.com/{version}/oauth/token",
        "https://api.pinterest.com/{version}/user_account",
    ),
    client_auth: Some(ClientAuth::Basic),
    pkce: Pkce::None,
    scope_separator: ",",
    default_scopes: &[
        "boards:read",
        "boards:write",
        "pins:read",
        "pins:write",
        "user_accounts:read",
    ],
    authorize_parameters: &[],
    token_lifetime: Some(Duration::from_secs(30 * 86_400)),
    refresh: RefreshModel::Rotating { grace: None },
    reach: Reach::Person,
    identity_mapping: pointers("/id", "/username", "/business_name", "/profile_image"),
    quirks: Quirks {
        scopes_by_comma: true,
        // Apps made before 25 September 2025 must ask for the continuous kind; to others it is given.
        exchange: Wire { parameters: &[("continuous_refresh", "true")], ..Wire::STANDARD },
        rate_limit: Some(RateLimit::Reset("x-ratelimit-reset")),
        errors: ERRORS,
        ..Quirks::STANDARD
    },
};

/// Errors are a number and words. Which number a dead refresh token has is unverified: words alone are
/// taken for death. Code 2 ("Authentication failed") is said of a wrong secret, too.
const ERRORS: &[ErrorRule] = &[
    ErrorRule::of(Codes::Is(&["2"]), Meaning::ClientOrToken).saying(&["authentication failed"]),
    ErrorRule::of(Codes::Is(&["8"]), Meaning::Transient),
];
