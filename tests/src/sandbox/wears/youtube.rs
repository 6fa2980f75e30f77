//! YouTube, which is Google: refresh tokens stay the same, come only when asked for in the right words,
//! and one revocation ends all that the person gave the client.
//! <https://developers.google.com/identity/protocols/oauth2/web-server>

use std::sync::Arc;

use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};
use chrono::TimeDelta;
use serde_json::{Value, json};

use super::asked::{Asked, need};
use super::authorize::consent_page;
use super::grants::unsupported;
use super::{Asking, Page, Pkce, Vendor, person};
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
    pkce: Pkce::Optional,
    repeats_scopes_as: Some("scope"),
    ..Vendor::plain("YOUTUBE", terms)
};

fn terms(asking: &Asking<'_>) -> Terms {
    let says = |name, word| {
        let value = asking.params.get(name).unwrap_or_default();
        value.split(' ').any(|said| said == word)
    };
    let gives = says("access_type", "offline") && (!asking.again || says("prompt", "consent"));
    Terms {
        code: TimeDelta::minutes(10),
        access: TimeDelta::seconds(3599),
        lasting: None,
        refresh: if gives { RefreshLife::Endless } else { RefreshLife::Absent },
    }
}

static YOUTUBE: Dialect = Dialect {
    platform: Some("YOUTUBE"),
    vendor: Some("YOUTUBE"),
    refuse: |problem, why| {
        let told = |status, error, description| {
            Answer::of(status, json!({ "error": error, "error_description": description }))
        };
        match problem {
            Problem::Request => told(400, "invalid_request", why),
            Problem::Client => told(401, "invalid_client", "Unauthorized"),
            Problem::Code => told(400, "invalid_grant", "Malformed auth code."),
            Problem::Mismatch => told(400, "invalid_grant", "Bad Request"),
            Problem::Refresh => told(400, "invalid_grant", "Token has been expired or revoked."),
            Problem::Token | Problem::Expired | Problem::Ended | Problem::RoleLost => {
                api_error((401, "UNAUTHENTICATED"), "authError", "Invalid Credentials")
            }
        }
    },
};

fn api_error((code, status): (u16, &str), reason: &str, message: &str) -> Answer {
    let errors = json!([{ "message": message, "domain": "global", "reason": reason }]);
    let error = json!({ "code": code, "message": message, "errors": errors, "status": status });
    Answer::of(code, json!({ "error": error }))
}

pub(super) fn routes() -> Router<Arc<Shared>> {
    consent_page("/accounts.google.com/o/oauth2/v2/auth", &VENDOR)
        .route("/oauth2.googleapis.com/token", post(token))
        .route("/oauth2.googleapis.com/revoke", post(revoke))
        .route("/www.googleapis.com/oauth2/v2/userinfo", get(userinfo))
        .route("/www.googleapis.com/youtube/v3/channels", get(channels))
}

async fn token(asked: Asked) -> Result<Response, Answer> {
    let form = asked.form(&YOUTUBE)?;
    let client = asked.client(&YOUTUBE, &form, ("client_id", "client_secret"))?;
    match need(&form, "grant_type", &YOUTUBE)? {
        "authorization_code" => {
            let redeem = Redeem {
                code: need(&form, "code", &YOUTUBE)?,
                redirect_uri: need(&form, "redirect_uri", &YOUTUBE)?,
                verifier: form.get("code_verifier").unwrap_or_default(),
            };
            Ok(asked.exchange(&YOUTUBE, &client, redeem, tokens).await)
        }
        "refresh_token" => {
            let token = need(&form, "refresh_token", &YOUTUBE)?;
            Ok(asked.refresh(&YOUTUBE, (&client, token), Rotation::Stable, tokens).await)
        }
        _ => Err(unsupported(&YOUTUBE)),
    }
}

fn tokens(issue: &Issue, note: &Note) -> Answer {
    let mut body = json!({
        "access_token": issue.access,
        "expires_in": issue.access_secs(note.at),
        "scope": issue.scope,
        "token_type": "Bearer",
    });
    if let Some(refresh) = &issue.refresh {
        body["refresh_token"] = json!(refresh);
    }
    Answer::ok(body)
}

/// Whoever has a token may revoke it: no client is asked for.
async fn revoke(asked: Asked) -> Result<Response, Answer> {
    let form = Params::parse(&asked.body);
    let params = if form.get("token").is_some() { &form } else { &asked.query };
    let token = need(params, "token", &YOUTUBE)?;
    let description = "Token expired or revoked";
    let error = json!({ "error": "invalid_token", "error_description": description });
    let done = Answer::ok(json!({}));
    Ok(asked.forget(&YOUTUBE, (None, token), done, Answer::of(400, error)).await)
}

async fn userinfo(asked: Asked) -> Response {
    asked
        .read(&YOUTUBE, (Endpoint::Userinfo, Kind::Identity), asked.bearer(), |_, access| {
            Answer::ok(json!({
                "id": person::number(&access.user).to_string(),
                "name": person::name(&access.user),
                "picture": person::picture(&asked.shared.url, &access.user),
            }))
        })
        .await
}

/// How many channels come at a time.
const AT_A_TIME: usize = 50;

/// The person's channels; who has none has to make one first.
async fn channels(asked: Asked) -> Result<Response, Answer> {
    let query = &asked.query;
    if query.get("mine") != Some("true") || query.get("part").is_none() {
        let status = (400, "INVALID_ARGUMENT");
        return Err(api_error(status, "missingRequiredParameter", "part and mine are wanted"));
    }
    let from = query.get("pageToken").and_then(|token| token.strip_prefix("from-")?.parse().ok());
    let from: usize = from.unwrap_or(0);
    let what = (Endpoint::Accounts, Kind::Listed);
    Ok(asked
        .read(&YOUTUBE, what, asked.bearer(), |books, access| {
            match books.pages.of(&access.user).as_slice() {
                [] => {
                    let status = (403, "PERMISSION_DENIED");
                    api_error(status, "youtubeSignupRequired", "There is no channel yet")
                }
                pages => Answer::ok(listed(pages, from, &asked.shared.url)),
            }
        })
        .await)
}

fn listed(pages: &[Page], from: usize, url: &str) -> Value {
    let item = |page: &Page| {
        let mut item = json!({
            "kind": "youtube#channel",
            "id": page.id,
            "snippet": {
                "title": page.name,
                "thumbnails": { "default": { "url": person::picture(url, &page.id) } },
            },
        });
        if let Some(username) = &page.username {
            item["snippet"]["customUrl"] = json!(format!("@{username}"));
        }
        item
    };
    let items: Vec<Value> = pages.iter().skip(from).take(AT_A_TIME).map(item).collect();
    let counts = json!({ "totalResults": pages.len(), "resultsPerPage": AT_A_TIME });
    let mut list = json!({ "kind": "youtube#channelListResponse", "pageInfo": counts });
    if from + items.len() < pages.len() {
        list["nextPageToken"] = json!(format!("from-{}", from + items.len()));
    }
    list["items"] = json!(items);
    list
}
