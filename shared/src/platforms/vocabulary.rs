//! The words that platforms are described in.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::atproto::DirectorySettings;
use super::endpoints::EndpointSource;
use super::quirks::{Accounts, Quirks};

/// How an account is connected.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Flow {
    /// The person approves in a browser (RFC 6749 §4.1).
    AuthorizationCode,
    /// The person makes a password for us alone and gives it to us.
    AppPassword,
}

impl Flow {
    /// One word for the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::AppPassword => "app_password",
        }
    }
}

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
    /// The same, but with the challenge in hexadecimal digits.
    S256Hex,
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
    /// There is no refresh token: the access token itself is presented, while it is good and not
    /// before it has this age, and lives longer.
    SelfExtending {
        /// The least age.
        not_before: Duration,
    },
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

    /// When a token of this age may be refreshed at the earliest, if that is not at once.
    #[must_use]
    pub fn earliest(self, issued_at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::SelfExtending { not_before } => {
                issued_at.checked_add_signed(TimeDelta::from_std(not_before).ok()?)
            }
            _ => None,
        }
    }

    /// One word for the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rotating { .. } => "rotating",
            Self::Stable => "stable",
            Self::SelfExtending { .. } => "self_extending",
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
#[derive(Clone, Copy, Debug)]
pub struct IdentityMapping<S = String> {
    /// The platform's id: a string, or a number. Empty: what came with the tokens.
    pub id: S,
    /// The handle.
    pub username: Option<S>,
    /// The name people see.
    pub display_name: Option<S>,
    /// A picture.
    pub avatar_url: Option<S>,
}

/// A mapping; what is empty is not there.
#[must_use]
pub(super) const fn pointers(
    id: &'static str,
    username: &'static str,
    display_name: &'static str,
    avatar_url: &'static str,
) -> IdentityMapping<&'static str> {
    const fn there(pointer: &'static str) -> Option<&'static str> {
        if pointer.is_empty() { None } else { Some(pointer) }
    }
    let (username, display_name, avatar_url) =
        (there(username), there(display_name), there(avatar_url));
    IdentityMapping { id, username, display_name, avatar_url }
}

impl IdentityMapping<&'static str> {
    /// The claims of OpenID Connect Core 1.0 §5.1.
    pub const OPENID: Self = pointers("/sub", "/preferred_username", "/name", "/picture");

    /// The same, to be kept beside those of the operator's providers.
    #[must_use]
    pub fn owned(self) -> IdentityMapping {
        IdentityMapping {
            id: self.id.to_owned(),
            username: self.username.map(str::to_owned),
            display_name: self.display_name.map(str::to_owned),
            avatar_url: self.avatar_url.map(str::to_owned),
        }
    }
}

/// Where a platform's endpoints are. `{version}` stands for the version of the vendor's API, and
/// `{subject}` for the platform's id of the person. Relative ones need the operator's `base_url`.
#[derive(Clone, Copy, Debug)]
pub struct Urls {
    /// Where the person approves; for an app password, where the person makes it.
    pub authorize: &'static str,
    /// Where codes are exchanged.
    pub token: &'static str,
    /// Where tokens are refreshed, if not there.
    pub refresh: Option<&'static str>,
    /// Where a short-lived token becomes a long-lived one.
    pub long_lived: Option<&'static str>,
    /// Where tokens are revoked.
    pub revoke: Option<&'static str>,
    /// Where the identity is read.
    pub identity: &'static str,
    /// Where is read what the person may choose from.
    pub accounts: Option<&'static str>,
    /// Where is asked whether an account's own token still works.
    pub inspect: Option<&'static str>,
}

impl Urls {
    /// The endpoints of RFC 6749 and an identity, to be extended.
    #[must_use]
    pub const fn new(authorize: &'static str, token: &'static str, identity: &'static str) -> Self {
        let (refresh, long_lived, revoke) = (None, None, None);
        Self {
            authorize,
            token,
            refresh,
            long_lived,
            revoke,
            identity,
            accounts: None,
            inspect: None,
        }
    }
}

/// What we know of a platform before an operator says anything.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Stable id, upper case.
    pub id: &'static str,
    /// What people call it.
    pub name: &'static str,
    /// How an account is connected.
    pub flow: Flow,
    /// The version of the vendor's API.
    pub version: Option<&'static str>,
    /// Where it is.
    pub urls: Urls,
    /// Client authentication; `None` where no client is registered.
    pub client_auth: Option<ClientAuth>,
    /// PKCE.
    pub pkce: Pkce,
    /// Between scopes.
    pub scope_separator: &'static str,
    /// What is asked for unless the request says otherwise.
    pub default_scopes: &'static [&'static str],
    /// What the authorize URL says besides the standard's parameters.
    pub authorize_parameters: &'static [(&'static str, &'static str)],
    /// How long an access token usually lives, if it ends.
    pub token_lifetime: Option<Duration>,
    /// How tokens stay alive.
    pub refresh: RefreshModel,
    /// What a revocation ends, where there is one.
    pub reach: Reach,
    /// Where the identity stands.
    pub identity_mapping: IdentityMapping<&'static str>,
    /// How it departs from the standards.
    pub quirks: Quirks,
}

impl Spec {
    /// Whether clients are registered there.
    #[must_use]
    pub fn has_clients(&self) -> bool {
        self.client_auth.is_some()
    }

    /// Whether it is known where it is: where not, the operator says so.
    #[must_use]
    pub fn has_address(&self) -> bool {
        self.urls.token.starts_with("https://")
    }
}

/// A platform that is ready for use: its description with the operator's settings.
#[derive(Clone, Debug)]
pub struct Platform {
    /// Stable id, upper case.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// How an account is connected.
    pub flow: Flow,
    /// The version of the vendor's API; empty where it has none.
    pub version: String,
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
    /// How much time lies between two refreshes of one grant at least.
    pub refresh_spacing: Duration,
    /// Whether each account is looked at once a day.
    pub daily_look: bool,
    /// Codes and words, in lower case, by which the platform says that a grant is dead: the operator's
    /// addition to what is known.
    pub dead_errors: Vec<String>,
    /// Where the identity stands.
    pub identity_mapping: IdentityMapping,
    /// How it departs from the standards.
    pub quirks: &'static Quirks,
    /// How a person's host is found, where persons have hosts of their own.
    pub directory: Option<DirectorySettings>,
    /// The operator's OAuth client there; `None`: accounts are connected through apps of customers alone.
    pub client: Option<OperatorClient>,
}

/// An OAuth client of the operator; empty where a platform has no clients.
#[derive(Clone, Debug, Default)]
pub struct OperatorClient {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: SecretString,
}

impl Platform {
    /// Whose consent it is: that of platforms with the same vendor, through the same client, is one.
    #[must_use]
    pub fn vendor(&self) -> &str {
        self.quirks.vendor.unwrap_or(&self.id)
    }

    /// When a token that was issued then may be refreshed next: one grant is refreshed only so often. A token
    /// that lives little longer than that is refreshed at half its life: else it would lapse each time.
    #[must_use]
    pub fn next_refresh_after(
        &self,
        issued_at: DateTime<Utc>,
        access_expires_at: Option<DateTime<Utc>>,
    ) -> Option<DateTime<Utc>> {
        let spacing = TimeDelta::from_std(self.refresh_spacing).ok()?;
        let life = access_expires_at.map(|end| end - issued_at);
        let least = match life.filter(|life| *life >= spacing) {
            Some(life) => spacing.min(life / 2),
            None => spacing,
        };
        issued_at.checked_add_signed(least)
    }

    /// Whether accounts live by tokens of their own: then the grant's end is not theirs.
    #[must_use]
    pub fn accounts_have_tokens(&self) -> bool {
        matches!(&self.quirks.accounts, Accounts::Listed(listing) if listing.token.is_some())
    }
}
