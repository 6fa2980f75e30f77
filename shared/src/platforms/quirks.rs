//! How vendors depart from the standards: the rest of the words that platforms are described in.
//!
//! Whatever a platform does not say of itself is as [`Quirks::STANDARD`] has it: RFC 6749, 7009, and
//! an identity that is asked for with a bearer token.

use std::time::Duration;

use super::vocabulary::IdentityMapping;

pub use super::error_rules::{Codes, ErrorRule, Meaning};

/// How a platform departs from the standards.
#[derive(Clone, Copy, Debug)]
pub struct Quirks {
    /// Whose consent it is, if not the platform's alone: platforms of one vendor share it, when they
    /// are reached through one client.
    pub vendor: Option<&'static str>,
    /// What authorize URL and requests call the client's id.
    pub client_id: &'static str,
    /// Whether the registered redirect URI must end with a slash.
    pub redirect_slash: bool,
    /// Whether the platform puts a fragment behind the redirect URI, such as `#_=_`: browsers carry it on to wherever we
    /// lead them, unless that has one of its own (RFC 9110 §10.2.2).
    pub adds_fragment: bool,
    /// Whether asking for another set of scopes ends the person's earlier tokens: then the set belongs
    /// to the client, and no connect may ask for its own.
    pub scopes_fixed: bool,
    /// Whether the platform may separate scopes by commas where it is asked with spaces.
    pub scopes_by_comma: bool,
    /// How a code is exchanged.
    pub exchange: Wire,
    /// For how long a code is good.
    pub code_lifetime: Duration,
    /// How the short-lived token of the exchange becomes a long-lived one, where that must be done.
    pub long_lived: Option<Wire>,
    /// How tokens are refreshed.
    pub refresh: Wire,
    /// Where the tokens stand in an answer.
    pub reply: Reply,
    /// Whether the refresh token has an end that no refresh moves.
    pub refresh_ends: bool,
    /// How the platform is told that a token is out of use.
    pub revocation: RevokeCall,
    /// How the identity is asked for.
    pub identity: Ask,
    /// What a consent connects.
    pub accounts: Accounts,
    /// Whether the person's data live on a host of their choice: the endpoints are at that host, which
    /// must be public, and what it says of rates is said of this person alone.
    pub own_host: bool,
    /// What says how long to wait, beside `Retry-After`.
    pub rate_limit: Option<RateLimit>,
    /// What the platform's errors mean, where that is not known everywhere; the first that fits counts.
    pub errors: &'static [ErrorRule],
    /// Statuses that the platform's documents say come before any effect, beside 429: a token that was
    /// answered so was not spent.
    pub before_effect: &'static [u16],
    /// How much time lies between two refreshes of one grant at least, unless the operator says otherwise.
    pub refresh_spacing: Duration,
}

impl Quirks {
    /// No departure.
    pub const STANDARD: Self = Self {
        vendor: None,
        client_id: "client_id",
        redirect_slash: false,
        adds_fragment: false,
        scopes_fixed: false,
        scopes_by_comma: false,
        exchange: Wire::STANDARD,
        // RFC 6749 §4.1.2.
        code_lifetime: Duration::from_secs(600),
        long_lived: None,
        refresh: Wire::STANDARD,
        reply: Reply::STANDARD,
        refresh_ends: false,
        revocation: RevokeCall::STANDARD,
        identity: Ask::STANDARD,
        accounts: Accounts::Holder,
        own_host: false,
        rate_limit: None,
        errors: &[],
        before_effect: &[],
        refresh_spacing: Duration::from_secs(60),
    };
}

/// How a request for tokens is written.
#[derive(Clone, Copy, Debug)]
pub struct Wire {
    /// In which form.
    pub encoding: Encoding,
    /// The grant type, if not the standard's.
    pub grant_type: Option<&'static str>,
    /// What the standard's parameters are called there; an empty name leaves one out.
    pub names: &'static [(&'static str, &'static str)],
    /// What is said besides.
    pub parameters: &'static [(&'static str, &'static str)],
}

impl Wire {
    /// A form, as RFC 6749 has it.
    pub const STANDARD: Self =
        Self { encoding: Encoding::Form, grant_type: None, names: &[], parameters: &[] };
}

/// The form of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Encoding {
    /// POST, `application/x-www-form-urlencoded`.
    Form,
    /// POST, `multipart/form-data`.
    Multipart,
    /// POST, a JSON object.
    Json,
    /// GET, all in the query.
    Query,
}

/// Where tokens stand in an answer.
#[derive(Clone, Copy, Debug)]
pub struct Reply {
    /// The object that holds them, as a JSON pointer; if there is none, the answer itself does.
    pub at: &'static str,
    /// The member with the refresh token's lifetime in seconds.
    pub refresh_lifetime: &'static str,
    /// The member with the scopes: a text, or a list.
    pub scopes: &'static str,
    /// The member with the platform's id of the person, where it is needed later.
    pub subject: Option<&'static str>,
}

impl Reply {
    /// RFC 6749 §5.1.
    pub const STANDARD: Self = Self {
        at: "",
        refresh_lifetime: "refresh_token_expires_in",
        scopes: "scope",
        subject: None,
    };
}

/// How the platform is told that a token is out of use.
#[derive(Clone, Copy, Debug)]
pub struct RevokeCall {
    /// In which form.
    pub form: RevokeForm,
    /// What is presented.
    pub presents: Presents,
    /// The parameter that it is presented in.
    pub token: &'static str,
    /// Whether the client says who it is, in its usual way.
    pub client: bool,
}

impl RevokeCall {
    /// RFC 7009 §2.1.
    pub const STANDARD: Self = Self {
        form: RevokeForm::Form,
        presents: Presents::RefreshToken,
        token: "token",
        client: true,
    };
}

/// The form of a revocation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RevokeForm {
    /// POST of a form.
    Form,
    /// POST of a JSON object.
    Json,
    /// DELETE, the token in the query.
    Delete,
}

/// What a revocation presents.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Presents {
    /// The refresh token, or the access token where there is no other.
    RefreshToken,
    /// The access token.
    AccessToken,
    /// The client's own token: `{id}|{secret}`.
    AppToken,
}

/// How something is read with an access token.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// Where the token goes.
    pub token: TokenPlace,
    /// More headers; `{version}` stands for the version of the vendor's API.
    pub headers: &'static [(&'static str, &'static str)],
    /// The query parameter with the platform's id of the person, where one is due.
    pub subject: Option<&'static str>,
    /// Members of the query's `fields` that need a scope, and that scope: an answer without it is a refusal.
    pub scoped_fields: &'static [(&'static str, &'static str)],
}

impl Ask {
    /// RFC 6750 §2.1.
    pub const STANDARD: Self =
        Self { token: TokenPlace::Bearer, headers: &[], subject: None, scoped_fields: &[] };
}

/// Where an access token goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenPlace {
    /// `Authorization: Bearer`.
    Bearer,
    /// A header of its own, the token alone.
    Header(&'static str),
    /// A parameter of the query.
    Query(&'static str),
}

/// What a consent connects.
#[derive(Clone, Copy, Debug)]
pub enum Accounts {
    /// The person who consented.
    Holder,
    /// What the person may choose from: pages, organisations, channels.
    Listed(&'static Listing),
}

/// How to read what a person may choose from.
#[derive(Clone, Copy, Debug)]
pub struct Listing {
    /// How it is asked for.
    pub ask: Ask,
    /// The list, as a JSON pointer.
    pub items: &'static str,
    /// Where the identity stands in an item.
    pub mapping: IdentityMapping<&'static str>,
    /// Where an item's own access token stands, if it has one: such an account lives by that.
    pub token: Option<&'static str>,
    /// What an item must have to be of use.
    pub demands: &'static [Demand],
    /// How a long list goes on.
    pub paging: Paging,
    /// How the platform says whether an account's own token still works.
    pub inspection: Option<Inspection>,
}

/// What an item must have.
#[derive(Clone, Copy, Debug)]
pub struct Demand {
    /// Where, as a JSON pointer: a text, or a list of texts.
    pub at: &'static str,
    /// One of these; empty: anything.
    pub any_of: &'static [&'static str],
    /// Why it is of no use otherwise, as a code.
    pub otherwise: &'static str,
}

/// How a long list goes on.
#[derive(Clone, Copy, Debug)]
pub enum Paging {
    /// The next page is named by the answer at `cursor`, while there is something at `more`.
    Cursor {
        /// The query parameter.
        parameter: &'static str,
        /// Where the cursor stands.
        cursor: &'static str,
        /// What is there only if there is more.
        more: &'static str,
    },
    /// By how many have been read, until fewer than a page come.
    Offset {
        /// The query parameter.
        parameter: &'static str,
        /// How many make a page.
        page: usize,
    },
}

/// How an account's own token is looked after.
#[derive(Clone, Copy, Debug)]
pub struct Inspection {
    /// How often.
    pub every: Duration,
    /// The query parameter with the token that is asked about.
    pub token: &'static str,
}

/// What says how long to wait.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RateLimit {
    /// A header with the end of the window: in Unix seconds, or, if that would be long ago, in seconds
    /// from now.
    Reset(&'static str),
    /// Meta's `X-Business-Use-Case-Usage`: JSON, with minutes.
    MetaUsage,
}
