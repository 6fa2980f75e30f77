//! TikTok's API for Business: JSON both ways, codes are called `auth_code`, and whatever goes wrong comes
//! with HTTP 200 in an envelope.
//! <https://business-api.tiktok.com/portal/docs?id=1738084387220481>

use std::sync::Arc;

use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};
use latchkey_shared::random;
use serde_json::{Value, json};
use url::Url;

use super::asked::Asked;
use super::{person, tiktok};
use crate::sandbox::answer::Answer;
use crate::sandbox::call::Note;
use crate::sandbox::config::Rotation;
use crate::sandbox::dialect::{Dialect, Problem};
use crate::sandbox::family::Issue;
use crate::sandbox::faults::Endpoint;
use crate::sandbox::ledger::Kind;
use crate::sandbox::state::Shared;
use crate::sandbox::store::Redeem;

static BUSINESS: Dialect = Dialect {
    platform: Some("TIKTOK_BUSINESS"),
    vendor: Some("TIKTOK"),
    refuse: |problem, why| {
        let code = match problem {
            Problem::Request => 40002,
            Problem::Client => 40101,
            Problem::Code | Problem::Mismatch => 40110,
            // For a dead refresh token unverified.
            Problem::Refresh
            | Problem::Token
            | Problem::Expired
            | Problem::Ended
            | Problem::RoleLost => 40105,
        };
        envelope(code, why, json!({}))
    },
};

fn envelope(code: u32, message: &str, data: Value) -> Answer {
    let request_id = hex::encode_upper(random::bytes::<12>());
    Answer::ok(json!({ "code": code, "message": message, "request_id": request_id, "data": data }))
}

pub(super) fn routes() -> Router<Arc<Shared>> {
    let at = |path| format!("/business-api.tiktok.com/open_api/v1.3{path}");
    Router::new()
        .route(&at("/tt_user/oauth2/token/"), post(token))
        .route(&at("/tt_user/oauth2/refresh_token/"), post(refresh))
        .route(&at("/tt_user/oauth2/revoke/"), post(revoke))
        .route(&at("/business/get/"), get(business))
}

/// A member of a body that cannot be done without.
fn need<'a>(body: &'a Value, name: &str) -> Result<&'a str, Answer> {
    let missing = || (BUSINESS.refuse)(Problem::Request, &format!("{name} is missing"));
    body[name].as_str().filter(|text| !text.is_empty()).ok_or_else(missing)
}

fn client(asked: &Asked, body: &Value) -> Result<String, Answer> {
    let owned = |name: &str| body[name].as_str().map(str::to_owned);
    asked.known(&BUSINESS, owned("client_id").zip(owned("client_secret")))
}

fn grant_type(body: &Value, wanted: &str) -> Result<(), Answer> {
    match need(body, "grant_type")? == wanted {
        true => Ok(()),
        false => Err((BUSINESS.refuse)(Problem::Request, &format!("grant_type must be {wanted}"))),
    }
}

async fn token(asked: Asked) -> Result<Response, Answer> {
    let body = asked.json(&BUSINESS)?;
    let client = client(&asked, &body)?;
    grant_type(&body, "authorization_code")?;
    let code = need(&body, "auth_code")?;
    let redirect_uri = need(&body, "redirect_uri")?;
    let fits = |url: Url| url.query().is_none() && redirect_uri.ends_with('/');
    if !Url::parse(redirect_uri).is_ok_and(fits) {
        let why = "redirect_uri must end in a slash and have no query";
        return Err((BUSINESS.refuse)(Problem::Request, why));
    }
    let verifier = body["code_verifier"].as_str().unwrap_or_default();
    Ok(asked.exchange(&BUSINESS, &client, Redeem { code, redirect_uri, verifier }, tokens).await)
}

async fn refresh(asked: Asked) -> Result<Response, Answer> {
    let body = asked.json(&BUSINESS)?;
    let client = client(&asked, &body)?;
    grant_type(&body, "refresh_token")?;
    let token = need(&body, "refresh_token")?;
    Ok(asked.refresh(&BUSINESS, (&client, token), Rotation::Strict, tokens).await)
}

fn tokens(issue: &Issue, note: &Note) -> Answer {
    let mut data = json!({
        "access_token": issue.access,
        "token_type": "Bearer",
        "expires_in": issue.access_secs(note.at),
        "refresh_token_expires_in": issue.refresh_secs(note.at),
        "open_id": tiktok::open_id(&issue.client, &issue.user),
        "scope": issue.scope.replace(' ', ","),
    });
    if let Some(refresh) = &issue.refresh {
        data["refresh_token"] = json!(refresh);
    }
    envelope(0, "OK", data)
}

async fn revoke(asked: Asked) -> Result<Response, Answer> {
    let body = asked.json(&BUSINESS)?;
    let client = client(&asked, &body)?;
    let token = need(&body, "access_token")?;
    if asked.shared.books().store.is_refresh_token(token) {
        let why = "access_token must be the access token";
        return Err((BUSINESS.refuse)(Problem::Request, why));
    }
    let done = || envelope(0, "OK", json!({}));
    Ok(asked.forget(&BUSINESS, (Some(&client), token), done(), done()).await)
}

async fn business(asked: Asked) -> Result<Response, Answer> {
    let refused = |why| Err((BUSINESS.refuse)(Problem::Request, why));
    let fields = asked.query.get("fields").map(serde_json::from_str::<Vec<String>>);
    let Some(Ok(fields)) = fields else {
        return refused("fields must be a list in JSON");
    };
    let Some(business_id) = asked.query.get("business_id") else {
        return refused("business_id is missing");
    };
    // With a `Bearer` in front it is no token that was ever issued.
    let token = asked.header("access-token").unwrap_or_default();
    Ok(asked
        .read(&BUSINESS, (Endpoint::Userinfo, Kind::Identity), token, |_, access| {
            if business_id != tiktok::open_id(&access.client, &access.user) {
                return (BUSINESS.refuse)(Problem::Request, "business_id is not the token's");
            }
            let user = json!({
                "username": access.user,
                "display_name": person::name(&access.user),
                "profile_image": person::picture(&asked.shared.url, &access.user),
            });
            envelope(0, "OK", person::only(user, &fields.join(","), &[]))
        })
        .await)
}
