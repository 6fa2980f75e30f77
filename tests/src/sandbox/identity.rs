//! `GET /userinfo`: whose access token it is, and the picture that the answer points to.

use std::sync::Arc;

use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::answer::Answer;
use super::authorize::is_user_name;
use super::call::{self, Call};
use super::dialect::STANDARD;
use super::faults::Endpoint;
use super::ledger::Kind;
use super::state::Shared;
use crate::loopback::OnLink;

pub(super) async fn userinfo(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(link): OnLink,
    headers: HeaderMap,
) -> Response {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(token) = value.and_then(|value| value.strip_prefix("Bearer ")) else {
        return (
            StatusCode::UNAUTHORIZED,
            [(header::WWW_AUTHENTICATE, r#"Bearer realm="sandbox""#)],
        )
            .into_response();
    };
    let call = Call::new(Endpoint::Userinfo, token, &STANDARD);
    call::run(&shared, &link, call, |books, note| {
        match books.store.access(token, &STANDARD, note.at) {
            Ok(access) => {
                let profile = profile(&access.user, &shared.url);
                note.say(books, Kind::Identity, Answer::ok(profile))
            }
            Err(_) => note.say(books, Kind::IdentityRefused, Answer::invalid_token()),
        }
    })
    .await
}

const NUMBER_BASE: u64 = 9_007_199_254_740_993;

fn profile(user: &str, url: &str) -> Value {
    json!({
        "sub": format!("sbx-user-{user}"),
        "preferred_username": user,
        "name": display_name(user),
        "picture": format!("{url}/pictures/{user}"),
        // For those who look for it where the standard does not: beyond what a double can hold.
        "account": { "number": NUMBER_BASE + user.bytes().map(u64::from).sum::<u64>(), "handle": user },
    })
}

/// `sam` is Sam.
pub(super) fn display_name(user: &str) -> String {
    let mut letters = user.chars();
    letters
        .next()
        .map_or(String::new(), |first| format!("{}{}", first.to_uppercase(), letters.as_str()))
}

/// The person's first letter on a disc.
pub(super) async fn picture(Path(user): Path<String>) -> Response {
    if !is_user_name(&user) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let letter = display_name(&user).chars().next().unwrap_or_default();
    let svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 96 96"><circle cx="48" cy="48" r="48" fill="#3b5bdb"/><text x="48" y="62" text-anchor="middle" font-family="system-ui,sans-serif" font-size="40" fill="#fff">{letter}</text></svg>"##
    );
    ([(header::CONTENT_TYPE, "image/svg+xml")], svg).into_response()
}
