//! What stands before every route that needs a key: who is calling, how often, whether there is room
//! for more work, and that a POST with an `Idempotency-Key` runs once.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use latchkey_shared::ids::OrganisationId;

use crate::auth::Caller;
use crate::budget::Standing;
use crate::code::Code;
use crate::idempotency;
use crate::problem::Problem;
use crate::state::App;

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// Lets a request through to its handler, which finds the [`Caller`] in the extensions.
pub(crate) async fn run(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let (caller, standing) = match Caller::admit(&parts, &app).await {
        Ok(admitted) => admitted,
        Err(problem) => return problem.into_response(),
    };
    parts.extensions.insert(caller.clone());
    let request = Request::from_parts(parts, body);
    let answered = match standing.and_then(|standing| standing.retry_after) {
        Some(seconds) => Err(too_many(standing.map_or(0, |standing| standing.limit), seconds)),
        None => answer(&app, &caller, request, next).await,
    };
    let mut response = answered.unwrap_or_else(Problem::into_response);
    if let Some(standing) = standing {
        tell(&mut response, standing);
    }
    response
}

async fn answer(
    app: &App,
    caller: &Caller,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if request.method() != Method::POST {
        return Ok(next.run(request).await);
    }
    check_room(app, &caller.organisation_id).await?;
    idempotency::run(app, caller, request, next).await
}

/// # Errors
/// `OUTBOX_FULL` while too much work waits to take on more.
pub(crate) async fn check_room(app: &App, organisation: &OrganisationId) -> Result<(), Problem> {
    match app.backlog.refusal(&app.store, organisation).await? {
        Some(refused) => Err(refused.into()),
        None => Ok(()),
    }
}

fn too_many(limit: i64, seconds: i64) -> Problem {
    let detail = format!("This key may send {limit} requests a minute: wait for {seconds} s.");
    Problem::new(Code::RateLimited, detail).retry_after(seconds)
}

fn tell(response: &mut Response, standing: Standing) {
    let headers = response.headers_mut();
    for (name, value) in
        [(LIMIT, standing.limit), (REMAINING, standing.remaining), (RESET, standing.reset)]
    {
        headers.insert(name, HeaderValue::from(value));
    }
}
