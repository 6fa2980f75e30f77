//! Instagram with its own login: the code's answer has its tokens in a list and does not say how long
//! they live, and ids are numbers that no double can hold.
//! <https://developers.facebook.com/docs/instagram-platform/instagram-api-with-instagram-login/business-login>

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

static VENDOR: Vendor = meta::vendor("INSTAGRAM");
static LOGIN: Dialect = meta::login("INSTAGRAM");
static GRAPH: Dialect = meta::graph("INSTAGRAM");

pub(super) fn routes() -> Router<Arc<Shared>> {
    consent_page("/www.instagram.com/oauth/authorize", &VENDOR)
        .route("/api.instagram.com/oauth/access_token", post(token))
        .route("/graph.instagram.com/access_token", get(swap))
        .route("/graph.instagram.com/refresh_access_token", get(refresh))
        .route("/graph.instagram.com/{version}/me", get(me))
        .route("/graph.instagram.com/{version}/me/permissions", delete(permissions))
}

async fn token(asked: Asked) -> Result<Response, Answer> {
    let flat = asked.shared.config.instagram_flat;
    meta::exchange(&asked, &LOGIN, |issue| short_lived(issue, flat)).await
}

fn short_lived(issue: &Issue, flat: bool) -> Answer {
    let tokens = json!({
        "access_token": issue.access,
        "user_id": person::number(&issue.user),
        "permissions": issue.scope.replace(' ', ","),
    });
    Answer::ok(if flat { tokens } else { json!({ "data": [tokens] }) })
}

async fn swap(asked: Asked) -> Result<Response, Answer> {
    meta::swap(&asked, &GRAPH, "ig_exchange_token").await
}

async fn refresh(asked: Asked) -> Result<Response, Answer> {
    meta::prolong(&asked, &GRAPH, "ig_refresh_token").await
}

async fn me(asked: Asked) -> Response {
    let fields = asked.query.get("fields").unwrap_or_default();
    let token = asked.query.get("access_token").unwrap_or_default();
    asked
        .read(&GRAPH, (Endpoint::Userinfo, Kind::Identity), token, |_, access| {
            let user = json!({
                "id": person::number(&format!("{} for {}", access.user, access.client)).to_string(),
                "user_id": person::number(&access.user),
                "username": access.user,
                "name": person::name(&access.user),
                "profile_picture_url": person::picture(&asked.shared.url, &access.user),
            });
            Answer::ok(person::only(user, fields, &["id"]))
        })
        .await
}

async fn permissions(asked: Asked) -> Response {
    meta::delete_permissions(&asked, &GRAPH).await
}
