//! The words that platforms are described in.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::endpoints::EndpointSource;

/// How the client proves who it is at the token endpoint (RFC 6749 §2.3.1).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// HTTP Basic.
    Basic,
    /// `client_id` and `client_secret` in the form.
    Body,
}

/// Which form of PKCE the platform takes (RFC 7636).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pkce {
    /// `S256`.
    S256,
    /// None: the platform refuses or ignores it.
    None,
}

/// How tokens stay alive.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RefreshModel {
    /// Each refresh spends the refresh token and brings the next. Within `grace` the spent one still
    /// brings the pair that took its place.
    Rotating {
        /// How long the platform forgives a lost answer, if at all.
        grace: Option<Duration>,
    },
    /// The refresh token stays the same.
    Stable,
    /// Nothing can be refreshed: the person must consent again.
    ReconsentOnly,
}

impl RefreshModel {
    /// Rotating, with a grace window of so many seconds; 0 is none. A window of no length would be
    /// another thing: within a window a token in doubt is presented again at once.
    #[must_use]
    pub fn rotating(grace_seconds: u64) -> Self {
        Self::Rotating { grace: (grace_seconds > 0).then(|| Duration::from_secs(grace_seconds)) }
    }

    /// Whether a call whose answer was lost may have spent the token for good.
    #[must_use]
    pub fn rotates(self) -> bool {
        matches!(self, Self::Rotating { .. })
    }

    /// One word for the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rotating { .. } => "rotating",
            Self::Stable => "stable",
            Self::ReconsentOnly => "reconsent_only",
        }
    }
}

/// What the platform's revocation ends.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// The token that is presented, and what was issued from it.
    Token,
    /// Every token of the app for this person that rests on the same consent.
    Grant,
    /// Everything that the person granted to the app.
    Person,
}

impl Reach {
    /// One word for the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Grant => "grant",
            Self::Person => "person",
        }
    }
}

/// Where the identity stands in the platform's answer, as JSON pointers (RFC 6901).
#[derive(Clone, Debug)]
pub struct IdentityMapping {
    /// The platform's id: a string, or a number.
    pub id: Cow<'static, str>,
    /// The handle.
    pub username: Option<Cow<'static, str>>,
    /// The name people see.
    pub display_name: Option<Cow<'static, str>>,
    /// A picture.
    pub avatar_url: Option<Cow<'static, str>>,
}

impl IdentityMapping {
    /// The claims of OpenID Connect Core 1.0 §5.1.
    pub const OPENID: Self = Self {
        id: Cow::Borrowed("/sub"),
        username: Some(Cow::Borrowed("/preferred_username")),
        display_name: Some(Cow::Borrowed("/name")),
        avatar_url: Some(Cow::Borrowed("/picture")),
    };
}

/// What we know of a platform before an operator says anything.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Stable id, upper case.
    pub id: &'static str,
    /// What people call it.
    pub name: &'static str,
    /// Where the endpoints are, for the relative ones below. `None`: the operator must say.
    pub base_url: Option<&'static str>,
    /// Where the person approves.
    pub authorize: &'static str,
    /// Where codes and refresh tokens are exchanged.
    pub token: &'static str,
    /// Where tokens are revoked (RFC 7009), and what that ends.
    pub revoke: Option<(&'static str, Reach)>,
    /// Where the identity is read with the access token.
    pub identity: &'static str,
    /// Client authentication.
    pub client_auth: ClientAuth,
    /// PKCE.
    pub pkce: Pkce,
    /// Between scopes.
    pub scope_separator: &'static str,
    /// What is asked for unless the request says otherwise.
    pub default_scopes: &'static [&'static str],
    /// How long an access token usually lives; for the API to show.
    pub token_lifetime: Duration,
    /// How tokens stay alive.
    pub refresh: RefreshModel,
    /// Where the identity stands.
    pub identity_mapping: IdentityMapping,
}

/// A platform that is ready for use: its description with the operator's settings.
#[derive(Clone, Debug)]
pub struct Platform {
    /// Stable id, upper case.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Who answers there, to the letter, if it says so (RFC 9207). Such a platform's endpoints may
    /// have to be discovered.
    pub issuer: Option<String>,
    pub(super) endpoints: EndpointSource,
    /// What its revocation ends, if it has one.
    pub reach: Reach,
    /// Client authentication.
    pub client_auth: ClientAuth,
    /// PKCE.
    pub pkce: Pkce,
    /// Between scopes.
    pub scope_separator: Cow<'static, str>,
    /// What is asked for unless the request says otherwise.
    pub default_scopes: Vec<String>,
    /// What the authorize URL says besides the standard's parameters.
    pub authorize_parameters: BTreeMap<String, String>,
    /// What requests to the token endpoint say besides the standard's parameters.
    pub token_parameters: BTreeMap<String, String>,
    /// How long an access token usually lives, if that is known.
    pub token_lifetime: Option<Duration>,
    /// How tokens stay alive.
    pub refresh: RefreshModel,
    /// Where the identity stands.
    pub identity_mapping: IdentityMapping,
    /// The installation's own OAuth client there.
    pub client_id: String,
    /// Its secret.
    pub client_secret: SecretString,
}
