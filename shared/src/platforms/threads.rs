//! `THREADS`.
//!
//! <https://developers.facebook.com/docs/threads/get-started/get-access-tokens-and-permissions>
//! <https://developers.facebook.com/docs/threads/get-started/long-lived-tokens>

use super::meta::{DELETE_PERMISSIONS, ERRORS, EXTENDS_ITSELF, SIXTY_DAYS, extend, trade};
use super::quirks::{Ask, RateLimit, TokenPlace, Wire};
use super::vocabulary::pointers;
use super::{ClientAuth, Flow, Pkce, Quirks, Reach, Spec, Urls};

/// Id and secret are those of the product Threads: the Facebook app's are refused with code 4476002.
/// The address `threads.net` still stands in documents, but it redirects, and loses parameters for some.
pub const THREADS: Spec = Spec {
    id: "THREADS",
    name: "Threads",
    flow: Flow::AuthorizationCode,
    version: Some("v1.0"),
    urls: Urls {
        refresh: Some("https://graph.threads.net/refresh_access_token"),
        long_lived: Some("https://graph.threads.net/access_token"),
        // Shipped by others, documented nowhere: unverified.
        revoke: Some("https://graph.threads.net/{version}/me/permissions"),
        ..Urls::new(
            "https://www.threads.com/oauth/authorize",
            "https://graph.threads.net/oauth/access_token",
            "https://graph.threads.net/{version}/me?fields=id,username,name,threads_profile_picture_url",
        )
    },
    client_auth: Some(ClientAuth::Body),
    pkce: Pkce::None,
    scope_separator: ",",
    default_scopes: &["threads_basic", "threads_content_publish"],
    authorize_parameters: &[],
    token_lifetime: Some(SIXTY_DAYS),
    refresh: EXTENDS_ITSELF,
    reach: Reach::Person,
    identity_mapping: pointers("/id", "/username", "/name", "/threads_profile_picture_url"),
    quirks: Quirks {
        adds_fragment: true,
        scopes_by_comma: true,
        exchange: Wire::STANDARD,
        long_lived: Some(trade("th_exchange_token")),
        refresh: extend("th_refresh_token"),
        revocation: DELETE_PERMISSIONS,
        identity: Ask { token: TokenPlace::Query("access_token"), ..Ask::STANDARD },
        rate_limit: Some(RateLimit::MetaUsage),
        errors: ERRORS,
        ..Quirks::STANDARD
    },
};
