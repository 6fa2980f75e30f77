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

/// By code, subcode and words: the type `OAuthException` stands on throttling, too.
pub(super) const ERRORS: &[ErrorRule] = &[
    ErrorRule::of(Codes::Any, Meaning::OurFault).saying(OF_THE_APP),
    // An app id that is not known, or another product's; a capability or version that the app lacks.
    ErrorRule::of(Codes::Is(&["3", "12", "101", "4476002"]), Meaning::OurFault),
    ErrorRule::of(Codes::Is(&["190"]), Meaning::Checkpoint).narrowed(&["459", "464"]),
    ErrorRule::of(Codes::Is(&["190"]), Meaning::Checkpoint).saying(OF_A_CHECKPOINT),
    ErrorRule::of(Codes::Is(&["190", "102", "not_valid"]), Meaning::Dead),
    ErrorRule::of(Codes::Is(&["100"]), Meaning::DeadIfRepeated).narrowed(&["33"]),
    // Threads gives these words another code.
    ErrorRule::of(Codes::Is(&["24", "100"]), Meaning::DeadIfRepeated)
        .saying(&["the requested resource does not exist"]),
    // A parameter: it may be of anything.
    ErrorRule::of(Codes::Is(&["100"]), Meaning::SaysNothing),
    ErrorRule::of(Codes::Is(&["10"]), Meaning::NeedsConsent),
    ErrorRule::of(Codes::Between(200, 299), Meaning::NeedsConsent),
    ErrorRule::of(Codes::Is(&["1", "2", "4", "17", "32", "341", "368", "613"]), Meaning::Transient),
    ErrorRule::of(Codes::Between(80_000, 80_014), Meaning::Transient),
];

/// What Meta says of an app, under codes that speak of a person elsewhere.
const OF_THE_APP: &[&str] = &[
    "api access blocked",
    "api access deactivated",
    "api access disabled",
    "error validating application",
    "error validating client",
    "application has been deleted",
    "application has been disabled",
    "application has been suspended",
    "application is disabled",
    "app has been deleted",
    "app has been disabled",
    "app has been restricted",
    "app has been suspended",
    "app is blocked",
    "app is disabled",
    "app is restricted",
    "app is not active",
    "app not active",
    "app is in development mode",
    "app in development mode",
    "app is not live",
    "app must be live",
    "invalid app id",
    "invalid application id",
    "invalid client id",
    "invalid client_id",
    "invalid client secret",
    "invalid platform app",
    "insufficient developer role",
    "appsecret_proof",
    "does not have the capability",
];

/// A checkpoint, where the subcode is left out.
const OF_A_CHECKPOINT: &[&str] =
    &["cannot access the app till you log in", "checkpoint", "is not a confirmed user"];
