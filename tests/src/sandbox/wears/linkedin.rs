//! LinkedIn, for persons and companies: refresh tokens stay the same and end a year after the consent,
//! and a consent to another set of scopes ends all that the same member gave before.
//! <https://learn.microsoft.com/en-us/linkedin/shared/authentication/authorization-code-flow>

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
    pkce: Pkce::Refused,
    cancelled: &[
        ("error", "user_cancelled_authorize"),
        ("error_description", "The user cancelled the authorization"),
    ],
    forgets_other_scopes: true,
    ..Vendor::plain("LINKEDIN", terms)
};

fn terms(asking: &Asking<'_>) -> Terms {
    Terms {
        code: TimeDelta::minutes(30),
        access: TimeDelta::days(60),
        lasting: None,
        refresh: match asking.config.linkedin_refresh_tokens {
            true => RefreshLife::Fixed(TimeDelta::days(365)),
            false => RefreshLife::Absent,
        },
    }
}

static LINKEDIN: Dialect = Dialect {
    platform: Some("LINKEDIN"),
    vendor: Some("LINKEDIN"),
    refuse: |problem, why| {
        let told = |status, error, description| {
            Answer::of(status, json!({ "error": error, "error_description": description }))
        };
        match problem {
            Problem::Request => told(400, "invalid_request", why),
            Problem::Client => told(401, "invalid_client", "Client authentication failed"),
            Problem::Code => told(401, "invalid_request", "authorization code not found"),
            Problem::Mismatch => told(400, "invalid_redirect_uri", why),
            Problem::Refresh => {
                let text = "The provided authorization grant or refresh token is invalid, expired or revoked";
                told(400, "invalid_request", text)
            }
            // Of these three numbers only 65601 has been seen: the others are unverified.
            Problem::Token | Problem::RoleLost => api_error(65600, "Invalid access token"),
            Problem::Expired => api_error(65602, "The token used in the request has expired"),
            Problem::Ended => {
                api_error(65601, "The token used in the request has been revoked by the user")
            }
        }
    },
};

fn api_error(code: u32, message: &str) -> Answer {
    Answer::of(401, json!({ "status": 401, "serviceErrorCode": code, "message": message }))
}

pub(super) fn routes() -> Router<Arc<Shared>> {
    consent_page("/www.linkedin.com/oauth/v2/authorization", &VENDOR)
        .route("/www.linkedin.com/oauth/v2/accessToken", post(token))
        // Not in any document: unverified.
        .route("/www.linkedin.com/oauth/v2/revoke", post(revoke))
        .route("/api.linkedin.com/v2/userinfo", get(userinfo))
        .route("/api.linkedin.com/v2/organizationalEntityAcls", get(organizations))
}

async fn token(asked: Asked) -> Result<Response, Answer> {
    let form = asked.form(&LINKEDIN)?;
    let client = asked.client(&LINKEDIN, &form, ("client_id", "client_secret"))?;
    match need(&form, "grant_type", &LINKEDIN)? {
        "authorization_code" => {
            let redeem = Redeem {
                code: need(&form, "code", &LINKEDIN)?,
                redirect_uri: need(&form, "redirect_uri", &LINKEDIN)?,
                verifier: form.get("code_verifier").unwrap_or_default(),
            };
            let tokens = |issue: &Issue, note: &Note| tokens(issue, issue.refresh.as_deref(), note);
            Ok(asked.exchange(&LINKEDIN, &client, redeem, tokens).await)
        }
        "refresh_token" => {
            let token = need(&form, "refresh_token", &LINKEDIN)?;
            let tokens = |issue: &Issue, note: &Note| tokens(issue, Some(token), note);
            Ok(asked.refresh(&LINKEDIN, (&client, token), Rotation::Stable, tokens).await)
        }
        _ => Err(unsupported(&LINKEDIN)),
    }
}

fn tokens(issue: &Issue, refresh: Option<&str>, note: &Note) -> Answer {
    let mut body = json!({
        "access_token": issue.access,
        "expires_in": issue.access_secs(note.at),
        "scope": issue.scope.replace(' ', ","),
        "token_type": "Bearer",
    });
    if let Some(refresh) = refresh {
        body["refresh_token"] = json!(refresh);
        body["refresh_token_expires_in"] = json!(issue.refresh_secs(note.at));
    }
    Answer::ok(body)
}

async fn revoke(asked: Asked) -> Result<Response, Answer> {
    let form = asked.form(&LINKEDIN)?;
    let client = asked.client(&LINKEDIN, &form, ("client_id", "client_secret"))?;
    let token = need(&form, "token", &LINKEDIN)?;
    let done = || Answer::ok(json!({}));
    Ok(asked.forget(&LINKEDIN, (Some(&client), token), done(), done()).await)
}

async fn userinfo(asked: Asked) -> Response {
    asked
        .read(&LINKEDIN, (Endpoint::Userinfo, Kind::Identity), asked.bearer(), |_, access| {
            Answer::ok(json!({
                "sub": person::code("linkedin", &access.user),
                "name": person::name(&access.user),
                "picture": person::picture(&asked.shared.url, &access.user),
            }))
        })
        .await
}

async fn organizations(asked: Asked) -> Result<Response, Answer> {
    versions(&asked)?;
    let query = &asked.query;
    if (query.get("q"), query.get("state")) != (Some("roleAssignee"), Some("APPROVED")) {
        return Err((LINKEDIN.refuse)(Problem::Request, "q=roleAssignee&state=APPROVED is wanted"));
    }
    let what = (Endpoint::Accounts, Kind::Listed);
    let list = |pages: &[Page]| Answer::ok(listed(pages, query));
    Ok(asked
        .read(&LINKEDIN, what, asked.bearer(), |books, access| list(&books.pages.of(&access.user)))
        .await)
}

/// Both headers are demanded.
fn versions(asked: &Asked) -> Result<(), Answer> {
    let refused = |code, message| {
        Err(Answer::of(400, json!({ "status": 400, "code": code, "message": message })))
    };
    if asked.header("x-restli-protocol-version") != Some("2.0.0") {
        return refused("PROTOCOL_VERSION_MISSING", "X-Restli-Protocol-Version must be 2.0.0");
    }
    let version = asked.header("linkedin-version").unwrap_or_default();
    match version.len() == 6 && version.chars().all(|digit| digit.is_ascii_digit()) {
        true => Ok(()),
        false => refused("VERSION_MISSING", "LinkedIn-Version must be a year and a month"),
    }
}

/// One element for each role at each organisation; names come only if the projection asks for them.
fn listed(pages: &[Page], query: &Params) -> Value {
    let decorates = query
        .get("projection")
        .is_some_and(|projection| projection.contains("organizationalTarget~"));
    let element = |page: &Page, role: &str| {
        let mut element = json!({
            "role": role,
            "state": "APPROVED",
            "organizationalTarget": format!("urn:li:organization:{}", page.id),
        });
        if decorates {
            let names = json!({ "localizedName": page.name, "vanityName": page.username });
            element["organizationalTarget~"] = names;
        }
        element
    };
    let all: Vec<Value> =
        pages.iter().flat_map(|page| page.roles().map(move |role| element(page, role))).collect();
    let number =
        |name, default| query.get(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (start, count): (usize, usize) = (number("start", 0), number("count", 10));
    let total = all.len();
    let shown: Vec<Value> = all.into_iter().skip(start).take(count).collect();
    json!({ "elements": shown, "paging": { "start": start, "count": count, "total": total } })
}
