//! Everybody's personal data server (lexicons `com.atproto.server.*` and `app.bsky.actor.getProfile`).

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::json;

use super::accounts::{Refreshed, Tokens};
use super::directory::did_document;
use super::{DIALECT, Refusal, people, refusal};
use crate::loopback::OnLink;
use crate::sandbox::answer::Answer;
use crate::sandbox::call::{self, Call, Note};
use crate::sandbox::faults::Endpoint;
use crate::sandbox::identity::display_name;
use crate::sandbox::ledger::{Kind, LedgerEntry, fingerprint};
use crate::sandbox::state::{Books, Shared};

const NOT_JSON: Refusal =
    refusal(400, "InvalidRequest", "Input must have the property \"password\" and \"identifier\"");
const NO_TOKEN: Refusal = refusal(401, "AuthMissing", "Authentication Required");
const NO_PROFILE: Refusal = refusal(400, "InvalidRequest", "Profile not found");

#[derive(Deserialize)]
struct Credentials {
    identifier: String,
    password: String,
}

pub(super) async fn create_session(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(link): OnLink,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_json = content_type.is_some_and(|value| value.starts_with("application/json"));
    let given = serde_json::from_slice(&body).ok().filter(|_| is_json);
    let Some(Credentials { identifier, password }) = given else {
        return NOT_JSON.answer().into_response();
    };
    let user = shared.books().bluesky.user(&identifier);
    let call = Call { user: user.clone(), ..Call::new(Endpoint::TokenCode, password, &DIALECT) };
    call::run(&shared, &link, call, |books, note| {
        match books.bluesky.log_in(user.as_deref(), note.presented(), note.at) {
            Ok(tokens) => answer(&shared, books, note, (Kind::CodeExchanged, &tokens)),
            Err(refusal) => refuse(books, note, Kind::CodeRefused, refusal),
        }
    })
    .await
}

pub(super) async fn refresh_session(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(link): OnLink,
    headers: HeaderMap,
) -> Response {
    let Some(presented) = bearer(&headers) else {
        return NO_TOKEN.answer().into_response();
    };
    let call = Call::new(Endpoint::TokenRefresh, presented, &DIALECT);
    call::run(&shared, &link, call, |books, note| {
        match books.bluesky.refresh(note.presented(), note.at) {
            Ok(Refreshed::Rotated(tokens)) => {
                answer(&shared, books, note, (Kind::Refreshed, &tokens))
            }
            Ok(Refreshed::Replayed(tokens)) => {
                answer(&shared, books, note, (Kind::RefreshReplayed, &tokens))
            }
            Err(refusal) => refuse(books, note, Kind::RefreshRefused, refusal),
        }
    })
    .await
}

pub(super) async fn delete_session(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(link): OnLink,
    headers: HeaderMap,
) -> Response {
    let Some(presented) = bearer(&headers) else {
        return NO_TOKEN.answer().into_response();
    };
    let call = Call::new(Endpoint::Revoke, presented, &DIALECT);
    call::run(&shared, &link, call, |books, note| match books.bluesky.delete(note.presented()) {
        Ok(ended) => {
            let answer = Answer::empty();
            books.ledger.append(note.entry(Kind::Revoked, answer.outcome()));
            if let Some(ending) = ended {
                books.ledger.append(note.ended(ending, answer.outcome()));
            }
            answer
        }
        Err(refusal) => refuse(books, note, Kind::RevokeIgnored, refusal),
    })
    .await
}

#[derive(Deserialize)]
pub(super) struct Actor {
    #[serde(default)]
    actor: String,
}

pub(super) async fn profile(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(link): OnLink,
    Query(Actor { actor }): Query<Actor>,
    headers: HeaderMap,
) -> Response {
    let Some(presented) = bearer(&headers) else {
        return NO_TOKEN.answer().into_response();
    };
    let call = Call::new(Endpoint::Userinfo, presented, &DIALECT);
    call::run(&shared, &link, call, |books, note| {
        if let Err(refusal) = books.bluesky.identify(note.presented(), note.at) {
            return refuse(books, note, Kind::IdentityRefused, refusal);
        }
        let Some(user) = books.bluesky.user(&actor) else {
            return refuse(books, note, Kind::IdentityRefused, NO_PROFILE);
        };
        let user = people::pretends(&user);
        let answer = Answer::ok(json!({
            "did": people::did(user),
            "handle": people::handle(user),
            "displayName": display_name(user),
            "avatar": format!("{}/pictures/{user}", shared.url),
        }));
        books.ledger.append(note.entry(Kind::Identity, answer.outcome()));
        answer
    })
    .await
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    value.strip_prefix("Bearer ").map(str::to_owned)
}

/// Writes down a pair, and answers it.
fn answer(
    shared: &Shared,
    books: &mut Books,
    note: &Note,
    (kind, tokens): (Kind, &Tokens),
) -> Answer {
    let status = people::status(&tokens.user);
    let mut body = json!({
        "did": people::did(&tokens.user),
        "didDoc": did_document(&tokens.user, &shared.url),
        "handle": people::handle(&tokens.user),
        "email": format!("{}@example.com", tokens.user),
        "emailConfirmed": true,
        "emailAuthFactor": people::has_second_factor(&tokens.user),
        "accessJwt": tokens.access,
        "refreshJwt": tokens.refresh,
        "active": status.is_none(),
    });
    if let Some(status) = status {
        body["status"] = json!(status);
    }
    let answer = Answer::ok(body);
    books.ledger.append(LedgerEntry {
        family: Some(tokens.family.clone()),
        generation: Some(tokens.generation),
        issued: vec![fingerprint(&tokens.access), fingerprint(&tokens.refresh)],
        ..note.entry(kind, answer.outcome())
    });
    answer
}

fn refuse(books: &mut Books, note: &Note, kind: Kind, refusal: Refusal) -> Answer {
    let answer = refusal.answer();
    books.ledger.append(note.entry(kind, answer.outcome()));
    answer
}
