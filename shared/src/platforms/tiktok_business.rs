//! `TIKTOK_BUSINESS`, by the API for Business: holders of business accounts, not advertisers.
//!
//! <https://business-api.tiktok.com/portal/docs?id=1738084387220481>

use std::time::Duration;

use super::quirks::{
    Ask, Codes, Encoding, ErrorRule, Meaning, Presents, Reply, RevokeCall, RevokeForm, TokenPlace,
    Wire,
};
use super::vocabulary::pointers;
use super::{ClientAuth, Flow, Pkce, Quirks, Reach, RefreshModel, Spec, Urls};

/// All bodies are JSON, and every answer is HTTP 200 with a `code` of its own: only 0 is good. The
/// redirect URI must end with a slash and have no query. What the codes mean is known from those who
/// use them; which one a dead refresh token yields is unverified.
pub const TIKTOK_BUSINESS: Spec = Spec {
    id: "TIKTOK_BUSINESS",
    name: "TikTok Business",
    flow: Flow::AuthorizationCode,
    version: Some("v1.3"),
    urls: Urls {
        refresh: Some(
            "https://business-api.tiktok.com/open_api/{version}/tt_user/oauth2/refresh_token/",
        ),
        revoke: Some("https://business-api.tiktok.com/open_api/{version}/tt_user/oauth2/revoke/"),
        ..Urls::new(
            "https://www.tiktok.com/v2/auth/authorize/",
            "https://business-api.tiktok.com/open_api/{version}/tt_user/oauth2/token/",
            "https://business-api.tiktok.com/open_api/{version}/business/get/?fields=[\"username\",\"display_name\",\"profile_image\"]",
        )
    },
    client_auth: Some(ClientAuth::Body),
    pkce: Pkce::None,
    scope_separator: ",",
    // As implementations in use have them.
    default_scopes: &["user.info.basic", "user.info.username", "video.publish", "video.upload"],
    authorize_parameters: &[("disable_auto_auth", "1")],
    token_lifetime: Some(Duration::from_secs(86_400)),
    refresh: RefreshModel::Rotating { grace: None },
    reach: Reach::Person,
    // The id comes with the tokens.
    identity_mapping: pointers("", "/data/username", "/data/display_name", "/data/profile_image"),
    quirks: Quirks {
        client_id: "client_key",
        redirect_slash: true,
        scopes_by_comma: true,
        exchange: Wire {
            encoding: Encoding::Json,
            names: &[("code", "auth_code"), ("client_id", "client_id")],
            ..Wire::STANDARD
        },
        refresh: Wire {
            encoding: Encoding::Json,
            names: &[("client_id", "client_id")],
            ..Wire::STANDARD
        },
        reply: Reply { at: "/data", subject: Some("open_id"), ..Reply::STANDARD },
        refresh_ends: true,
        revocation: RevokeCall {
            form: RevokeForm::Json,
            presents: Presents::AccessToken,
            token: "access_token",
            client: true,
        },
        identity: Ask {
            token: TokenPlace::Header("access-token"),
            subject: Some("business_id"),
            ..Ask::STANDARD
        },
        errors: ERRORS,
        ..Quirks::STANDARD
    },
};

const ERRORS: &[ErrorRule] = &[
    ErrorRule::of(Codes::Is(&["40105"]), Meaning::Dead),
    // The quota of a minute clears after about five.
    ErrorRule {
        wait: Some(Duration::from_secs(300)),
        ..ErrorRule::of(Codes::Is(&["40100"]), Meaning::Transient)
    },
    ErrorRule::of(Codes::Is(&["40101"]), Meaning::OurFault),
    ErrorRule::of(Codes::Between(50_000, 59_999), Meaning::Broken),
];
