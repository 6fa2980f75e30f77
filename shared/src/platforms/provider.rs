//! A section that describes a provider of its own: any standard OAuth 2.0 or OpenID Connect server.
//!
//! Where an operator says nothing, what cannot lose an account holds: tokens are taken to rotate and
//! a revocation to end everything of the person.

use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;

use super::endpoints::{self, EndpointSource, Given};
use super::section::Section;
use super::{
    ClientAuth, Flow, IdentityMapping, OperatorClient, Pkce, Platform, Quirks, Reach, RefreshModel,
};

/// What Latchkey says itself at the authorize URL (RFC 6749 §4.1.1, RFC 7636 §4.3); another response
/// mode would not lead back to the callback.
pub(super) const AUTHORIZE_RESERVED: &[&str] = &[
    "response_type",
    "response_mode",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "code_challenge",
    "code_challenge_method",
];
/// What Latchkey says itself at the token endpoint (RFC 6749 §2.3.1, §4.1.3 and §6).
const TOKEN_RESERVED: &[&str] = &[
    "grant_type",
    "code",
    "redirect_uri",
    "code_verifier",
    "refresh_token",
    "client_id",
    "client_secret",
];

/// The key of a section that names no client of the operator.
pub(super) const OWN_APPS_ONLY: &str = "own_apps_only";

/// Whether a provider may be called so: the id stands in addresses, metrics and rows.
pub(super) fn is_id(id: &str) -> bool {
    let part = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=64).contains(&id.len())
        && id.bytes().all(part)
        && id.starts_with(|first: char| first.is_ascii_uppercase())
}

/// Reads the section; `None` when it has problems, which are noted there.
pub(super) fn read(id: &str, section: &mut Section<'_>) -> Option<Platform> {
    let name = section.need_text("name", "say what people call the provider");
    let has_issuer = section.has("issuer");
    let issuer = issuer(section);
    let given = given(section, has_issuer);
    let client = client(section);
    let client_auth = section.take("client_authentication", "must be \"basic\" or \"body\"");
    let pkce = section.take("pkce", "must be true or false");
    section.require("scopes", "list what to ask for; [] if the provider has no scopes");
    let scopes = section.scopes("scopes");
    let separator = separator(section);
    let authorize_parameters = section.parameters("authorize_parameters", AUTHORIZE_RESERVED);
    let token_parameters = section.parameters("token_parameters", TOKEN_RESERVED);
    let token_lifetime = section.seconds("token_lifetime_seconds").map(Duration::from_secs);
    let refresh = refresh(section, RefreshModel::rotating(0));
    let refresh_spacing = refresh_spacing(section, Quirks::STANDARD.refresh_spacing);
    let daily_look = daily_look(section);
    let dead_errors = dead_errors(section);
    let reach = section.take("revocation_reach", "must be \"token\", \"grant\" or \"person\"");
    let identity_mapping =
        section.inner("userinfo", mapping).unwrap_or(IdentityMapping::OPENID.owned());
    Some(Platform {
        id: id.to_owned(),
        name: name?,
        flow: Flow::AuthorizationCode,
        version: String::new(),
        endpoints: EndpointSource::new(given, issuer.as_ref())?,
        issuer,
        reach: reach.unwrap_or(Reach::Person),
        client_auth: client_auth.unwrap_or(ClientAuth::Basic),
        pkce: if pkce.unwrap_or(true) { Pkce::S256 } else { Pkce::None },
        scope_separator: separator.map_or(Cow::Borrowed(" "), Cow::Owned),
        default_scopes: scopes?,
        authorize_parameters,
        token_parameters,
        token_lifetime,
        refresh,
        refresh_spacing,
        daily_look,
        dead_errors,
        identity_mapping,
        quirks: &Quirks::STANDARD,
        directory: None,
        client: client?,
    })
}

/// The operator's client, unless the section says that there is none.
#[expect(clippy::option_option, reason = "the outer one is a problem that was noted")]
pub(super) fn client(section: &mut Section<'_>) -> Option<Option<OperatorClient>> {
    if section.take(OWN_APPS_ONLY, "must be true or false") == Some(true) {
        return Some(None);
    }
    let id = section.need_text("client_id", "give the id of your OAuth client there");
    let secret = section.secret("client_secret");
    Some(Some(OperatorClient { id: id?, secret: secret? }))
}

fn separator(section: &mut Section<'_>) -> Option<String> {
    const FORM: &str = "must be what stands between two scopes, such as \",\"";
    let separator: String = section.take("scope_separator", FORM)?;
    if separator.is_empty() {
        section.wrong("scope_separator", FORM);
    }
    (!separator.is_empty()).then_some(separator)
}

/// An issuer to the letter: RFC 8414 §2, and on loopback http too.
fn issuer(section: &mut Section<'_>) -> Option<String> {
    let issuer: String = section.take("issuer", "must be a URL in quotes")?;
    match endpoints::check(&issuer) {
        Ok(url) if url.query().is_none() => return Some(issuer),
        Ok(_) => section.wrong("issuer", "must have no query"),
        Err(what) => section.wrong("issuer", what),
    }
    None
}

/// The endpoints: all of them, unless there is an issuer to say what is left out.
fn given(section: &mut Section<'_>, has_issuer: bool) -> Given {
    for key in ["authorize_url", "token_url", "userinfo_url"] {
        if !has_issuer {
            section.require(key, "give it, or an `issuer` to discover it from");
        }
    }
    if !has_issuer && section.has("revocation_reach") && !section.has("revoke_url") {
        section
            .wrong("revocation_reach", "says what `revoke_url` ends: give that, too, or neither");
    }
    if !has_issuer && section.has("iss_required") {
        section.wrong("iss_required", "needs an `issuer` to compare with");
    }
    let mut given = Given::read(section);
    given.iss_required = section.take("iss_required", "must be true or false").unwrap_or(false);
    given
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Refresh {
    Rotating,
    Stable,
    ReconsentOnly,
}

/// How tokens stay alive: what the operator says, or else what is usual here. A provider that rotates
/// and is taken for one that does not could lose accounts; the other way round, a lost answer only
/// waits longer for its second try.
pub(super) fn refresh(section: &mut Section<'_>, usual: RefreshModel) -> RefreshModel {
    let form = "must be \"rotating\", \"stable\" or \"reconsent_only\"";
    let model = match section.take("refresh", form) {
        None => usual,
        Some(Refresh::Rotating) => RefreshModel::rotating(0),
        Some(Refresh::Stable) => RefreshModel::Stable,
        Some(Refresh::ReconsentOnly) => RefreshModel::ReconsentOnly,
    };
    match section.seconds("rotation_grace_seconds") {
        Some(seconds) if model.rotates() => RefreshModel::rotating(seconds),
        Some(_) => {
            section.wrong("rotation_grace_seconds", "goes with `refresh = \"rotating\"` alone");
            model
        }
        None => model,
    }
}

/// How much time lies between two refreshes of one grant at least.
pub(super) fn refresh_spacing(section: &mut Section<'_>, usual: Duration) -> Duration {
    const KEY: &str = "refresh_spacing_seconds";
    const FORM: &str = "must be a whole number of seconds, from 0 to 3600";
    let given: Option<u64> = section.take(KEY, FORM);
    if given.is_some_and(|seconds| seconds > 3600) {
        section.wrong(KEY, FORM);
    }
    given.map_or(usual, Duration::from_secs)
}

/// Whether each account is looked at once a day.
pub(super) fn daily_look(section: &mut Section<'_>) -> bool {
    section.take("daily_look", "must be true or false").unwrap_or(true)
}

/// Codes and words by which the platform says that a grant is dead, in lower case.
pub(super) fn dead_errors(section: &mut Section<'_>) -> Vec<String> {
    const KEY: &str = "dead_errors";
    const FORM: &str = "must be a list of up to 50 texts, each of 1 to 100 characters";
    let given: Vec<String> = section.take(KEY, FORM).unwrap_or_default();
    let texts: Vec<String> = given.iter().map(|text| text.trim().to_lowercase()).collect();
    if texts.len() > 50 || texts.iter().any(|text| !(1..=100).contains(&text.chars().count())) {
        section.wrong(KEY, FORM);
    }
    if texts.iter().any(|text| text == "invalid_client") {
        section.wrong(KEY, "must leave out `invalid_client`, which speaks of your client alone");
    }
    texts
}

fn mapping(section: &mut Section<'_>) -> IdentityMapping {
    let usual = IdentityMapping::OPENID.owned();
    IdentityMapping {
        id: pointer(section, "id").unwrap_or(usual.id),
        username: pointer(section, "username").or(usual.username),
        display_name: pointer(section, "display_name").or(usual.display_name),
        avatar_url: pointer(section, "avatar_url").or(usual.avatar_url),
    }
}

fn pointer(section: &mut Section<'_>, key: &'static str) -> Option<String> {
    const FORM: &str = "must be a JSON pointer into the provider's answer, such as \"/data/id\"";
    let pointer: String = section.take(key, FORM)?;
    let good = pointer.starts_with('/');
    if !good {
        section.wrong(key, FORM);
    }
    good.then_some(pointer)
}
