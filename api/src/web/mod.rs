//! What a person's browser sees: the first page, the callback, progress, the choice, results and errors.
//!
//! No address here may keep a code, and no page shows a token. Whatever stands on a page is escaped by
//! its template.

mod again;
mod answer;
pub(crate) mod callback;
pub(crate) mod connect_page;
mod cookie;
pub(crate) mod form;
mod onward;
mod page;
pub(crate) mod picker;
mod refusal;
mod result;
pub(crate) mod session;
pub(crate) mod sign_in;
pub(crate) mod start;
pub(crate) mod words;

#[cfg(test)]
pub(crate) use result::tests as result_tests;

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use latchkey_shared::db::accounts;
use latchkey_shared::db::connects::{Connect, ConnectStatus};
use latchkey_shared::ids::AccountId;
use secrecy::ExposeSecret as _;
use url::Url;

use crate::code::Code;
use crate::problem::Problem;
use crate::request::RequestId;
use crate::routes::connects::claim;
use crate::state::App;
use page::Page;

/// A page shows no more accounts than this: a person does not read a longer list.
const MAX_SHOWN: usize = 10;

/// Where the application wants the browser now: back with the result, or with a claim.
async fn destination(app: &App, connect: &Connect) -> Result<Option<Url>, Problem> {
    if connect.status.is_final() {
        return Ok(result::url(connect, None));
    }
    if connect.status != ConnectStatus::Claiming {
        return Ok(None);
    }
    let claim = claim::decrypt(&mut app.conn().await?, connect).await?;
    Ok(claim.and_then(|claim| result::url(connect, Some(claim.expose_secret()))))
}

/// Our result page, where the application wants the browser nowhere.
async fn end(app: &App, connect: &Connect) -> Result<Response, Problem> {
    let mut conn = app.conn().await?;
    let mut shown = Vec::new();
    for id in connect.account_ids.iter().take(MAX_SHOWN) {
        let Ok(id) = id.parse::<AccountId>() else {
            continue;
        };
        shown.extend(accounts::find(&mut conn, &connect.workspace_id, &id).await?);
    }
    Ok(Page::ended(connect, &shown).respond(StatusCode::OK))
}

/// A problem as a page. Never a redirect: the address it would lead to could be anybody's.
pub(crate) fn problem_page(problem: &Problem, request_id: &RequestId) -> Response {
    let code = problem.code();
    let mut response = Page::problem(code, request_id.as_str()).respond(code.status());
    if let Some(cause) = problem.cause() {
        response.extensions_mut().insert(cause.clone());
    }
    response
}

/// On to the platform, from the answer to a form: by a page, since a redirect would be held to the form's
/// policy.
pub(crate) fn leave(platform: &str, url: &Url) -> Response {
    Page::leaving(platform, url).respond(StatusCode::OK)
}

/// # Errors
/// `ORIGIN_FOREIGN` when a form was on a page that is not ours.
pub(crate) fn check_origin(headers: &HeaderMap, public_url: &Url) -> Result<(), Problem> {
    let ours = form::is_ours(headers, public_url);
    if ours { Ok(()) } else { Err(Problem::new(Code::OriginForeign, "")) }
}

/// The name that people know a platform by.
pub(crate) fn platform_name(app: &Arc<App>, id: &str) -> String {
    let platform = app.platforms.get(id);
    platform.map_or_else(|| id.to_owned(), |platform| platform.name.clone())
}
