//! Signing in with an API key, and out. Pages that need somebody to be signed in lead here and are come back to:
//! never to an address that is not ours.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{RawQuery, Request, State};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use url::form_urlencoded;
use utoipa::ToSchema;

use super::{form, page, session};
use crate::auth;
use crate::code::Code;
use crate::extract;
use crate::problem::Problem;
use crate::request::RequestId;
use crate::state::App;

/// Where the page is.
const PATH: &str = "/sign-in";
/// Longer ones are none of ours.
const MAX_NEXT_BYTES: usize = 2048;

/// What the form sends.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes for the document what is read as a form")]
pub(crate) struct SignInForm {
    /// An API key.
    key: String,
    /// The path to go on to.
    next: Option<String>,
}

#[derive(Debug, Template)]
#[template(path = "sign_in.html")]
struct SignIn<'a> {
    style: &'static str,
    referrer: &'static str,
    title: &'static str,
    complaint: Option<&'a str>,
    action: String,
    next: &'a str,
    reference: &'static str,
}

/// A kind of account that can be connected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// The platform that it is of.
    pub(crate) platform: &'static str,
    /// What it is, in the person's words.
    pub(crate) told: &'static str,
}

#[derive(Debug, Template)]
#[template(path = "confirm.html")]
struct Confirm<'a> {
    style: &'static str,
    referrer: &'static str,
    title: String,
    /// The platform, and the workspace.
    platform: &'a str,
    workspace: &'a str,
    /// What the person chooses from, if there is a choice.
    kinds: &'a [Kind],
    action: String,
    sign_out: String,
    reference: &'static str,
}

/// The page that asks for an API key.
#[utoipa::path(
    get, path = "/sign-in", tag = "browser", operation_id = "signInPage", security(()),
    params(("next" = Option<String>, Query, description = "The path to go on to; one that is not ours is left out")),
    responses((status = OK, description = "The form", content_type = "text/html", body = String)),
)]
pub(crate) async fn show(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    ask(&app, &next_in(query.as_bytes()), None, StatusCode::OK)
}

/// The person signs in.
#[utoipa::path(
    post, path = "/sign-in", tag = "browser", operation_id = "signIn", security(()),
    request_body(content = SignInForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = SEE_OTHER, description = "To `next`, with the cookie of a session"),
        (status = OK, description = "A page: signed in, and nowhere to go on to", content_type = "text/html", body = String),
        (status = UNAUTHORIZED, description = "The form again: the key is not valid", content_type = "text/html", body = String),
        (status = FORBIDDEN, description = "A page: the form was on a page that is not ours", content_type = "text/html", body = String),
        (status = REQUEST_TIMEOUT, description = "A page: the form did not arrive in time", content_type = "text/html", body = String),
        (status = PAYLOAD_TOO_LARGE, description = "A page: the form is too large", content_type = "text/html", body = String),
        (status = TOO_MANY_REQUESTS, description = "The form again: too many invalid keys came from this address", content_type = "text/html", body = String),
    ),
)]
pub(crate) async fn sign_in(
    State(app): State<Arc<App>>,
    Extension(request_id): Extension<RequestId>,
    request: Request,
) -> Response {
    match take(&app, request).await {
        Ok(response) => response,
        Err(problem) => super::problem_page(&problem, &request_id),
    }
}

async fn take(app: &App, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    super::check_origin(&parts.headers, &app.public_url)?;
    let body = extract::read(body).await?;
    let next = next_in(&body);
    let key = field(&body, "key").unwrap_or_default();
    let key = match auth::find_written(&parts, app, &key).await {
        Ok(key) => key,
        Err(problem) if matches!(problem.code(), Code::Unauthorized | Code::RateLimited) => {
            return Ok(refused(app, &next, &problem));
        }
        Err(problem) => return Err(problem),
    };
    let mut response = match next.as_str() {
        "" => page::Page::signed_in().respond(StatusCode::OK),
        next => Redirect::to(&app.url(next)).into_response(),
    };
    session::open(app, &parts.headers, &key, &mut response).await?;
    Ok(response)
}

fn refused(app: &App, next: &str, problem: &Problem) -> Response {
    let complaint = match problem.code() {
        Code::RateLimited => {
            "Too many wrong keys came from your address. Wait a minute, then try again."
        }
        _ => {
            "That is not a valid API key. Check that it was copied whole, and that nobody revoked it."
        }
    };
    let mut form = ask(app, next, Some(complaint), problem.status());
    let told = problem.clone().into_response();
    if let Some(seconds) = told.headers().get(RETRY_AFTER) {
        form.headers_mut().insert(RETRY_AFTER, seconds.clone());
    }
    form
}

/// The person signs out.
#[utoipa::path(
    post, path = "/sign-out", tag = "browser", operation_id = "signOut", security(()),
    responses(
        (status = SEE_OTHER, description = "To the page that asks for an API key"),
        (status = FORBIDDEN, description = "A page: the form was on a page that is not ours", content_type = "text/html", body = String),
    ),
)]
pub(crate) async fn sign_out(
    State(app): State<Arc<App>>,
    Extension(request_id): Extension<RequestId>,
    headers: HeaderMap,
) -> Response {
    let mut response = Redirect::to(&app.url(PATH)).into_response();
    let closed = match super::check_origin(&headers, &app.public_url) {
        Ok(()) => session::close(&app, &headers, &mut response).await,
        Err(problem) => Err(problem),
    };
    match closed {
        Ok(()) => response,
        Err(problem) => super::problem_page(&problem, &request_id),
    }
}

/// To the page that asks for an API key, and back to this path of ours.
pub(crate) fn lead_to(app: &App, next: &str) -> Response {
    let next: String = form_urlencoded::byte_serialize(next.as_bytes()).collect();
    Redirect::to(&app.url(&format!("{PATH}?next={next}"))).into_response()
}

/// The form, with where to go on to and what was wrong before.
pub(crate) fn ask(app: &App, next: &str, complaint: Option<&str>, status: StatusCode) -> Response {
    let page = SignIn {
        style: page::STYLE,
        referrer: form::REFERRER,
        title: "Sign in",
        complaint,
        action: app.url(PATH),
        next,
        reference: "",
    };
    respond(&page, status)
}

/// The page that asks a person who is signed in whether they mean it.
pub(crate) fn confirm(app: &Arc<App>, action: String, kinds: &[Kind], workspace: &str) -> Response {
    let first = kinds.first().map(|kind| super::platform_name(app, kind.platform));
    let platform = first.unwrap_or_default();
    let confirm = Confirm {
        style: page::STYLE,
        referrer: form::REFERRER,
        title: format!("Connect {platform}"),
        platform: &platform,
        kinds: if kinds.len() > 1 { kinds } else { &[] },
        workspace,
        action,
        sign_out: app.url("/sign-out"),
        reference: "",
    };
    respond(&confirm, StatusCode::OK)
}

/// Which of them the form says; where there is one alone nothing needs to be said.
///
/// # Errors
/// `VALIDATION_FAILED` for one that is not there.
pub(crate) fn meant(kinds: &[Kind], form: &[u8]) -> Result<&'static str, Problem> {
    let said = field(form, "kind");
    let meant = match (&said, kinds) {
        (None, [first, ..]) => Some(first),
        (Some(said), kinds) => kinds.iter().find(|kind| kind.platform == said),
        (None, []) => None,
    };
    meant.map(|kind| kind.platform).ok_or_else(|| Problem::new(Code::ValidationFailed, ""))
}

fn respond(page: &impl Template, status: StatusCode) -> Response {
    form::respond(status, page.render().expect("writing into memory does not fail"))
}

fn field(form: &[u8], name: &str) -> Option<String> {
    let mut fields = form_urlencoded::parse(form);
    fields.find(|(field, _)| field == name).map(|(_, value)| value.into_owned())
}

/// The path to go on to, empty if there is none of ours. It is put behind our own address, so that it can lead
/// nowhere else; what a browser may read as another address is left out all the same.
fn next_in(form: &[u8]) -> String {
    let next = field(form, "next").unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
    let ours = next.starts_with('/')
        && !next.starts_with("//")
        && next.len() <= MAX_NEXT_BYTES
        && next.bytes().all(plain);
    if ours { next } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(next: &str) -> String {
        let form: String =
            form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish();
        next_in(form.as_bytes())
    }

    #[test]
    fn only_a_path_of_ours_is_gone_on_to() {
        for path in ["/", "/compat/ocoya/api/social-connect/start?provider=x&workspaceId=ws_1"] {
            assert_eq!(next(path), path);
        }
        let long = format!("/{}", "a".repeat(MAX_NEXT_BYTES));
        for foreign in [
            "",
            "https://evil.example/",
            "//evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "javascript:alert(1)",
            "/a\r\nset-cookie: b=c",
            "/a b",
            "@evil.example",
            ".evil.example",
            &long,
        ] {
            assert_eq!(next(foreign), "", "{foreign}");
        }
        assert_eq!(next_in(b""), "");
    }

    #[test]
    fn what_others_wrote_is_escaped() {
        let page = SignIn {
            style: "",
            referrer: "",
            title: "",
            complaint: None,
            action: String::new(),
            next: "/\"><script>",
            reference: "",
        };
        let html = page.render().unwrap();
        assert!(!html.contains("<script>"), "{html}");
    }
}
