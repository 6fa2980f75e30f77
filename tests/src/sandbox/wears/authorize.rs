//! The vendors' consent pages: one page, which wants and gives what each [`Vendor`] says.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use url::Url;

use super::asked::Asked;
use super::{Asking, Pkce, Separator, Vendor};
use crate::sandbox::authorize::{
    ConsentPage, Refusal, is_registered, page, person, redirect_uri, refused_page, send_back,
};
use crate::sandbox::family::{Consent, Proof};
use crate::sandbox::ledger::{Kind, LedgerEntry, Outcome, fingerprint};
use crate::sandbox::params::Params;
use crate::sandbox::state::Shared;
use crate::sandbox::store::Ended;

/// What the form adds to the parameters of the request.
const DECISION: [&str; 3] = ["user", "decision", "access_lifetime"];

/// A vendor's consent page, at its path.
pub(super) fn consent_page(path: &str, vendor: &'static Vendor) -> Router<Arc<Shared>> {
    let show = async move |asked: Asked| show(vendor, &asked);
    let decide = async move |asked: Asked| decide(vendor, &asked);
    Router::new().route(path, get(show).post(decide))
}

/// A request that may be shown to the person.
struct Request {
    /// Separated by spaces.
    scope: String,
    /// Empty without PKCE.
    challenge: String,
}

fn show(vendor: &Vendor, asked: &Asked) -> Response {
    let params = &asked.query;
    let request = match check(vendor, params, &asked.shared) {
        Ok(request) => request,
        Err(refusal) => return refuse(params, refusal),
    };
    let carried = params.all().iter().filter(|(name, _)| !DECISION.contains(&name.as_str()));
    let redirect_uri = redirect_uri(params);
    page(
        StatusCode::OK,
        &ConsentPage {
            action: &asked.path,
            platform: Some(vendor.name),
            client_id: params.get(vendor.client).unwrap_or_default(),
            scopes: request.scope.split(' ').collect(),
            lifetime_secs: asked.shared.config.access_lifetime.as_secs(),
            host: redirect_uri.as_ref().and_then(Url::host_str).unwrap_or_default(),
            carried: carried.map(|(name, value)| (name.as_str(), value.as_str())).collect(),
        },
    )
}

fn decide(vendor: &'static Vendor, asked: &Asked) -> Response {
    let params = Params::parse(&asked.body);
    let decided =
        check(vendor, &params, &asked.shared).and_then(|request| match params.get("decision") {
            Some("approve") => approve(vendor, &asked.shared, &params, request),
            Some("deny") => Ok(deny(vendor, &asked.shared, &params)),
            _ => Err(Refusal::Page("Approve or cancel.".to_owned())),
        });
    decided.unwrap_or_else(|refusal| refuse(&params, refusal))
}

fn approve(
    vendor: &'static Vendor,
    shared: &Shared,
    params: &Params,
    request: Request,
) -> Result<Response, Refusal> {
    let (user, lifetime) = person(params)?;
    let text = |name| params.get(name).unwrap_or_default().to_owned();
    let client = text(vendor.client);
    let now = shared.now();
    let mut books = shared.books();
    let again = books.store.has_consented(&user, &client, vendor.name);
    let terms =
        (vendor.terms)(&Asking { params, scope: &request.scope, again, config: &shared.config });
    let consent = Consent {
        vendor: Some(vendor.name),
        client,
        user: user.clone(),
        redirect_uri: text("redirect_uri"),
        challenge: request.challenge,
        proof: if vendor.pkce == Pkce::OptionalHex { Proof::Hex } else { Proof::Base64Url },
        scope: request.scope.clone(),
        terms: terms.chosen(lifetime),
    };
    let forgotten = match vendor.forgets_other_scopes {
        true => books.store.forget_other_scopes(&consent),
        false => Vec::new(),
    };
    let (code, family) = books.store.consent(consent, now);
    let entry = |kind| LedgerEntry {
        platform: Some(vendor.name.to_owned()),
        user: Some(user.clone()),
        ..LedgerEntry::new(kind, now)
    };
    books.ledger.append(LedgerEntry {
        family: Some(family),
        issued: vec![fingerprint(&code)],
        outcome: Outcome { status: Some(303), error: None },
        ..entry(Kind::Consent)
    });
    for Ended { family, why, .. } in forgotten {
        let (family, reason) = (Some(family), Some(why));
        books.ledger.append(LedgerEntry { family, reason, ..entry(Kind::FamilyRevoked) });
    }
    drop(books);
    Ok(send_code(vendor, params, &code))
}

fn send_code(vendor: &Vendor, params: &Params, code: &str) -> Response {
    send_back(params, &[("code", code)], |url| {
        if let Some(name) = vendor.repeats_scopes_as {
            url.query_pairs_mut().append_pair(name, params.get("scope").unwrap_or_default());
        }
        url.set_fragment(vendor.fragment);
    })
}

fn deny(vendor: &Vendor, shared: &Shared, params: &Params) -> Response {
    let error = vendor.cancelled.first().map(|(_, error)| (*error).to_owned());
    shared.books().ledger.append(LedgerEntry {
        platform: Some(vendor.name.to_owned()),
        user: params.get("user").map(str::to_owned),
        outcome: Outcome { status: Some(303), error },
        ..LedgerEntry::new(Kind::Deny, shared.now())
    });
    send_back(params, vendor.cancelled, |_| {})
}

fn check(vendor: &Vendor, params: &Params, shared: &Shared) -> Result<Request, Refusal> {
    let page = |problem: String| Err(Refusal::Page(problem));
    if let Some(name) = params.repeated() {
        return page(format!("{name} is given more than once."));
    }
    if vendor.client != "client_id" && params.get("client_id").is_some() {
        return page(format!("The client is named by {}, not by client_id.", vendor.client));
    }
    for name in [vendor.client, "redirect_uri", "response_type", "scope"] {
        if params.get(name).is_none() {
            return page(format!("{name} is missing."));
        }
    }
    let text = |name| params.get(name).unwrap_or_default();
    match () {
        () if !shared.books().clients.contains_key(text(vendor.client)) => {
            page(format!("{} is not known here.", vendor.client))
        }
        () if !is_registered(text("redirect_uri"), &shared.config) => {
            page("redirect_uri is not registered for this client.".to_owned())
        }
        () if text("response_type") != "code" => page("response_type must be code.".to_owned()),
        () if text("state").chars().count() > vendor.longest_state => {
            page(format!("state is longer than {} characters.", vendor.longest_state))
        }
        () => Ok(Request {
            scope: scope(vendor.separator, text("scope"))?,
            challenge: challenge(vendor.pkce, params)?,
        }),
    }
}

fn scope(separator: Separator, text: &str) -> Result<String, Refusal> {
    let (allowed, name) = match separator {
        Separator::Space => (" ", "spaces"),
        Separator::Comma => (",", "commas"),
        Separator::Either => (" ,", "commas or spaces"),
    };
    let is_separator = |letter: char| letter == ',' || letter.is_whitespace();
    if text.chars().any(|letter| is_separator(letter) && !allowed.contains(letter)) {
        return Err(Refusal::Page(format!("scope must be separated by {name}.")));
    }
    let scopes: Vec<&str> = text.split(is_separator).filter(|scope| !scope.is_empty()).collect();
    Ok(scopes.join(" "))
}

/// The challenge to prove, none being empty.
fn challenge(pkce: Pkce, params: &Params) -> Result<String, Refusal> {
    let page = |problem: &str| Err(Refusal::Page(problem.to_owned()));
    let Some(challenge) = params.get("code_challenge") else {
        return match pkce {
            Pkce::Required => page("code_challenge is missing."),
            _ => Ok(String::new()),
        };
    };
    let is_hex = |letter: char| matches!(letter, '0'..='9' | 'a'..='f');
    match pkce {
        Pkce::Ignored => Ok(String::new()),
        Pkce::Refused => Err(Refusal::Redirect {
            error: "invalid_request",
            description: "code_challenge is not offered here".to_owned(),
        }),
        _ if params.get("code_challenge_method") != Some("S256") => {
            page("code_challenge_method must be S256.")
        }
        Pkce::OptionalHex if challenge.len() == 64 && challenge.chars().all(is_hex) => {
            Ok(challenge.to_owned())
        }
        Pkce::OptionalHex => page("code_challenge is not a SHA-256 in hexadecimal."),
        _ if challenge.len() == 43 => Ok(challenge.to_owned()),
        _ => page("code_challenge is not a SHA-256 in base64url."),
    }
}

fn refuse(params: &Params, refusal: Refusal) -> Response {
    match refusal {
        Refusal::Page(problem) => refused_page(&problem),
        Refusal::Redirect { error, description } => {
            let answer = [("error", error), ("error_description", description.as_str())];
            send_back(params, &answer, |_| {})
        }
    }
}
