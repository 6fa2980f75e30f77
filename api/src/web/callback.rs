//! Where platforms send the browser back to. The path that a code takes must be short: some codes
//! live for half a minute.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use diesel_async::AsyncPgConnection;
use latchkey_shared::authorize;
use latchkey_shared::db::connects::{self, Advance, Binding, Connect, ConnectStatus};
use latchkey_shared::events::EventData;
use latchkey_shared::operations::handover::{self, Brought};
use serde_json::{Value, json};

use super::again::{self, Trace};
use super::answer::{Answer, Code as AuthorizationCode, Outcome, redact};
use super::cookie::{self, PageCookie};
use super::{connect_page, refusal};
use crate::code::Code;
use crate::problem::Problem;
use crate::request::RequestId;
use crate::state::App;
use crate::waiting;

/// Why a connect ends whose answer another issuer gave.
const MIX_UP: &str = "ISSUER_MISMATCH";

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
        (status = BAD_REQUEST, description = "A page: `STATE_UNKNOWN`, `CALLBACK_INCOMPLETE`; `CALLBACK_MISMATCH`, which ends the connect", content_type = "text/html", body = String),
        (status = FORBIDDEN, description = "A page: `BROWSER_MISMATCH`, which ends the connect", content_type = "text/html", body = String),
        (status = CONFLICT, description = "A page: `STATE_USED`", content_type = "text/html", body = String),
        (status = GONE, description = "A page: `STATE_EXPIRED`", content_type = "text/html", body = String),
    ),
)]
pub(crate) async fn callback(
    State(app): State<Arc<App>>,
    Path(platform): Path<String>,
    came: Came,
) -> Response {
    answer(&app, &platform, came).await
}

/// How a browser came back, whatever the path.
pub(crate) struct Came {
    request_id: RequestId,
    method: Method,
    query: String,
    headers: HeaderMap,
}

impl<S: Send + Sync> FromRequestParts<S> for Came {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let request_id = parts.extensions.get::<RequestId>().cloned();
        Ok(Self {
            request_id: request_id.expect("the outermost layer names every request"),
            method: parts.method.clone(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            headers: parts.headers.clone(),
        })
    }
}

/// The answer to a browser that came back by the path of this platform, whose id may be in any case.
pub(crate) async fn answer(app: &Arc<App>, platform: &str, came: Came) -> Response {
    // Scanners of links ask with HEAD, which the router takes for GET: it must not use a state up.
    if came.method != Method::GET {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    match take(app, platform, &came).await {
        Ok(response) => response,
        Err(problem) => super::problem_page(&problem, &came.request_id),
    }
}

async fn take(app: &App, platform: &str, came: &Came) -> Result<Response, Problem> {
    let answer = Answer::read(&came.query);
    let found = match &answer.state {
        Some(state) => {
            let mut conn = app.conn().await?;
            connects::find_by_state(&mut conn, &authorize::hash(state)).await?
        }
        None => None,
    };
    let Some(connect) = found else {
        refusal::unknown(app, platform);
        return Err(refused(Code::StateUnknown));
    };
    let judged = judge(app, &connect, platform, came, answer).await;
    if let Err(problem) = &judged {
        refusal::note_callback(app, &connect, problem.code()).await;
    }
    judged
}

/// Takes the answer, from whom it must come and by the way it must come. Whoever has the state and comes
/// otherwise ends the connect: it is in the wrong hands.
async fn judge(
    app: &App,
    connect: &Connect,
    platform: &str,
    came: &Came,
    answer: Answer,
) -> Result<Response, Problem> {
    let of_its_platform = connect.platform.eq_ignore_ascii_case(platform);
    if connect.status != ConnectStatus::Pending {
        let known = of_its_platform && mix_up(connect, answer.issuer.as_deref()).is_none();
        let outcome = answer.outcome.as_ref().filter(|_| known);
        return once_more(app, connect, outcome, &came.headers).await;
    }
    let shown = cookie::hash_of(&came.headers, &connect.id, &app.public_url);
    let held = shown.is_some() && shown == connect.page_hash;
    let foreign = if !of_its_platform {
        Some(Code::CallbackMismatch)
    } else if connect.binding == Binding::Browser && !held {
        Some(Code::BrowserMismatch)
    } else {
        None
    };
    if let Some(code) = foreign {
        fail(app, connect, code.as_str(), None, None).await?;
        refusal::ended(connect, code.as_str());
        return Err(refused(code));
    }
    let Some(outcome) = answer.outcome else {
        return Err(refused(Code::CallbackIncomplete));
    };
    let (reason, said) = match (mix_up(connect, answer.issuer.as_deref()), outcome) {
        (None, Outcome::Approved(code)) => {
            return approved(app, connect, code, held, &came.headers).await;
        }
        (None, Outcome::Refused(refusal)) => (refusal.reason(), refusal.to_json()),
        (Some(said), _) => (MIX_UP, said),
    };
    // A browser that holds the cookie of the first page keeps it.
    let cookie = (!held).then(PageCookie::new);
    let page_hash = cookie.as_ref().map(PageCookie::hash);
    let failed = fail(app, connect, reason, Some(&said), page_hash.as_deref()).await?;
    if reason == MIX_UP {
        refusal::ended(&failed, MIX_UP);
    }
    Ok(lead_on(app, &failed, cookie, &came.headers).await)
}

/// A callback to a connect that does not wait for one any more.
async fn once_more(
    app: &App,
    connect: &Connect,
    outcome: Option<&Outcome>,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    match again::find_end(app, connect, outcome, headers).await? {
        Some((connect, cookie)) => Ok(lead_on(app, &connect, cookie, headers).await),
        None => Err(lost(&mut *app.conn().await?, connect).await?),
    }
}

/// An answer that is not from whom the person was sent to (RFC 9207): its code, if it has one, is
/// presented to nobody.
fn mix_up(connect: &Connect, answered: Option<&str>) -> Option<Value> {
    let asked = connect.issuer.as_deref();
    if authorize::issuer_fits(asked, connect.iss_required, answered) {
        return None;
    }
    let answered = answered.map_or_else(|| "none".to_owned(), redact);
    let cause =
        format!("the answer names the issuer {answered}, asked was {}", asked.unwrap_or("none"));
    tracing::warn!(connect.id = %connect.id, platform.id = connect.platform, "{cause}");
    Some(json!({ "cause": cause }))
}

/// Keeps the code, sealed, and waits a little for what comes of it. A browser that holds the cookie of the first page
/// keeps it.
async fn approved(
    app: &App,
    connect: &Connect,
    code: AuthorizationCode,
    held: bool,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let key = connect.key();
    let waiter = app.waiters.wait_for(&connect.id);
    let mut work = app.store.begin().await?;
    let trace = Trace::of(&mut work, connect, &code).await?;
    let page_hash = (!held).then(|| trace.cookie.hash());
    let brought = Brought {
        code: code.0.as_bytes(),
        page_hash: page_hash.as_deref(),
        code_hash: Some(&trace.code_hash),
    };
    let Some(authorized) = handover::authorize(&mut work, key, brought).await? else {
        drop(work);
        return once_more(app, connect, Some(&Outcome::Approved(code)), headers).await;
    };
    work.commit().await?;
    let settled = waiting::until_settled(app, authorized, &waiter).await;
    Ok(lead_on(app, &settled, (!held).then_some(trace.cookie), headers).await)
}

/// Ends the connect with a reason and what the platform said.
async fn fail(
    app: &App,
    connect: &Connect,
    reason: &'static str,
    said: Option<&Value>,
    page_hash: Option<&[u8]>,
) -> Result<Connect, Problem> {
    let mut work = app.store.begin().await?;
    let mut step = Advance::to(ConnectStatus::Failed, &[ConnectStatus::Pending]);
    step.reason_code = Some(reason);
    step.platform_error = said;
    step.page_hash = page_hash;
    step.in_time = true;
    let key = connect.key();
    let Some(failed) = connects::advance(&mut work, key, &step).await? else {
        return Err(lost(&mut work, connect).await?);
    };
    work.emit(failed.event(EventData::ConnectFailed)).await?;
    work.commit().await?;
    Ok(failed)
}

/// Why the state is not good any more: of two callbacks one wins, and none after the connect's end.
async fn lost(conn: &mut AsyncPgConnection, connect: &Connect) -> Result<Problem, Problem> {
    let now = connects::find(conn, &connect.workspace_id, &connect.id).await?;
    Ok(match now {
        Some(connect) if connect.status == ConnectStatus::Pending => refused(Code::StateExpired),
        Some(connect) => too_late(connect.status),
        None => refused(Code::StateUnknown),
    })
}

/// Away from the address that holds the code: to the application if it is its turn, else to our page. The
/// state is used: from here on nothing may fail, and the page goes on wherever this leaves off.
async fn lead_on(
    app: &App,
    connect: &Connect,
    cookie: Option<PageCookie>,
    shown: &HeaderMap,
) -> Response {
    let destination = super::destination(app, connect).await.unwrap_or_else(|problem| {
        tracing::warn!(connect.id = %connect.id, "the page must lead on: {problem:?}");
        None
    });
    let mut url = destination.map_or_else(|| connect_page::address(app, &connect.id), String::from);
    let platform = app.platforms.get(&connect.platform);
    if platform.is_some_and(|platform| platform.quirks.adds_fragment) && !url.contains('#') {
        url.push('#');
    }
    let mut response = Redirect::to(&url).into_response();
    if let Some(cookie) = cookie {
        cookie.put(&mut response, &connect.id, &app.public_url, shown);
    }
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
