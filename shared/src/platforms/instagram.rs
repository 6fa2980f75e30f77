//! `INSTAGRAM`, by Instagram Login: professional accounts without a Facebook page.
//!
//! <https://developers.facebook.com/docs/instagram-platform/instagram-api-with-instagram-login/business-login>
//! <https://developers.facebook.com/docs/instagram-platform/reference/refresh_access_token>

use super::meta::{DELETE_PERMISSIONS, ERRORS, EXTENDS_ITSELF, SIXTY_DAYS, extend, trade};
use super::quirks::{Ask, Encoding, RateLimit, Reply, TokenPlace, Wire};
use super::vocabulary::pointers;
use super::{ClientAuth, Flow, Pkce, Quirks, Reach, Spec, Urls};

/// Id and secret are those of the product Instagram, not of the Meta app. The exchange brings a token
/// of 1 h, which is traded in for one of 60 days. The answer is documented as a list with one item and
/// has been seen flat; ids are numbers beyond what a double holds. A grant of a private account ends
/// after 90 days whatever is refreshed.
pub const INSTAGRAM: Spec = Spec {
    id: "INSTAGRAM",
    name: "Instagram",
    flow: Flow::AuthorizationCode,
    version: Some("v25.0"),
    urls: Urls {
        refresh: Some("https://graph.instagram.com/refresh_access_token"),
        long_lived: Some("https://graph.instagram.com/access_token"),
        // Shipped by others, documented nowhere: unverified.
        revoke: Some("https://graph.instagram.com/{version}/me/permissions"),
        ..Urls::new(
            "https://www.instagram.com/oauth/authorize",
            "https://api.instagram.com/oauth/access_token",
            "https://graph.instagram.com/{version}/me?fields=user_id,username,name,profile_picture_url",
        )
    },
    client_auth: Some(ClientAuth::Body),
    pkce: Pkce::None,
    scope_separator: ",",
    default_scopes: &["instagram_business_basic", "instagram_business_content_publish"],
    // The person signs in to Instagram itself, and chooses with which account.
    authorize_parameters: &[("enable_fb_login", "0"), ("force_authentication", "1")],
    token_lifetime: Some(SIXTY_DAYS),
    refresh: EXTENDS_ITSELF,
    reach: Reach::Person,
    identity_mapping: pointers("/user_id", "/username", "/name", "/profile_picture_url"),
    quirks: Quirks {
        adds_fragment: true,
        scopes_by_comma: true,
        // Multipart is documented; the other form is known to work for some, unverified.
        exchange: Wire { encoding: Encoding::Multipart, ..Wire::STANDARD },
        long_lived: Some(trade("ig_exchange_token")),
        refresh: extend("ig_refresh_token"),
        reply: Reply { at: "/data/0", scopes: "permissions", ..Reply::STANDARD },
        revocation: DELETE_PERMISSIONS,
        identity: Ask { token: TokenPlace::Query("access_token"), ..Ask::STANDARD },
        rate_limit: Some(RateLimit::MetaUsage),
        errors: ERRORS,
        ..Quirks::STANDARD
    },
};
