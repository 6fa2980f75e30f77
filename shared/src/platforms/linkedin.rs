//! What LinkedIn's two platforms have in common: one client, one consent of one member.
//!
//! <https://learn.microsoft.com/en-us/linkedin/shared/authentication/authorization-code-flow>
//! <https://learn.microsoft.com/en-us/linkedin/shared/authentication/programmatic-refresh-tokens>
//! <https://learn.microsoft.com/en-us/linkedin/shared/api-guide/concepts/error-handling>

use std::time::Duration;

use super::quirks::{Codes, ErrorRule, Meaning, Presents, RevokeCall};
use super::vocabulary::pointers;
use super::{ClientAuth, Flow, Pkce, Quirks, Reach, RefreshModel, Spec, Urls};

/// A member. A refresh token comes only to apps that LinkedIn approved for it; it is not rotated and
/// ends 365 days after the consent. Without one the member consents again every 60 days.
pub(super) const MEMBER: Spec = Spec {
    id: "",
    name: "",
    flow: Flow::AuthorizationCode,
    version: None,
    urls: Urls {
        // Used by many, documented nowhere: unverified.
        revoke: Some("https://www.linkedin.com/oauth/v2/revoke"),
        ..Urls::new(
            "https://www.linkedin.com/oauth/v2/authorization",
            "https://www.linkedin.com/oauth/v2/accessToken",
            "https://api.linkedin.com/v2/userinfo",
        )
    },
    client_auth: Some(ClientAuth::Body),
    pkce: Pkce::None,
    scope_separator: " ",
    default_scopes: &[],
    authorize_parameters: &[],
    token_lifetime: Some(Duration::from_secs(60 * 86_400)),
    refresh: RefreshModel::Stable,
    // Person and pages of one member may rest on it: the widest is assumed, unverified.
    reach: Reach::Person,
    identity_mapping: pointers("/sub", "", "/name", "/picture"),
    quirks: Quirks {
        vendor: Some("LINKEDIN"),
        // Another set than before ends all earlier tokens of the member.
        scopes_fixed: true,
        scopes_by_comma: true,
        refresh_ends: true,
        revocation: RevokeCall { presents: Presents::AccessToken, ..RevokeCall::STANDARD },
        errors: ERRORS,
        ..Quirks::STANDARD
    },
};

const ERRORS: &[ErrorRule] = &[
    ErrorRule::of(Codes::Is(&["invalid_request"]), Meaning::Dead).saying(&[
        "authorization grant or refresh token is invalid, expired or revoked",
        "authorization code not found",
        // What the code does not match may be ours, but the code has ended much more often.
        "authorization code expired",
        "external member binding exists",
    ]),
    // The API's version that we name has been switched off: the operator names a newer one.
    ErrorRule::of(Codes::Is(&["NONEXISTENT_VERSION"]), Meaning::OurFault),
    ErrorRule::of(Codes::Any, Meaning::OurFault).at(&[426]),
    // A token that was taken back; and one that was just issued, and worked a moment later.
    ErrorRule::of(Codes::Is(&["65601"]), Meaning::DeadIfRepeated),
];
