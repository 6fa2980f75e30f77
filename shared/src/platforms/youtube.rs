//! `YOUTUBE`: a channel, by a Google account.
//!
//! <https://developers.google.com/identity/protocols/oauth2/web-server>
//! <https://developers.google.com/identity/protocols/oauth2#expiration>
//! <https://developers.google.com/youtube/v3/docs/channels/list>

use std::time::Duration;

use super::quirks::{Accounts, Ask, Codes, ErrorRule, Listing, Meaning, Paging, RevokeCall};
use super::vocabulary::pointers;
use super::{ClientAuth, Flow, Pkce, Quirks, Reach, RefreshModel, Spec, Urls};

/// The refresh token stays, and answers to a refresh leave it out. It ends after 6 months without use,
/// when the person has more than 100 of this client, and after 7 days while the project is in Testing
/// (then the answer says so). A revocation ends everything that the Google account granted to the
/// project, also other channels: therefore the holder is the Google account and the channel is what is
/// connected.
pub const YOUTUBE: Spec = Spec {
    id: "YOUTUBE",
    name: "YouTube",
    flow: Flow::AuthorizationCode,
    version: Some("v3"),
    urls: Urls {
        revoke: Some("https://oauth2.googleapis.com/revoke"),
        accounts: Some(
            "https://www.googleapis.com/youtube/{version}/channels?part=snippet&mine=true&maxResults=50",
        ),
        ..Urls::new(
            "https://accounts.google.com/o/oauth2/v2/auth",
            "https://oauth2.googleapis.com/token",
            "https://www.googleapis.com/oauth2/v2/userinfo",
        )
    },
    client_auth: Some(ClientAuth::Body),
    pkce: Pkce::S256,
    scope_separator: " ",
    default_scopes: &[
        "https://www.googleapis.com/auth/youtube.upload",
        "https://www.googleapis.com/auth/youtube.readonly",
        "https://www.googleapis.com/auth/userinfo.profile",
    ],
    // Without a consent asked for anew, Google gives a refresh token with the first one only.
    authorize_parameters: &[("access_type", "offline"), ("prompt", "consent select_account")],
    token_lifetime: Some(Duration::from_secs(3600)),
    refresh: RefreshModel::Stable,
    reach: Reach::Person,
    identity_mapping: pointers("/id", "", "/name", "/picture"),
    quirks: Quirks {
        refresh_ends: true,
        revocation: RevokeCall { client: false, ..RevokeCall::STANDARD },
        accounts: Accounts::Listed(&Listing {
            ask: Ask::STANDARD,
            items: "/items",
            mapping: pointers(
                "/id",
                "/snippet/customUrl",
                "/snippet/title",
                "/snippet/thumbnails/default/url",
            ),
            token: None,
            demands: &[],
            paging: Paging::Cursor {
                parameter: "pageToken",
                cursor: "/nextPageToken",
                more: "/nextPageToken",
            },
            inspection: None,
        }),
        errors: ERRORS,
        ..Quirks::STANDARD
    },
};

/// `invalid_grant` has kinds of its own.
const ERRORS: &[ErrorRule] = &[
    // The organisation's administrator, or Google, wants more than the token: the person must act.
    ErrorRule::of(Codes::Is(&["invalid_grant"]), Meaning::NeedsConsent).narrowed(&["invalid_rapt"]),
    ErrorRule::of(Codes::Is(&["invalid_grant"]), Meaning::NeedsConsent).saying(&["invalid_rapt"]),
    ErrorRule::of(Codes::Is(&["admin_policy_enforced", "org_internal"]), Meaning::NeedsConsent),
    ErrorRule::of(Codes::Is(&["deleted_client", "disabled_client"]), Meaning::OurFault),
    // The project has not switched the API on, or Google has switched the project off.
    ErrorRule::of(
        Codes::Is(&["accessNotConfigured", "SERVICE_DISABLED", "CONSUMER_SUSPENDED"]),
        Meaning::OurFault,
    ),
    ErrorRule::of(Codes::Any, Meaning::OurFault)
        .at(&[403])
        .saying(&["has not been used in project", "it is disabled"]),
    // A box was left unticked at Google's consent.
    ErrorRule::of(Codes::Is(&["insufficientPermissions"]), Meaning::NeedsConsent),
    ErrorRule::of(Codes::Any, Meaning::NeedsConsent)
        .at(&[403])
        .saying(&["insufficient authentication scopes"]),
    // The person has no channel yet.
    ErrorRule::of(Codes::Is(&["youtubeSignupRequired"]), Meaning::Checkpoint),
    ErrorRule::of(
        Codes::Is(&["quotaExceeded", "dailyLimitExceeded", "uploadLimitExceeded"]),
        Meaning::UsedUp,
    ),
    ErrorRule::of(Codes::Is(&["rateLimitExceeded"]), Meaning::Transient),
];
