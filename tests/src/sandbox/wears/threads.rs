//! Threads: as Instagram, with hosts, names and a client of its own, and a flat answer to the code.
//! <https://developers.facebook.com/docs/threads/get-started/get-access-tokens-and-permissions>

use std::sync::Arc;

use axum::Router;
use axum::response::Response;
use axum::routing::{delete, get, post};
use serde_json::json;

use super::asked::Asked;
use super::authorize::consent_page;
use super::{Vendor, meta, person};
use crate::sandbox::answer::Answer;
use crate::sandbox::dialect::Dialect;
use crate::sandbox::family::Issue;
use crate::sandbox::faults::Endpoint;
use crate::sandbox::ledger::Kind;
use crate::sandbox::state::Shared;

static VENDOR: Vendor = meta::vendor("THREADS");
static LOGIN: Dialect = meta::login("THREADS");
static GRAPH: Dialect = meta::graph("THREADS");

pub(super) fn routes() -> Router<Arc<Shared>> {
    consent_page("/www.threads.com/oauth/authorize", &VENDOR)
        .route("/graph.threads.net/oauth/access_token", post(token))
        .route("/graph.threads.net/access_token", get(swap))
        .route("/graph.threads.net/refresh_access_token", get(refresh))
        .route("/graph.threads.net/{version}/me", get(me))
        .route("/graph.threads.net/{version}/me/permissions", delete(permissions))
}

async fn token(asked: Asked) -> Result<Response, Answer> {
    meta::exchange(&asked, &LOGIN, short_lived).await
}

fn short_lived(issue: &Issue) -> Answer {
    let user_id = person::number(&issue.user);
    Answer::ok(json!({ "access_token": issue.access, "user_id": user_id }))
}

async fn swap(asked: Asked) -> Result<Response, Answer> {
    meta::swap(&asked, &GRAPH, "th_exchange_token").await
}

async fn refresh(asked: Asked) -> Result<Response, Answer> {
    meta::prolong(&asked, &GRAPH, "th_refresh_token").await
}

async fn me(asked: Asked) -> Response {
    let fields = asked.query.get("fields").unwrap_or_default();
    let token = asked.query.get("access_token").unwrap_or_default();
    asked
        .read(&GRAPH, (Endpoint::Userinfo, Kind::Identity), token, |_, access| {
            let user = json!({
                "id": person::number(&access.user).to_string(),
                "username": access.user,
                "name": person::name(&access.user),
                "threads_profile_picture_url": person::picture(&asked.shared.url, &access.user),
            });
            Answer::ok(person::only(user, fields, &["id"]))
        })
        .await
}

async fn permissions(asked: Asked) -> Response {
    meta::delete_permissions(&asked, &GRAPH).await
}
