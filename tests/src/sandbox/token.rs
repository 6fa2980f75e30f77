//! `POST /token`: codes and refresh tokens become pairs (RFC 6749 §4.1.3 and §6).

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{ConnectInfo, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::answer::Answer;
use super::call::{self, Call, Note};
use super::client;
use super::config::Rotation;
use super::dialect::STANDARD;
use super::family::Issue;
use super::faults::Endpoint;
use super::ledger::Kind;
use super::params::Params;
use super::state::{Books, Shared};
use super::store::{Redeem, Refreshed};
use crate::loopback::{Link, OnLink};

pub(super) async fn token(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(link): OnLink,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (client, params) = match client::authenticated(&shared, &headers, &body) {
        Ok(known) => known,
        Err(refusal) => return refusal.into_response(),
    };
    let mut demanded = shared.config.token_parameters.iter();
    if let Some((name, _)) = demanded.find(|(name, value)| params.get(name) != Some(value.as_str()))
    {
        return missing(name);
    }
    match params.get("grant_type") {
        Some("authorization_code") => code(&shared, &link, (&client, &params)).await,
        Some("refresh_token") => refresh_token(&shared, &link, (&client, &params)).await,
        Some(_) => Answer::refused("unsupported_grant_type", "not offered here").into_response(),
        None => missing("grant_type"),
    }
}

async fn code(shared: &Arc<Shared>, link: &Link, (client, params): (&str, &Params)) -> Response {
    let Some(code) = params.get("code") else {
        return missing("code");
    };
    let Some(redirect_uri) = params.get("redirect_uri") else {
        return missing("redirect_uri");
    };
    let verifier = params.get("code_verifier").unwrap_or_default();
    if verifier.is_empty() && shared.config.requires_pkce {
        return missing("code_verifier");
    }
    let redeem = Redeem { code, redirect_uri, verifier };
    let call = Call::new(Endpoint::TokenCode, code, &STANDARD);
    call::run(shared, link, call, |books, note| {
        if let Err(refused) = books.store.is_of(code, client, &STANDARD) {
            return note.refuse(books, Kind::CodeRefused, &refused);
        }
        match books.store.redeem(&redeem, &STANDARD, note.at) {
            Ok(issue) => {
                let answer = answer(books, note, Kind::CodeExchanged, &issue);
                match id_token(shared) {
                    Some(id_token) => answer.with("id_token", &id_token),
                    None => answer,
                }
            }
            Err(refused) => note.refuse(books, Kind::CodeRefused, &refused),
        }
    })
    .await
}

async fn refresh_token(
    shared: &Arc<Shared>,
    link: &Link,
    (client, params): (&str, &Params),
) -> Response {
    let Some(token) = params.get("refresh_token") else {
        return missing("refresh_token");
    };
    let call = Call::new(Endpoint::TokenRefresh, token, &STANDARD);
    call::run(shared, link, call, |books, note| {
        if let Err(refused) = books.store.is_of(token, client, &STANDARD) {
            return note.refuse(books, Kind::RefreshRefused, &refused);
        }
        let rotation = match note.keeps_refresh_token() {
            true => Rotation::Stable,
            false => shared.config.rotation,
        };
        match books.store.refresh(token, rotation, note.at) {
            Ok(Refreshed::Rotated(issue)) => answer(books, note, Kind::Refreshed, &issue),
            Ok(Refreshed::Replayed(issue)) => answer(books, note, Kind::RefreshReplayed, &issue),
            Err(refused) => note.refuse(books, Kind::RefreshRefused, &refused),
        }
    })
    .await
}

fn answer(books: &mut Books, note: &Note, kind: Kind, issue: &Issue) -> Answer {
    let mut body = json!({
        "access_token": issue.access,
        "token_type": "Bearer",
        "expires_in": issue.access_secs(note.at),
        "scope": issue.scope,
    });
    if let Some(refresh) = &issue.refresh {
        body["refresh_token"] = json!(refresh);
    }
    if let Some(seconds) = issue.refresh_secs(note.at) {
        body["refresh_token_expires_in"] = json!(seconds);
    }
    note.issue(books, kind, issue, Answer::ok(body))
}

/// Who takes its word connects the wrong person.
fn id_token(shared: &Shared) -> Option<String> {
    let subject = shared.config.id_token_subject.as_ref()?;
    let claims = json!({ "iss": shared.url, "aud": shared.config.client_id, "sub": subject });
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    Some(format!("{}.{}.", part(json!({ "alg": "none" })), part(claims)))
}

fn missing(name: &str) -> Response {
    Answer::refused("invalid_request", &format!("{name} is missing")).into_response()
}
