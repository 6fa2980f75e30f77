//! `POST /revoke` (RFC 7009): a refresh token ends its family, an access token only itself.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{ConnectInfo, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::answer::Answer;
use super::call::{self, Call, Note};
use super::client;
use super::dialect::STANDARD;
use super::faults::Endpoint;
use super::ledger::Kind;
use super::state::{Books, Shared};
use crate::loopback::OnLink;

pub(super) async fn revoke(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(link): OnLink,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (_, params) = match client::authenticated(&shared, &headers, &body) {
        Ok(known) => known,
        Err(refusal) => return refusal.into_response(),
    };
    let Some(token) = params.get("token") else {
        return Answer::refused("invalid_request", "token is missing").into_response();
    };
    let call = Call::new(Endpoint::Revoke, token, &STANDARD);
    call::run(&shared, &link, call, take_effect).await
}

/// A token that is unknown or already dead is as revoked as one can wish (RFC 7009 §2.2).
fn take_effect(books: &mut Books, note: &Note) -> Answer {
    let answer = Answer::ok(json!({}));
    let Some((_, ended)) = books.store.revoke(note.presented()) else {
        return note.say(books, Kind::RevokeIgnored, answer);
    };
    books.ledger.append(note.entry(Kind::Revoked, answer.outcome()));
    if let Some(ending) = ended {
        books.ledger.append(note.ended(ending, answer.outcome()));
    }
    answer
}
