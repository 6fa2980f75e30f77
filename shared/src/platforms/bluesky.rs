//! `BLUESKY`, by app password: sessions of the AT Protocol, at whatever host the person's data live.
//!
//! <https://atproto.com/specs/xrpc>
//! <https://docs.bsky.app/docs/api/com-atproto-server-create-session>
//! <https://docs.bsky.app/docs/advanced-guides/entryway>
//! <https://docs.bsky.app/docs/advanced-guides/rate-limits>

use std::time::Duration;

use super::quirks::{Codes, ErrorRule, Meaning, RateLimit};
use super::vocabulary::pointers;
use super::{Flow, Pkce, Quirks, Reach, RefreshModel, Spec, Urls};

/// Each refresh brings a new pair; for 2 h the spent refresh token brings the same pair again.
/// Lifetimes stand in the tokens. The endpoints' host is that of the person. Deleting the session does
/// not delete the app password: that can be done by the person alone.
pub const BLUESKY: Spec = Spec {
    id: "BLUESKY",
    name: "Bluesky",
    flow: Flow::AppPassword,
    version: None,
    urls: Urls {
        refresh: Some("https://bsky.social/xrpc/com.atproto.server.refreshSession"),
        revoke: Some("https://bsky.social/xrpc/com.atproto.server.deleteSession"),
        ..Urls::new(
            "https://bsky.app/settings/app-passwords",
            "https://bsky.social/xrpc/com.atproto.server.createSession",
            "https://bsky.social/xrpc/app.bsky.actor.getProfile",
        )
    },
    client_auth: None,
    pkce: Pkce::None,
    scope_separator: " ",
    default_scopes: &[],
    authorize_parameters: &[],
    token_lifetime: Some(Duration::from_secs(2 * 3600)),
    refresh: RefreshModel::Rotating { grace: Some(Duration::from_secs(2 * 3600)) },
    reach: Reach::Token,
    // Anybody may run a host, which says of itself what it likes: the id is the one that the directory
    // led there from, and the handle counts only if the directory confirms it.
    identity_mapping: pointers("", "", "/displayName", "/avatar"),
    quirks: Quirks {
        own_host: true,
        identity: super::quirks::Ask { subject: Some("actor"), ..super::quirks::Ask::STANDARD },
        rate_limit: Some(RateLimit::Reset("ratelimit-reset")),
        errors: ERRORS,
        ..Quirks::STANDARD
    },
};

/// The directory of `did:plc`.
pub(super) const PLC: &str = "https://plc.directory/";

/// A host that somebody else runs may answer anything: what is not known is taken for unclear.
const ERRORS: &[ErrorRule] = &[
    ErrorRule::of(
        Codes::Is(&["ExpiredToken", "InvalidToken", "AuthenticationRequired", "AccountTakedown"]),
        Meaning::Dead,
    ),
    ErrorRule::of(
        Codes::Is(&["RateLimitExceeded", "NotEnoughResources", "MethodNotImplemented"]),
        Meaning::Transient,
    ),
    ErrorRule::of(
        Codes::Is(&["InternalServerError", "UpstreamFailure", "UpstreamTimeout"]),
        Meaning::Broken,
    ),
];
