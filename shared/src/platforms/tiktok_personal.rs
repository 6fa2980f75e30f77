//! `TIKTOK_PERSONAL`, by Login Kit v2: creators' own accounts.
//!
//! <https://developers.tiktok.com/doc/oauth-user-access-token-management>
//! <https://developers.tiktok.com/doc/login-kit-web>
//! <https://developers.tiktok.com/doc/oauth-error-handling>
//! <https://developers.tiktok.com/doc/tiktok-api-v2-error-handling>

use std::time::Duration;

use super::quirks::{Ask, Codes, ErrorRule, Meaning, Presents, RateLimit, Reply, RevokeCall};
use super::vocabulary::pointers;
use super::{ClientAuth, Flow, Pkce, Quirks, Reach, RefreshModel, Spec, Urls};

/// The client is called `client_key` everywhere. The refresh token may change with each refresh, and
/// then the old one is done with; its year counts from the first consent, or from the refresh
/// (unverified): what the newest answer says counts. Persons may deselect scopes. The HTTP status of
/// errors is not documented: the body decides.
///
/// The challenge is the hexadecimal digest. Apps for desktop and mobile demand it, those for the web
/// take it; `pkce = false` leaves it out.
pub const TIKTOK_PERSONAL: Spec = Spec {
    id: "TIKTOK_PERSONAL",
    name: "TikTok",
    flow: Flow::AuthorizationCode,
    version: Some("v2"),
    urls: Urls {
        revoke: Some("https://open.tiktokapis.com/{version}/oauth/revoke/"),
        ..Urls::new(
            "https://www.tiktok.com/{version}/auth/authorize/",
            "https://open.tiktokapis.com/{version}/oauth/token/",
            "https://open.tiktokapis.com/{version}/user/info/?fields=open_id,union_id,avatar_url,display_name,username",
        )
    },
    client_auth: Some(ClientAuth::Body),
    pkce: Pkce::S256Hex,
    scope_separator: ",",
    default_scopes: &["user.info.basic", "user.info.profile", "video.publish", "video.upload"],
    // Otherwise an earlier consent is taken without asking, and nobody can choose another account.
    authorize_parameters: &[("disable_auto_auth", "1")],
    token_lifetime: Some(Duration::from_secs(86_400)),
    refresh: RefreshModel::Rotating { grace: None },
    reach: Reach::Person,
    identity_mapping: pointers(
        "/data/user/open_id",
        "/data/user/username",
        "/data/user/display_name",
        "/data/user/avatar_url",
    ),
    quirks: Quirks {
        client_id: "client_key",
        scopes_by_comma: true,
        reply: Reply { refresh_lifetime: "refresh_expires_in", ..Reply::STANDARD },
        refresh_ends: true,
        revocation: RevokeCall { presents: Presents::AccessToken, ..RevokeCall::STANDARD },
        identity: Ask { scoped_fields: &[("username", "user.info.profile")], ..Ask::STANDARD },
        rate_limit: Some(RateLimit::Reset("x-ratelimit-reset")),
        errors: ERRORS,
        ..Quirks::STANDARD
    },
};

const ERRORS: &[ErrorRule] = &[
    // At the token endpoint: the person took the consent back.
    ErrorRule::of(Codes::Is(&["access_denied"]), Meaning::NeedsConsent),
    ErrorRule::of(
        Codes::Is(&["scope_not_authorized", "scope_permission_missed"]),
        Meaning::NeedsConsent,
    ),
    // A refresh helps; if that fails, it says so itself.
    ErrorRule::of(Codes::Is(&["access_token_invalid"]), Meaning::Transient),
    ErrorRule::of(Codes::Is(&["rate_limit_exceeded"]), Meaning::Transient),
    // Limits of our app, and no fault of the person's token.
    ErrorRule::of(
        Codes::Is(&[
            "reached_active_user_cap",
            "unaudited_client_can_only_post_to_private_accounts",
        ]),
        Meaning::Transient,
    ),
];
