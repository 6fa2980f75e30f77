//! Where platforms send the browser back to. The path that a code takes must be short: some codes
//! live for half a minute.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use latchkey_shared::authorize;
use latchkey_shared::db::connects::{self, Advance, Connect, ConnectStatus};
use latchkey_shared::events::EventType;
use latchkey_shared::work::Work;
use serde_json::{Value, json};

use super::answer::{Answer, Code as AuthorizationCode, Outcome, redact};
use super::connect_page;
use super::cookie::PageCookie;
use crate::code::Code;
use crate::handover;
use crate::problem::Problem;
use crate::request::RequestId;
use crate::routes::connects::wait;
use crate::state::App;

/// Where a platform sends the person's browser back to. Register this address there.
///
/// The platform's id may be in any case, and the path may end with a slash. The answer leads to the
/// connect's `redirectUrl`, with `status=success` and `accountIds`, or `status=error` and `error`.
#[utoipa::path(
    get, path = "/v1/connect/{platform}/callback", tag = "browser", operation_id = "callback", security(()),
    params(
        ("platform" = String, Path, description = "The platform's id, in any case"),
        ("state" = Option<String>, Query, description = "The connect's state"),
        ("code" = Option<String>, Query, description = "If the person approved"),
        ("error" = Option<String>, Query, description = "If not"),
        ("error_description" = Option<String>, Query, description = "What the platform says of it"),
        ("iss" = Option<String>, Query, description = "Who says so (RFC 9207); compared where the platform's issuer is known"),
    ),
    responses(
        (status = SEE_OTHER, description = "To `redirectUrl`, or to the connect's page"),
        (status = BAD_REQUEST, description = "A page: `STATE_UNKNOWN` or `CALLBACK_INCOMPLETE`", content_type = "text/html", body = String),
        (status = CONFLICT, description = "A page: `STATE_USED`", content_type = "text/html", body = String),
        (status = GONE, description = "A page: `STATE_EXPIRED`", content_type = "text/html", body = String),
    ),
)]
pub(crate) async fn callback(
    State(app): State<Arc<App>>,
    Extension(request_id): Extension<RequestId>,
    method: Method,
    Path(platform): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    // Scanners of links ask with HEAD, which the router takes for GET: it must not use a state up.
    if method != Method::GET {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let answer = Answer::read(query.as_deref().unwrap_or_default());
    match take(&app, &platform, answer).await {
        Ok(response) => response,
        Err(problem) => super::problem_page(&problem, &request_id),
    }
}

async fn take(app: &App, platform: &str, answer: Answer) -> Result<Response, Problem> {
    let state = answer.state.ok_or_else(|| refused(Code::StateUnknown))?;
    let found = {
        let mut conn = app.conn().await?;
        connects::find_by_state(&mut conn, &authorize::hash(&state)).await?
    };
    let connect = found
        .filter(|connect| connect.platform.eq_ignore_ascii_case(platform))
        .ok_or_else(|| refused(Code::StateUnknown))?;
    if connect.status != ConnectStatus::Pending {
        return Err(too_late(connect.status));
    }
    let Some(outcome) = answer.outcome else {
        return Err(refused(Code::CallbackIncomplete));
    };
    let cookie = PageCookie::new();
    let connect = match (mix_up(&connect, answer.issuer.as_deref()), outcome) {
        (Some(ending), _) => fail(app, &connect, ending, &cookie).await?,
        (None, Outcome::Approved(code)) => approved(app, &connect, &code, &cookie).await?,
        (None, Outcome::Refused(refusal)) => {
            fail(app, &connect, (refusal.reason(), refusal.to_json()), &cookie).await?
        }
    };
    Ok(lead_on(app, &connect, &cookie))
}

/// An answer that is not from whom the person was sent to (RFC 9207): its code, if it has one, is
/// presented to nobody.
fn mix_up(connect: &Connect, answered: Option<&str>) -> Option<(&'static str, Value)> {
    let asked = connect.issuer.as_deref();
    if authorize::issuer_fits(asked, connect.iss_required, answered) {
        return None;
    }
    let answered = answered.map_or_else(|| "none".to_owned(), redact);
    let cause =
        format!("the answer names the issuer {answered}, asked was {}", asked.unwrap_or("none"));
    tracing::warn!(connect.id = %connect.id, platform.id = connect.platform, "{cause}");
    Some(("ISSUER_MISMATCH", json!({ "cause": cause })))
}

/// Keeps the code, sealed, and waits a little for what comes of it.
async fn approved(
    app: &App,
    connect: &Connect,
    code: &AuthorizationCode,
    cookie: &PageCookie,
) -> Result<Connect, Problem> {
    let place = (&connect.workspace_id, &connect.id);
    let waiter = app.waiters.wait_for(&connect.id);
    let mut work = app.store.begin().await?;
    let page_hash = cookie.hash();
    let what = (code.0.as_bytes(), Some(page_hash.as_slice()));
    let Some(authorized) = handover::authorize(app, &mut work, place, what).await? else {
        return Err(lost(&mut work, connect).await?);
    };
    work.commit().await?;
    // From here on nothing may fail: the state is used, and the person's page goes on wherever this leaves off.
    Ok(wait::until_settled(app, authorized, &waiter, app.limits.callback_wait).await)
}

/// Ends the connect with a reason and what the platform said.
async fn fail(
    app: &App,
    connect: &Connect,
    (reason, said): (&'static str, Value),
    cookie: &PageCookie,
) -> Result<Connect, Problem> {
    let mut work = app.store.begin().await?;
    let page_hash = cookie.hash();
    let mut step = Advance::to(ConnectStatus::Failed, &[ConnectStatus::Pending]);
    step.reason_code = Some(reason);
    step.platform_error = Some(&said);
    step.page_hash = Some(&page_hash);
    step.in_time = true;
    let place = (&connect.workspace_id, &connect.id);
    let Some(failed) = connects::advance(&mut work, app.clock(), place, &step).await? else {
        return Err(lost(&mut work, connect).await?);
    };
    work.emit(failed.event(EventType::ConnectFailed)).await?;
    work.commit().await?;
    Ok(failed)
}

/// Why the state is not good any more: of two callbacks one wins, and none after the connect's end.
async fn lost(work: &mut Work, connect: &Connect) -> Result<Problem, Problem> {
    let now = connects::find(work, &connect.workspace_id, &connect.id).await?;
    Ok(match now {
        Some(connect) if connect.status == ConnectStatus::Pending => refused(Code::StateExpired),
        Some(connect) => too_late(connect.status),
        None => refused(Code::StateUnknown),
    })
}

/// Away from the address that holds the code: to the application if all is done, else to our page.
fn lead_on(app: &App, connect: &Connect, cookie: &PageCookie) -> Response {
    let ended = connect.status.is_final();
    if let Some(url) = super::result::url(connect, None).filter(|_| ended) {
        return Redirect::to(url.as_str()).into_response();
    }
    let mut response = Redirect::to(&connect_page::address(app, &connect.id)).into_response();
    cookie.put(&mut response, &app.public_url);
    response
}

fn too_late(status: ConnectStatus) -> Problem {
    refused(match status {
        ConnectStatus::Expired => Code::StateExpired,
        _ => Code::StateUsed,
    })
}

/// The page says the rest.
fn refused(code: Code) -> Problem {
    Problem::new(code, "")
}
