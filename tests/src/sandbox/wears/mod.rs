//! The vendors' platforms, each under its host as the first segment of the path, as in
//! `/api.x.com/2/oauth2/token`: its paths, its oddities, its shapes.
//!
//! A vendor is a [`Vendor`] (what its consent page wants and gives: data), a `Dialect` for each of its
//! ways to say no, and a few routes. The rules of codes and tokens are the store's, faults and the
//! ledger are `call`'s: nothing here may answer without them.

mod asked;
mod authorize;
pub(super) mod bluesky;
mod facebook;
mod grants;
mod instagram;
mod linkedin;
mod meta;
mod pages;
mod person;
mod pinterest;
mod threads;
mod tiktok;
mod tiktok_business;
mod x;
mod youtube;

use std::sync::Arc;

use axum::Router;

pub use asked::{REPEAT, Recorded};
pub use pages::Page;

pub(super) use asked::recorded;
pub(super) use pages::Pages;

use super::config::SandboxConfig;
use super::family::Terms;
use super::params::Params;
use super::state::Shared;

/// Every vendor's routes.
pub(super) fn routes(shared: &Arc<Shared>) -> Router<Arc<Shared>> {
    let worn = [
        ("X", x::routes()),
        ("LINKEDIN", linkedin::routes()),
        ("INSTAGRAM", instagram::routes()),
        ("THREADS", threads::routes()),
        ("FACEBOOK_PAGE", facebook::routes()),
        ("TIKTOK", tiktok::consent_routes()),
        ("TIKTOK_PERSONAL", tiktok::routes()),
        ("TIKTOK_BUSINESS", tiktok_business::routes()),
        ("YOUTUBE", youtube::routes()),
        ("PINTEREST", pinterest::routes()),
        ("BLUESKY", bluesky::routes()),
    ];
    worn.into_iter().fold(Router::new(), |all, (platform, routes)| {
        all.merge(recorded(shared, platform, routes))
    })
}

/// What a vendor's consent page wants and gives.
struct Vendor {
    /// The platform's id, or the name of the vendor of several that share the page.
    name: &'static str,
    /// The parameter that names the client.
    client: &'static str,
    pkce: Pkce,
    separator: Separator,
    /// The longest `state` it takes, in characters.
    longest_state: usize,
    /// What it says to the client when the person cancels.
    cancelled: &'static [(&'static str, &'static str)],
    /// The parameter beside the code that repeats the scopes.
    repeats_scopes_as: Option<&'static str>,
    /// What trails the redirect, and belongs to nobody.
    fragment: Option<&'static str>,
    /// Whether a consent to another set of scopes ends what the same person gave before.
    forgets_other_scopes: bool,
    terms: fn(&Asking<'_>) -> Terms,
}

impl Vendor {
    /// A page without oddities.
    const fn plain(name: &'static str, terms: fn(&Asking<'_>) -> Terms) -> Self {
        Self {
            name,
            client: "client_id",
            pkce: Pkce::Ignored,
            separator: Separator::Space,
            longest_state: usize::MAX,
            cancelled: &[("error", "access_denied")],
            repeats_scopes_as: None,
            fragment: None,
            forgets_other_scopes: false,
            terms,
        }
    }
}

/// What terms may depend on.
struct Asking<'a> {
    params: &'a Params,
    /// Separated by spaces.
    scope: &'a str,
    /// Whether the same person has given the same client something that has not ended.
    again: bool,
    config: &'a SandboxConfig,
}

/// What a vendor makes of a code challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pkce {
    Required,
    Optional,
    /// As optional, but the challenge is hexadecimal.
    OptionalHex,
    Ignored,
    Refused,
}

/// What stands between two scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Separator {
    Space,
    Comma,
    Either,
}
