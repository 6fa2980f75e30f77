//! TikTok's consent page, which Login Kit and the API for Business share, and Login Kit: clients are
//! called `client_key`, challenges are hexadecimal, and errors of tokens come with HTTP 200.
//! <https://developers.tiktok.com/doc/oauth-user-access-token-management>

use std::sync::Arc;

use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};
use chrono::TimeDelta;
use latchkey_shared::random;
use serde_json::{Value, json};

use super::asked::{Asked, need};
use super::authorize::consent_page;
use super::grants::unsupported;
use super::{Asking, Pkce, Separator, Vendor, person};
use crate::sandbox::answer::Answer;
use crate::sandbox::call::Note;
use crate::sandbox::config::Rotation;
use crate::sandbox::dialect::{Dialect, Problem};
use crate::sandbox::family::{Issue, RefreshLife, Terms};
use crate::sandbox::faults::Endpoint;
use crate::sandbox::ledger::Kind;
use crate::sandbox::params::Params;
use crate::sandbox::state::Shared;
use crate::sandbox::store::Redeem;

static VENDOR: Vendor = Vendor {
    client: "client_key",
    pkce: Pkce::OptionalHex,
    separator: Separator::Comma,
    repeats_scopes_as: Some("scopes"),
    ..Vendor::plain("TIKTOK", terms)
};

fn terms(_: &Asking<'_>) -> Terms {
    Terms {
        code: TimeDelta::minutes(10),
        access: TimeDelta::hours(24),
        lasting: None,
        // Whether a new refresh token begins a new year is unverified: here it does not.
        refresh: RefreshLife::Fixed(TimeDelta::days(365)),
    }
}

static TIKTOK: Dialect = Dialect {
    platform: Some("TIKTOK_PERSONAL"),
    vendor: Some("TIKTOK"),
    refuse: |problem, why| match problem {
        Problem::Request => token_error("invalid_request", why),
        Problem::Client => token_error("invalid_client", why),
        Problem::Code | Problem::Mismatch | Problem::Refresh => token_error("invalid_grant", why),
        Problem::Token | Problem::Expired | Problem::Ended | Problem::RoleLost => {
            api_error(401, "access_token_invalid", why)
        }
    },
};

/// The status of these is in no document: unverified.
fn token_error(error: &str, why: &str) -> Answer {
    Answer::ok(json!({ "error": error, "error_description": why, "log_id": log_id() }))
}

fn api_error(status: u16, code: &str, message: &str) -> Answer {
    let error = json!({ "code": code, "message": message, "log_id": log_id() });
    Answer::of(status, json!({ "data": {}, "error": error }))
}

fn log_id() -> String {
    hex::encode_upper(random::bytes::<12>())
}

pub(super) fn consent_routes() -> Router<Arc<Shared>> {
    consent_page("/www.tiktok.com/v2/auth/authorize/", &VENDOR)
}

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/open.tiktokapis.com/v2/oauth/token/", post(token))
        .route("/open.tiktokapis.com/v2/oauth/revoke/", post(revoke))
        .route("/open.tiktokapis.com/v2/user/info/", get(user_info))
}

fn client(asked: &Asked, form: &Params) -> Result<String, Answer> {
    match form.get("client_id") {
        Some(_) => Err(asked.shared.refuse_client(&TIKTOK, "it is client_key, not client_id")),
        None => asked.client(&TIKTOK, form, ("client_key", "client_secret")),
    }
}

async fn token(asked: Asked) -> Result<Response, Answer> {
    let form = asked.form(&TIKTOK)?;
    let client = client(&asked, &form)?;
    match need(&form, "grant_type", &TIKTOK)? {
        "authorization_code" => {
            let redeem = Redeem {
                code: need(&form, "code", &TIKTOK)?,
                redirect_uri: need(&form, "redirect_uri", &TIKTOK)?,
                verifier: form.get("code_verifier").unwrap_or_default(),
            };
            Ok(asked.exchange(&TIKTOK, &client, redeem, tokens).await)
        }
        "refresh_token" => {
            let token = need(&form, "refresh_token", &TIKTOK)?;
            Ok(asked.refresh(&TIKTOK, (&client, token), Rotation::Strict, tokens).await)
        }
        _ => Err(unsupported(&TIKTOK)),
    }
}

fn tokens(issue: &Issue, note: &Note) -> Answer {
    let mut body = json!({
        "access_token": issue.access,
        "expires_in": issue.access_secs(note.at),
        "open_id": open_id(&issue.client, &issue.user),
        "scope": issue.scope.replace(' ', ","),
        "token_type": "Bearer",
        "refresh_expires_in": issue.refresh_secs(note.at),
    });
    if let Some(refresh) = &issue.refresh {
        body["refresh_token"] = json!(refresh);
    }
    Answer::ok(body)
}

/// Each client knows the same person by another one.
pub(super) fn open_id(client: &str, user: &str) -> String {
    format!("-000{}", person::code(client, user))
}

async fn revoke(asked: Asked) -> Result<Response, Answer> {
    let form = asked.form(&TIKTOK)?;
    let client = client(&asked, &form)?;
    let token = need(&form, "token", &TIKTOK)?;
    if asked.shared.books().store.is_refresh_token(token) {
        return Err((TIKTOK.refuse)(Problem::Request, "token must be the access token"));
    }
    let client = Some(client.as_str());
    Ok(asked.forget(&TIKTOK, (client, token), Answer::empty(), Answer::empty()).await)
}

async fn user_info(asked: Asked) -> Result<Response, Answer> {
    let Some(fields) = asked.query.get("fields") else {
        return Err(api_error(400, "invalid_params", "fields is missing"));
    };
    let what = (Endpoint::Userinfo, Kind::Identity);
    let tell = |user: Value| {
        let error = json!({ "code": "ok", "message": "", "log_id": log_id() });
        let user = person::only(user, fields, &[]);
        Answer::ok(json!({ "data": { "user": user }, "error": error }))
    };
    Ok(asked
        .read(&TIKTOK, what, asked.bearer(), |_, access| {
            let lacks_profile = !access.scope.split(' ').any(|scope| scope == "user.info.profile");
            if lacks_profile && fields.split(',').any(|field| field == "username") {
                let why = "username needs the scope user.info.profile";
                return api_error(401, "scope_not_authorized", why);
            }
            tell(json!({
                "open_id": open_id(&access.client, &access.user),
                "union_id": person::code("tiktok", &access.user),
                "avatar_url": person::picture(&asked.shared.url, &access.user),
                "display_name": person::name(&access.user),
                "username": access.user,
            }))
        })
        .await)
}
