//! X: PKCE and HTTP Basic are demanded, codes live 30 seconds, and a refresh token that is spent is dead.
//! <https://docs.x.com/fundamentals/authentication/oauth-2-0/authorization-code>

use std::sync::Arc;

use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};
use chrono::TimeDelta;
use serde_json::json;

use super::asked::{Asked, need};
use super::authorize::consent_page;
use super::grants::unsupported;
use super::{Asking, Pkce, Vendor, person};
use crate::sandbox::answer::Answer;
use crate::sandbox::call::Note;
use crate::sandbox::config::Rotation;
use crate::sandbox::dialect::{Dialect, Problem};
use crate::sandbox::family::{Issue, RefreshLife, Terms};
use crate::sandbox::faults::Endpoint;
use crate::sandbox::ledger::Kind;
use crate::sandbox::state::Shared;
use crate::sandbox::store::Redeem;

static VENDOR: Vendor =
    Vendor { pkce: Pkce::Required, longest_state: 500, ..Vendor::plain("X", terms) };

fn terms(asking: &Asking<'_>) -> Terms {
    let offline = asking.scope.split(' ').any(|scope| scope == "offline.access");
    Terms {
        code: TimeDelta::seconds(30),
        access: TimeDelta::seconds(7200),
        lasting: None,
        // Six months are reported: unverified.
        refresh: match offline {
            true => RefreshLife::Each(TimeDelta::days(180)),
            false => RefreshLife::Absent,
        },
    }
}

static X: Dialect = Dialect {
    platform: Some("X"),
    vendor: Some("X"),
    refuse: |problem, why| {
        let told = |status, error, description| {
            Answer::of(status, json!({ "error": error, "error_description": description }))
        };
        match problem {
            Problem::Request => told(400, "invalid_request", why),
            // Seen without Basic; for a wrong secret unverified.
            Problem::Client => {
                told(401, "unauthorized_client", "Missing valid authorization header")
            }
            Problem::Code | Problem::Mismatch => {
                let text = "Value passed for the authorization code was invalid.";
                told(400, "invalid_request", text)
            }
            Problem::Refresh => {
                told(400, "invalid_request", "Value passed for the token was invalid.")
            }
            Problem::Token | Problem::Expired | Problem::Ended | Problem::RoleLost => {
                let title = "Unauthorized";
                let body = json!({ "title": title, "type": "about:blank", "status": 401, "detail": title });
                Answer::problem(401, body)
            }
        }
    },
};

pub(super) fn routes() -> Router<Arc<Shared>> {
    consent_page("/x.com/i/oauth2/authorize", &VENDOR)
        .route("/api.x.com/2/oauth2/token", post(token))
        .route("/api.x.com/2/oauth2/revoke", post(revoke))
        .route("/api.x.com/2/users/me", get(me))
}

async fn token(asked: Asked) -> Result<Response, Answer> {
    let form = asked.form(&X)?;
    let client = asked.basic_client(&X)?;
    match need(&form, "grant_type", &X)? {
        "authorization_code" => {
            let redeem = Redeem {
                code: need(&form, "code", &X)?,
                redirect_uri: need(&form, "redirect_uri", &X)?,
                verifier: need(&form, "code_verifier", &X)?,
            };
            Ok(asked.exchange(&X, &client, redeem, tokens).await)
        }
        "refresh_token" => {
            let token = need(&form, "refresh_token", &X)?;
            Ok(asked.refresh(&X, (&client, token), Rotation::Strict, tokens).await)
        }
        _ => Err(unsupported(&X)),
    }
}

fn tokens(issue: &Issue, note: &Note) -> Answer {
    let mut body = json!({
        "token_type": "bearer",
        "expires_in": issue.access_secs(note.at),
        "access_token": issue.access,
        "scope": issue.scope,
    });
    if let Some(refresh) = &issue.refresh {
        body["refresh_token"] = json!(refresh);
    }
    Answer::ok(body)
}

async fn revoke(asked: Asked) -> Result<Response, Answer> {
    let form = asked.form(&X)?;
    let client = asked.basic_client(&X)?;
    let token = need(&form, "token", &X)?;
    Ok(asked.revoke(&X, (&client, token), Answer::ok(json!({ "revoked": true }))).await)
}

async fn me(asked: Asked) -> Response {
    let fields = asked.query.get("user.fields").unwrap_or_default();
    asked
        .read(&X, (Endpoint::Userinfo, Kind::Identity), asked.bearer(), |_, access| {
            let user = json!({
                "id": person::number(&access.user).to_string(),
                "name": person::name(&access.user),
                "username": access.user,
                "profile_image_url": person::picture(&asked.shared.url, &access.user),
            });
            let always = ["id", "name", "username"];
            Answer::ok(json!({ "data": person::only(user, fields, &always) }))
        })
        .await
}
