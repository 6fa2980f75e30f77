//! What Meta's three platforms have in common: two shapes of errors, tokens that are swapped for ones
//! that last, and permissions that are deleted as a whole.

use axum::response::Response;
use chrono::TimeDelta;
use serde_json::json;

use super::asked::{Asked, need};
use super::grants::unsupported;
use super::{Asking, Separator, Vendor};
use crate::sandbox::answer::Answer;
use crate::sandbox::call::{self, Call, Note};
use crate::sandbox::dialect::{Dialect, Problem};
use crate::sandbox::family::{Issue, RefreshLife, Terms};
use crate::sandbox::faults::Endpoint;
use crate::sandbox::ledger::Kind;
use crate::sandbox::state::Books;
use crate::sandbox::store::{Access, Redeem, Refused};

/// A token must be this old before it can be refreshed.
const YOUNGEST: TimeDelta = TimeDelta::hours(24);

/// The consent page of Instagram and Threads.
pub(super) const fn vendor(name: &'static str) -> Vendor {
    Vendor {
        separator: Separator::Either,
        cancelled: &[
            ("error", "access_denied"),
            ("error_reason", "user_denied"),
            ("error_description", "The user denied your request"),
        ],
        fragment: Some("_"),
        ..Vendor::plain(name, terms)
    }
}

/// An hour, and about sixty days for what lasts.
pub(super) fn terms(_: &Asking<'_>) -> Terms {
    Terms {
        code: TimeDelta::hours(1),
        access: TimeDelta::hours(1),
        lasting: Some(TimeDelta::seconds(5_183_944)),
        refresh: RefreshLife::Absent,
    }
}

/// The Graph API.
pub(super) const fn graph(platform: &'static str) -> Dialect {
    Dialect { platform: Some(platform), vendor: Some(platform), refuse: graph_refusal }
}

/// The place where Instagram and Threads exchange codes.
pub(super) const fn login(platform: &'static str) -> Dialect {
    Dialect { platform: Some(platform), vendor: Some(platform), refuse: login_refusal }
}

fn graph_refusal(problem: Problem, why: &str) -> Answer {
    match problem {
        Problem::Request => graph_error(100, None, why),
        // The number is unverified.
        Problem::Client => graph_error(101, None, "Error validating application"),
        Problem::Code => graph_error(100, Some(36009), "This authorization code has been used"),
        Problem::Mismatch => graph_error(100, Some(36008), "Error validating verification code"),
        dead => {
            let (subcode, message) = token_error(dead);
            graph_error(190, subcode, message)
        }
    }
}

/// What stands beside code 190.
pub(super) fn token_error(problem: Problem) -> (Option<u32>, &'static str) {
    match problem {
        Problem::Refresh => (Some(467), "Invalid OAuth access token"),
        Problem::Expired => (Some(463), "The session has expired"),
        Problem::Ended => (Some(458), "The user has not authorized the application"),
        Problem::RoleLost => (Some(492), "The user does not have a role on the page any more"),
        _ => (None, "Invalid OAuth access token"),
    }
}

fn graph_error(code: u32, subcode: Option<u32>, message: &str) -> Answer {
    let mut error = json!({
        "message": message,
        "type": "OAuthException",
        "code": code,
        "fbtrace_id": "AsandboxAsandboxAsandbox",
    });
    if let Some(subcode) = subcode {
        error["error_subcode"] = json!(subcode);
    }
    Answer::of(400, json!({ "error": error }))
}

fn login_refusal(problem: Problem, why: &str) -> Answer {
    let message = match problem {
        Problem::Client => "Error validating client",
        Problem::Code => "Matching code was not found or was already used",
        Problem::Mismatch => "Error validating verification code",
        _ => why,
    };
    let error_type = "OAuthException";
    Answer::of(400, json!({ "error_type": error_type, "code": 400, "error_message": message }))
}

/// A token that lasts, as it is answered.
pub(super) fn lasting(issue: &Issue, note: &Note) -> Answer {
    Answer::ok(json!({
        "access_token": issue.access,
        "token_type": "bearer",
        "expires_in": issue.access_secs(note.at),
    }))
}

/// The exchange at Instagram and Threads; only the form of the answer is their own.
pub(super) async fn exchange(
    asked: &Asked,
    dialect: &'static Dialect,
    short_lived: impl FnOnce(&Issue) -> Answer,
) -> Result<Response, Answer> {
    let form = asked.any_form(dialect)?;
    let client = asked.client(dialect, &form, ("client_id", "client_secret"))?;
    if need(&form, "grant_type", dialect)? != "authorization_code" {
        return Err(unsupported(dialect));
    }
    let redeem = Redeem {
        code: need(&form, "code", dialect)?,
        redirect_uri: need(&form, "redirect_uri", dialect)?,
        verifier: "",
    };
    Ok(asked.exchange(dialect, &client, redeem, |issue, _| short_lived(issue)).await)
}

/// `GET /access_token`: a token that lasts, for a short-lived one.
pub(super) async fn swap(
    asked: &Asked,
    dialect: &'static Dialect,
    grant_type: &str,
) -> Result<Response, Answer> {
    let query = &asked.query;
    if need(query, "grant_type", dialect)? != grant_type {
        let why = format!("grant_type must be {grant_type}");
        return Err((dialect.refuse)(Problem::Request, &why));
    }
    let secret = need(query, "client_secret", dialect)?;
    let token = need(query, "access_token", dialect)?;
    Ok(swapped(asked, dialect, token, |books, access| books.knows(&access.client, secret)).await)
}

/// The swap itself, if the client is the one the token was issued to.
pub(super) async fn swapped(
    asked: &Asked,
    dialect: &'static Dialect,
    token: &str,
    is_client: impl FnOnce(&Books, &Access) -> bool,
) -> Response {
    let call = Call::new(Endpoint::LongLived, token, dialect);
    call::run(&asked.shared, &asked.link, call, |books, note| {
        let access = match books.store.access(token, dialect, note.at) {
            Ok(access) => access,
            Err(refused) => return note.refuse(books, Kind::IdentityRefused, &refused),
        };
        if !is_client(books, &access) {
            let refused = Refused::because(Problem::Client, "the client's secret is wrong");
            return note.refuse(books, Kind::ClientRefused, &refused);
        }
        // Whether one that lasts could be swapped for a longer one is unverified: here it stays.
        let issue = match access.lasting {
            true => books.store.replay(&access),
            false => books.store.prolong(&access, note.at),
        };
        note.issue(books, Kind::LongLived, &issue, lasting(&issue, note))
    })
    .await
}

/// `GET /refresh_access_token`: another token that lasts, for one of a day or older that still does.
pub(super) async fn prolong(
    asked: &Asked,
    dialect: &'static Dialect,
    grant_type: &str,
) -> Result<Response, Answer> {
    if need(&asked.query, "grant_type", dialect)? != grant_type {
        let why = format!("grant_type must be {grant_type}");
        return Err((dialect.refuse)(Problem::Request, &why));
    }
    let token = need(&asked.query, "access_token", dialect)?;
    let call = Call::new(Endpoint::TokenRefresh, token, dialect);
    Ok(call::run(&asked.shared, &asked.link, call, |books, note| {
        let access = books.store.access(token, dialect, note.at);
        let access = access.and_then(|access| match () {
            () if !access.lasting => {
                Err(Refused::because(Problem::Token, "a short-lived token cannot be refreshed"))
            }
            () if note.at < access.made_at + YOUNGEST => {
                let why = "a token can be refreshed when it is 24 hours old, not before";
                Err(Refused::because(Problem::Request, why))
            }
            () => Ok(access),
        });
        match access {
            Ok(access) => {
                let issue = books.store.prolong(&access, note.at);
                note.issue(books, Kind::Refreshed, &issue, lasting(&issue, note))
            }
            Err(refused) => note.refuse(books, Kind::RefreshRefused, &refused),
        }
    })
    .await)
}

/// `DELETE /me/permissions`: the person's consent to the client ends with all its tokens. In the
/// documents of Facebook alone; of Instagram and Threads unverified.
pub(super) async fn delete_permissions(asked: &Asked, dialect: &'static Dialect) -> Response {
    let token = asked.query.get("access_token").unwrap_or_default();
    let call = Call::new(Endpoint::Revoke, token, dialect);
    call::run(&asked.shared, &asked.link, call, |books, note| {
        match books.store.access(token, dialect, note.at) {
            Ok(access) => {
                let ended = books.store.forget(&access.user, &access.client, dialect);
                note.revoked(books, &ended, Answer::ok(json!({ "success": true })))
            }
            Err(refused) => note.refuse(books, Kind::RevokeIgnored, &refused),
        }
    })
    .await
}
