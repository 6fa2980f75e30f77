//! Pinterest: HTTP Basic is demanded, errors are a number and a text, and there is nothing to revoke
//! with.
//! <https://developers.pinterest.com/docs/api/v5/oauth-token/>

use std::sync::Arc;

use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};
use chrono::TimeDelta;
use serde_json::json;

use super::asked::{Asked, need};
use super::authorize::consent_page;
use super::grants::unsupported;
use super::{Asking, Separator, Vendor, person};
use crate::sandbox::answer::Answer;
use crate::sandbox::call::Note;
use crate::sandbox::config::Rotation;
use crate::sandbox::dialect::{Dialect, Problem};
use crate::sandbox::family::{Issue, RefreshLife, Terms};
use crate::sandbox::faults::Endpoint;
use crate::sandbox::ledger::Kind;
use crate::sandbox::state::Shared;
use crate::sandbox::store::Redeem;

static VENDOR: Vendor = Vendor { separator: Separator::Comma, ..Vendor::plain("PINTEREST", terms) };

fn terms(_: &Asking<'_>) -> Terms {
    Terms {
        code: TimeDelta::minutes(10),
        access: TimeDelta::seconds(2_592_000),
        lasting: None,
        refresh: RefreshLife::Each(TimeDelta::seconds(5_184_000)),
    }
}

static PINTEREST: Dialect = Dialect {
    platform: Some("PINTEREST"),
    vendor: Some("PINTEREST"),
    refuse: |problem, why| {
        let told = |status, code: u32, message: &str| {
            Answer::of(status, json!({ "code": code, "message": message }))
        };
        match problem {
            Problem::Request => told(400, 1, why),
            // How a code is refused is unverified.
            Problem::Code | Problem::Mismatch => {
                told(400, 283, "The provided authorization code is invalid or expired.")
            }
            // Unverified, too.
            Problem::Refresh => {
                told(400, 283, "The provided refresh token is invalid, expired or revoked.")
            }
            Problem::Client
            | Problem::Token
            | Problem::Expired
            | Problem::Ended
            | Problem::RoleLost => told(401, 2, "Authentication failed."),
        }
    },
};

pub(super) fn routes() -> Router<Arc<Shared>> {
    consent_page("/www.pinterest.com/oauth/", &VENDOR)
        .route("/api.pinterest.com/v5/oauth/token", post(token))
        .route("/api.pinterest.com/v5/user_account", get(user_account))
}

async fn token(asked: Asked) -> Result<Response, Answer> {
    let form = asked.form(&PINTEREST)?;
    let client = asked.basic_client(&PINTEREST)?;
    match need(&form, "grant_type", &PINTEREST)? {
        "authorization_code" => {
            let redeem = Redeem {
                code: need(&form, "code", &PINTEREST)?,
                redirect_uri: need(&form, "redirect_uri", &PINTEREST)?,
                verifier: "",
            };
            let tokens = |issue: &Issue, note: &Note| tokens(issue, "authorization_code", note);
            Ok(asked.exchange(&PINTEREST, &client, redeem, tokens).await)
        }
        "refresh_token" => {
            let token = need(&form, "refresh_token", &PINTEREST)?;
            let tokens = |issue: &Issue, note: &Note| tokens(issue, "refresh_token", note);
            Ok(asked.refresh(&PINTEREST, (&client, token), Rotation::Strict, tokens).await)
        }
        _ => Err(unsupported(&PINTEREST)),
    }
}

fn tokens(issue: &Issue, response_type: &str, note: &Note) -> Answer {
    let mut body = json!({
        "response_type": response_type,
        "access_token": issue.access,
        "expires_in": issue.access_secs(note.at),
        "token_type": "bearer",
        "scope": issue.scope,
        "refresh_token_expires_in": issue.refresh_secs(note.at),
        "refresh_token_expires_at": issue.refresh_until.map(|until| until.timestamp()),
    });
    if let Some(refresh) = &issue.refresh {
        body["refresh_token"] = json!(refresh);
    }
    Answer::ok(body)
}

async fn user_account(asked: Asked) -> Response {
    asked
        .read(&PINTEREST, (Endpoint::Userinfo, Kind::Identity), asked.bearer(), |_, access| {
            Answer::ok(json!({
                "id": person::number(&access.user).to_string(),
                "username": access.user,
                "business_name": format!("{}'s Business", person::name(&access.user)),
                "profile_image": person::picture(&asked.shared.url, &access.user),
                "account_type": "BUSINESS",
            }))
        })
        .await
}
