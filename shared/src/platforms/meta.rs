//! What Meta's platforms have in common: long-lived tokens by a second call, and the errors of the
//! Graph API.
//!
//! <https://developers.facebook.com/docs/graph-api/guides/error-handling>
//! <https://developers.facebook.com/docs/graph-api/overview/rate-limiting>

use std::time::Duration;

use super::RefreshModel;
use super::quirks::{Codes, Encoding, ErrorRule, Meaning, Presents, RevokeCall, RevokeForm, Wire};

/// What a long-lived token lives for.
pub(super) const SIXTY_DAYS: Duration = Duration::from_secs(60 * 86_400);

/// A long-lived token of Instagram and Threads is extended by itself, between a day of age and its end.
/// One that has ended never comes back.
pub(super) const EXTENDS_ITSELF: RefreshModel =
    RefreshModel::SelfExtending { not_before: Duration::from_secs(86_400) };

/// Instagram and Threads: the token that the exchange brought is traded in, with the secret and without
/// the id.
pub(super) const fn trade(grant_type: &'static str) -> Wire {
    Wire {
        encoding: Encoding::Query,
        grant_type: Some(grant_type),
        names: &[("refresh_token", "access_token"), ("client_id", "")],
        parameters: &[],
    }
}

/// Instagram and Threads: the token alone.
pub(super) const fn extend(grant_type: &'static str) -> Wire {
    Wire {
        names: &[("refresh_token", "access_token"), ("client_id", ""), ("client_secret", "")],
        ..trade(grant_type)
    }
}

/// All permissions of the person go.
pub(super) const DELETE_PERMISSIONS: RevokeCall = RevokeCall {
    form: RevokeForm::Delete,
    presents: Presents::AccessToken,
    token: "access_token",
    client: false,
};

/// By the code alone: the type `OAuthException` stands on throttling, too.
pub(super) const ERRORS: &[ErrorRule] = &[
    ErrorRule::of(Codes::Is(&["190", "102"]), Meaning::Dead),
    ErrorRule::of(Codes::Is(&["10"]), Meaning::NeedsConsent),
    ErrorRule::of(Codes::Between(200, 299), Meaning::NeedsConsent),
    ErrorRule::of(Codes::Is(&["1", "2", "4", "17", "32", "341", "368", "613"]), Meaning::Transient),
    ErrorRule::of(Codes::Between(80_000, 80_014), Meaning::Transient),
    // An app id that is not known, or another product's.
    ErrorRule::of(Codes::Is(&["101", "4476002"]), Meaning::OurFault),
];
