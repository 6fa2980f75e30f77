//! `FACEBOOK_PAGE`: the pages that a person manages. A page lives by its own token, which does not end
//! with the person's.
//!
//! <https://developers.facebook.com/docs/facebook-login/guides/access-tokens/get-long-lived>
//! <https://developers.facebook.com/docs/pages-api/getting-started>
//! <https://developers.facebook.com/docs/graph-api/reference/user/permissions>
//! <https://developers.facebook.com/docs/graph-api/reference/debug_token>

use std::time::Duration;

use super::meta::ERRORS;
use super::quirks::{
    Accounts, Ask, Demand, Encoding, Inspection, Listing, Paging, Presents, RateLimit, RevokeCall,
    RevokeForm, TokenPlace, Wire,
};
use super::vocabulary::pointers;
use super::{ClientAuth, Flow, Pkce, Quirks, Reach, RefreshModel, Spec, Urls};

const BY_QUERY: Ask = Ask { token: TokenPlace::Query("access_token"), ..Ask::STANDARD };

/// The exchange brings a token of an hour or two. Page tokens are read with the long-lived one that it
/// is traded in for: those do not end, the others would end with it. Nothing renews the person's token;
/// whether it can be traded in again is unverified, and nothing here needs it to be.
pub const FACEBOOK_PAGE: Spec = Spec {
    id: "FACEBOOK_PAGE",
    name: "Facebook Pages",
    flow: Flow::AuthorizationCode,
    version: Some("v25.0"),
    urls: Urls {
        long_lived: Some("https://graph.facebook.com/{version}/oauth/access_token"),
        revoke: Some("https://graph.facebook.com/{version}/{subject}/permissions"),
        accounts: Some(
            "https://graph.facebook.com/{version}/me/accounts?fields=id,name,username,access_token,tasks,picture&limit=50",
        ),
        inspect: Some("https://graph.facebook.com/{version}/debug_token"),
        ..Urls::new(
            "https://www.facebook.com/{version}/dialog/oauth",
            "https://graph.facebook.com/{version}/oauth/access_token",
            "https://graph.facebook.com/{version}/me?fields=id,name,picture",
        )
    },
    client_auth: Some(ClientAuth::Body),
    pkce: Pkce::None,
    scope_separator: ",",
    // Without `business_management` pages that a business owns are not listed.
    default_scopes: &[
        "pages_show_list",
        "pages_read_engagement",
        "pages_manage_posts",
        "business_management",
    ],
    authorize_parameters: &[],
    token_lifetime: None,
    refresh: RefreshModel::ReconsentOnly,
    reach: Reach::Person,
    identity_mapping: pointers("/id", "", "/name", "/picture/data/url"),
    quirks: Quirks {
        adds_fragment: true,
        scopes_by_comma: true,
        exchange: Wire {
            encoding: Encoding::Query,
            names: &[("grant_type", "")],
            ..Wire::STANDARD
        },
        long_lived: Some(Wire {
            encoding: Encoding::Query,
            grant_type: Some("fb_exchange_token"),
            names: &[("refresh_token", "fb_exchange_token")],
            parameters: &[],
        }),
        // With the app's own token it works after the person's has ended, too.
        revocation: RevokeCall {
            form: RevokeForm::Delete,
            presents: Presents::AppToken,
            token: "access_token",
            client: false,
        },
        identity: BY_QUERY,
        accounts: Accounts::Listed(&Listing {
            ask: BY_QUERY,
            items: "/data",
            mapping: pointers("/id", "/username", "/name", "/picture/data/url"),
            token: Some("/access_token"),
            demands: &[
                Demand { at: "/tasks", any_of: &["CREATE_CONTENT"], otherwise: "ROLE_NOT_ENOUGH" },
                Demand { at: "/access_token", any_of: &[], otherwise: "NO_PAGE_TOKEN" },
            ],
            paging: Paging::Cursor {
                parameter: "after",
                cursor: "/paging/cursors/after",
                more: "/paging/next",
            },
            inspection: Some(Inspection {
                every: Duration::from_secs(86_400),
                token: "input_token",
            }),
        }),
        rate_limit: Some(RateLimit::MetaUsage),
        errors: ERRORS,
        ..Quirks::STANDARD
    },
};
