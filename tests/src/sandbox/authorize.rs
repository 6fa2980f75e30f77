//! `/authorize`: the consent page, and what becomes of the person's decision (RFC 6749 §4.1.1).

use std::sync::Arc;

use askama::Template;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use chrono::TimeDelta;
use url::{Host, Url};

use super::config::{SandboxConfig, delta};
use super::family::{Consent, Proof, RefreshLife, Terms};
use super::ledger::{Kind, LedgerEntry, Outcome, fingerprint};
use super::params::Params;
use super::state::Shared;

/// The parameters that travel through the form.
const CARRIED: [&str; 7] = [
    "response_type",
    "client_id",
    "redirect_uri",
    "state",
    "scope",
    "code_challenge",
    "code_challenge_method",
];

/// The longest lifetime a person can choose: a year.
const LONGEST_SECS: i64 = 366 * 24 * 3600;

#[derive(Template)]
#[template(path = "consent.html")]
pub(super) struct ConsentPage<'a> {
    /// Where the form goes.
    pub(super) action: &'a str,
    /// The platform that is worn, if any.
    pub(super) platform: Option<&'a str>,
    pub(super) client_id: &'a str,
    pub(super) scopes: Vec<&'a str>,
    pub(super) lifetime_secs: u64,
    pub(super) host: &'a str,
    pub(super) carried: Vec<(&'a str, &'a str)>,
}

#[derive(Template)]
#[template(path = "refused.html")]
struct RefusedPage<'a> {
    problem: &'a str,
}

/// Why an authorization request is not shown to the person.
pub(super) enum Refusal {
    /// Nobody can be trusted with the answer: the person is told (RFC 6749 §4.1.2.1).
    Page(String),
    /// The client is told.
    Redirect { error: &'static str, description: String },
}

pub(super) async fn show(State(shared): State<Arc<Shared>>, RawQuery(query): RawQuery) -> Response {
    let params = Params::parse(query.unwrap_or_default().as_bytes());
    if let Err(refusal) = check(&params, &shared) {
        return refuse(&shared, &params, refusal);
    }
    let redirect_uri = redirect_uri(&params);
    page(
        StatusCode::OK,
        &ConsentPage {
            action: "/authorize",
            platform: None,
            client_id: params.get("client_id").unwrap_or_default(),
            scopes: params.get("scope").unwrap_or_default().split_whitespace().collect(),
            lifetime_secs: shared.config.access_lifetime.as_secs(),
            host: redirect_uri.as_ref().and_then(Url::host_str).unwrap_or_default(),
            carried: (CARRIED.iter().chain([&"prompt"]))
                .filter_map(|name| Some((*name, params.get(name)?)))
                .collect(),
        },
    )
}

pub(super) async fn decide(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let params = Params::parse(&body);
    if let Err(refusal) = check(&params, &shared) {
        return refuse(&shared, &params, refusal);
    }
    match params.get("decision") {
        Some("approve") => approve(&shared, &params),
        Some("deny") => deny(&shared, &params),
        _ => refuse(&shared, &params, Refusal::Page("Approve or cancel.".to_owned())),
    }
}

fn approve(shared: &Shared, params: &Params) -> Response {
    let consent = match consent(shared, params) {
        Ok(consent) => consent,
        Err(refusal) => return refuse(shared, params, refusal),
    };
    let user = consent.user.clone();
    let now = shared.now();
    let mut books = shared.books();
    let (code, family) = books.store.consent(consent, now);
    books.ledger.append(LedgerEntry {
        user: Some(user),
        family: Some(family),
        issued: vec![fingerprint(&code)],
        outcome: Outcome { status: Some(303), error: None },
        ..LedgerEntry::new(Kind::Consent, now)
    });
    drop(books);
    answer(shared, params, &[("code", &code)])
}

fn consent(shared: &Shared, params: &Params) -> Result<Consent, Refusal> {
    let (user, lifetime) = person(params)?;
    let text = |name| params.get(name).unwrap_or_default().to_owned();
    let (scope, terms) = offline(shared, params, terms(&shared.config));
    Ok(Consent {
        vendor: None,
        client: text("client_id"),
        user,
        redirect_uri: text("redirect_uri"),
        challenge: text("code_challenge"),
        proof: Proof::Base64Url,
        scope,
        terms: terms.chosen(lifetime),
    })
}

/// The scope as it is answered, and whether there is a refresh token.
fn offline(shared: &Shared, params: &Params, terms: Terms) -> (String, Terms) {
    let scope = params.get("scope").unwrap_or_default();
    if !shared.config.offline_by_consent {
        return (scope.to_owned(), terms);
    }
    let asked =
        |name, wanted| params.get(name).unwrap_or_default().split(' ').any(|one| one == wanted);
    let given = asked("scope", "offline_access") && asked("prompt", "consent");
    let told: Vec<&str> = scope.split(' ').filter(|one| *one != "offline_access").collect();
    let refresh = if given { terms.refresh } else { RefreshLife::Absent };
    (told.join(" "), Terms { refresh, ..terms })
}

/// What the settings say.
fn terms(config: &SandboxConfig) -> Terms {
    let each = |lifetime| RefreshLife::Each(delta(lifetime));
    Terms {
        code: delta(config.code_lifetime),
        access: delta(config.access_lifetime),
        lasting: None,
        refresh: config.refresh_lifetime.map_or(RefreshLife::Endless, each),
    }
}

/// Who decides, and how long the access tokens are to live if it was said.
pub(super) fn person(params: &Params) -> Result<(String, Option<TimeDelta>), Refusal> {
    let user = params.get("user").map(str::trim).filter(|user| is_user_name(user));
    let user = user.ok_or_else(|| {
        let problem = "A user name has up to 64 letters, digits, dots, dashes or underscores.";
        Refusal::Page(problem.to_owned())
    })?;
    let access_lifetime = params.get("access_lifetime").map(lifetime).transpose()?;
    Ok((user.to_owned(), access_lifetime))
}

fn lifetime(text: &str) -> Result<TimeDelta, Refusal> {
    let seconds = text.trim().parse().ok().filter(|seconds| (1..=LONGEST_SECS).contains(seconds));
    seconds.map(TimeDelta::seconds).ok_or_else(|| {
        Refusal::Page("A token's lifetime is a number of seconds from 1 to a year.".to_owned())
    })
}

fn deny(shared: &Shared, params: &Params) -> Response {
    let error = "access_denied";
    shared.books().ledger.append(LedgerEntry {
        user: params.get("user").map(str::to_owned),
        outcome: Outcome { status: Some(303), error: Some(error.to_owned()) },
        ..LedgerEntry::new(Kind::Deny, shared.now())
    });
    answer(shared, params, &[("error", error), ("error_description", "the person declined")])
}

/// Whether a person may be called so: such a name is safe in a URL, a page and a picture.
pub(super) fn is_user_name(text: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_');
    (1..=64).contains(&text.len()) && text.chars().all(plain)
}

fn check(params: &Params, shared: &Shared) -> Result<(), Refusal> {
    let page = |problem: &str| Err(Refusal::Page(problem.to_owned()));
    match params.get("client_id") {
        None => return page("client_id is missing."),
        Some(id) if !shared.books().clients.contains_key(id) => {
            return page("client_id is not known here.");
        }
        Some(_) => {}
    }
    match params.get("redirect_uri") {
        None => return page("redirect_uri is missing."),
        Some(uri) if !is_registered(uri, &shared.config) => {
            return page("redirect_uri is not registered for this client.");
        }
        Some(_) => {}
    }
    let told = |error, description| Err(Refusal::Redirect { error, description });
    if let Some(name) = params.repeated() {
        return told("invalid_request", format!("{name} is given more than once"));
    }
    if params.get("response_type").is_some_and(|kind| kind != "code") {
        return told("unsupported_response_type", "only code is offered".to_owned());
    }
    let proves = shared.config.requires_pkce || params.get("code_challenge").is_some();
    let needed = |name: &&&str| proves || !name.starts_with("code_challenge");
    if let Some(name) = CARRIED.iter().filter(needed).find(|name| params.get(name).is_none()) {
        return told("invalid_request", format!("{name} is missing"));
    }
    if !proves {
        return Ok(());
    }
    if params.get("code_challenge_method") != Some("S256") {
        return told("invalid_request", "code_challenge_method must be S256".to_owned());
    }
    if params.get("code_challenge").map(str::len) != Some(43) {
        return told("invalid_request", "code_challenge is not a SHA-256 in base64url".to_owned());
    }
    Ok(())
}

pub(super) fn is_registered(uri: &str, config: &SandboxConfig) -> bool {
    if !config.redirect_uris.is_empty() {
        return config.redirect_uris.iter().any(|registered| registered == uri);
    }
    let Ok(url) = Url::parse(uri) else {
        return false;
    };
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.fragment().is_none() && (url.scheme() == "https" || (url.scheme() == "http" && loopback))
}

fn refuse(shared: &Shared, params: &Params, refusal: Refusal) -> Response {
    match refusal {
        Refusal::Page(problem) => refused_page(&problem),
        Refusal::Redirect { error, description } => {
            answer(shared, params, &[("error", error), ("error_description", &description)])
        }
    }
}

pub(super) fn refused_page(problem: &str) -> Response {
    page(StatusCode::BAD_REQUEST, &RefusedPage { problem })
}

pub(super) fn redirect_uri(params: &Params) -> Option<Url> {
    params.get("redirect_uri").and_then(|uri| Url::parse(uri).ok())
}

/// Back to the client, with its state and who answers (RFC 9207).
fn answer(shared: &Shared, params: &Params, answer: &[(&str, &str)]) -> Response {
    send_back(params, answer, |url| {
        url.query_pairs_mut().append_pair("iss", &shared.url);
    })
}

/// Back to the client, with its state and whatever is added.
pub(super) fn send_back(
    params: &Params,
    answer: &[(&str, &str)],
    add: impl FnOnce(&mut Url),
) -> Response {
    let Some(mut url) = redirect_uri(params) else {
        return refused_page("redirect_uri is not a URL.");
    };
    url.query_pairs_mut()
        .extend_pairs(answer)
        .extend_pairs(params.get("state").map(|state| ("state", state)));
    add(&mut url);
    let headers = [
        (header::LOCATION, url.as_str()),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (StatusCode::SEE_OTHER, headers).into_response()
}

pub(super) fn page(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => (status, [(header::CACHE_CONTROL, "no-store")], Html(html)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page cannot be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
