//! What every request goes through, outermost: an id, a span, a task of its own, metrics.
//!
//! The task of its own is for database work: a client that hangs up drops the connection's future,
//! and must not drop a transaction half-way with it. Logs and metrics name the route, never the
//! path's query, which carries code and state.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use latchkey_shared::random;
use tracing::Instrument as _;

use crate::code::Code;
use crate::problem::{Cause, Problem};
use crate::state::App;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Names a request, in the answer and in the log.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(String);

impl RequestId {
    /// The caller's, if it has a sane form; else a new one.
    fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
        match given.filter(|id| is_sane(id)) {
            Some(id) => Self(id.to_owned()),
            None => Self(format!("req_{}", random::token())),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_sane(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=64).contains(&id.len()) && id.bytes().all(plain)
}

/// The outermost layer.
pub(crate) async fn run(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers());
    request.extensions_mut().insert(id.clone());
    let subject = Subject::of(&request);
    let span = tracing::info_span!(
        "request",
        request.id = id.as_str(),
        http.method = subject.method,
        http.route = subject.route,
        api_key.id = tracing::field::Empty,
    );
    let handling = async move {
        let begun = Instant::now();
        let response = AssertUnwindSafe(next.run(request)).catch_unwind().await;
        let response = Problem::write(response.unwrap_or_else(|_| panicked()), id.as_str());
        subject.note(&response, begun);
        with_id(response, &id)
    };
    let task = app.tasks.spawn(handling.instrument(span));
    task.await.unwrap_or_else(|_| panicked())
}

fn panicked() -> Response {
    Problem::internal(anyhow::anyhow!("the handler panicked")).into_response()
}

fn with_id(mut response: Response, id: &RequestId) -> Response {
    let value = HeaderValue::from_str(id.as_str()).expect("request ids are plain ASCII");
    response.headers_mut().insert(REQUEST_ID, value);
    response
}

/// What logs and metrics call a request: words of which there are few.
struct Subject {
    method: &'static str,
    route: String,
}

impl Subject {
    fn of(request: &Request) -> Self {
        let route = request.extensions().get::<MatchedPath>();
        Self {
            method: method(request.method()),
            route: route.map_or("unmatched", |route| route.as_str()).to_owned(),
        }
    }

    fn note(&self, response: &Response, begun: Instant) {
        let took = begun.elapsed();
        let status = response.status();
        let method = self.method;
        metrics::counter!("latchkey_http_requests_total", "method" => method,
            "route" => self.route.clone(), "status" => status.as_str().to_owned())
        .increment(1);
        metrics::histogram!("latchkey_http_request_seconds", "method" => method,
            "route" => self.route.clone())
        .record(took.as_secs_f64());
        if let Some(Cause(cause)) = response.extensions().get() {
            if status == Code::Unavailable.status() {
                tracing::warn!("unavailable: {cause:#}");
            } else {
                tracing::error!("failed: {cause:#}");
            }
        }
        let (status, duration_ms) = (status.as_u16(), took.as_millis());
        if matches!(self.route.as_str(), "/healthz" | "/readyz") {
            tracing::debug!(status, duration_ms, "answered");
        } else {
            tracing::info!(status, duration_ms, "answered");
        }
    }
}

fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_for(given: &str) -> RequestId {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_str(given).unwrap());
        RequestId::of(&headers)
    }

    #[test]
    fn a_sane_id_is_kept() {
        for given in ["a", "job-7_retry.2", &"x".repeat(64)] {
            assert_eq!(id_for(given).as_str(), given);
        }
    }

    #[test]
    fn any_other_is_replaced_by_a_sane_one() {
        for given in ["", "two words", "a\"b", "{}", "a\tb", &"x".repeat(65)] {
            let id = id_for(given);
            assert_ne!(id.as_str(), given);
            assert!(is_sane(id.as_str()), "{}", id.as_str());
        }
        assert!(is_sane(RequestId::of(&HeaderMap::new()).as_str()));
    }
}
