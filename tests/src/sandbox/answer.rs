//! What the OAuth endpoints answer, before and after a fault has touched it.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::{Value, json};

use super::call::Call;
use super::dialect::Problem;
use super::faults::{Endpoint, Fault};
use super::ledger::Outcome;

/// The size of the body that nobody should read to its end.
const HUGE_BYTES: usize = 10 * 1024 * 1024;

/// A status and a JSON object; a string is plain text, null no body at all.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    status: StatusCode,
    body: Value,
    content_type: &'static str,
    challenge: Option<&'static str>,
}

impl Answer {
    pub(super) fn ok(body: Value) -> Self {
        Self::of(200, body)
    }

    /// 200 without a body.
    pub(super) fn empty() -> Self {
        Self::ok(Value::Null)
    }

    pub(super) fn of(status: u16, body: Value) -> Self {
        let status = bare(status);
        Self { status, body, content_type: "application/json", challenge: None }
    }

    /// 200 and plain text.
    pub(super) fn plain(text: String) -> Self {
        Self { content_type: "text/plain", ..Self::ok(Value::String(text)) }
    }

    /// An error in the shape of RFC 9457.
    pub(super) fn problem(status: u16, body: Value) -> Self {
        Self { content_type: "application/problem+json", ..Self::of(status, body) }
    }

    /// An error in the shape of RFC 6749 §5.2.
    pub(super) fn refused(error: &str, description: &str) -> Self {
        let body = json!({ "error": error, "error_description": description });
        match error {
            "invalid_client" => Self::unauthorized(body, r#"Basic realm="sandbox""#),
            _ => Self::of(400, body),
        }
    }

    /// A refused access token (RFC 6750 §3.1).
    pub(super) fn invalid_token() -> Self {
        let body = json!({
            "error": "invalid_token",
            "error_description": "the access token is unknown, expired or revoked",
        });
        Self::unauthorized(body, r#"Bearer realm="sandbox", error="invalid_token""#)
    }

    fn unauthorized(body: Value, challenge: &'static str) -> Self {
        Self { challenge: Some(challenge), ..Self::of(401, body) }
    }

    pub(super) fn outcome(&self) -> Outcome {
        Outcome { status: Some(self.status.as_u16()), error: self.error() }
    }

    /// The error code, wherever a platform puts it.
    fn error(&self) -> Option<String> {
        let error = &self.body["error"];
        let plain = [error, &error["code"], &self.body["data"]["error"]["code"]];
        let told = plain.into_iter().find(|code| code.is_string() || code.is_number());
        // A member `code` at the top is TikTok's and Pinterest's; 0 and ok are no errors.
        let code = told.unwrap_or(&self.body["code"]);
        let code = code.as_str().map_or_else(|| code.to_string(), str::to_owned);
        Some(code).filter(|code| !matches!(code.as_str(), "null" | "0" | "ok"))
    }

    /// What the client gets under a fault. A delay or a drop changes nothing here.
    pub(super) fn under(self, fault: &Fault, call: &Call) -> Response {
        match fault {
            Fault::Delay { .. } | Fault::Drop | Fault::Silence => self.into_response(),
            Fault::Huge => self.padded().into_response(),
            Fault::Drip { interval_ms } => self.drip(Duration::from_millis(*interval_ms)),
            Fault::WrongContentType { content_type } => {
                let content_type = [(header::CONTENT_TYPE, content_type)];
                (self.status, content_type, [NO_STORE], self.text()).into_response()
            }
            Fault::MissingRefreshToken => {
                self.without("refresh_token").without("refreshJwt").into_response()
            }
            Fault::ChangedScope { scope } => self.with("scope", scope).into_response(),
            instead => in_place(instead, call),
        }
    }

    pub(super) fn with(mut self, member: &str, value: &str) -> Self {
        if !self.body.is_string() {
            self.home(member)[member] = json!(value);
        }
        self
    }

    fn without(mut self, member: &str) -> Self {
        if let Value::Object(members) = self.home(member) {
            members.remove(member);
        }
        self
    }

    /// Where a member stands: some vendors wrap their tokens in `data`.
    fn home(&mut self, member: &str) -> &mut Value {
        match self.body["data"].get(member) {
            Some(_) => &mut self.body["data"],
            None => &mut self.body,
        }
    }

    fn text(&self) -> String {
        match &self.body {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            body => body.to_string(),
        }
    }

    /// The padding sorts before the members of a token answer, so that only a reader of everything
    /// finds them.
    fn padded(self) -> Self {
        let padding = "x".repeat(HUGE_BYTES);
        match self.body {
            Value::String(text) => Self { body: Value::String(padding + &text), ..self },
            _ => self.with("0", &padding),
        }
    }

    fn drip(self, interval: Duration) -> Response {
        let bytes = self.text().into_bytes();
        let drops = stream::unfold(bytes.into_iter(), move |mut rest| async move {
            let byte = rest.next()?;
            tokio::time::sleep(interval).await;
            Some((Ok::<_, std::io::Error>(Bytes::from(vec![byte])), rest))
        });
        (self.status, [JSON, NO_STORE], Body::from_stream(drops)).into_response()
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let challenge = self.challenge.map(|challenge| [(header::WWW_AUTHENTICATE, challenge)]);
        let content_type =
            (self.body != Value::Null).then_some([(header::CONTENT_TYPE, self.content_type)]);
        (self.status, challenge, content_type, [NO_STORE], self.text()).into_response()
    }
}

const JSON: (HeaderName, HeaderValue) =
    (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
const NO_STORE: (HeaderName, HeaderValue) =
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));

/// What a fault answers that has no use for the real answer.
pub(super) fn in_place(fault: &Fault, call: &Call) -> Response {
    match fault {
        Fault::Status { status } => bare(*status).into_response(),
        Fault::RetryAfter { status, value } => {
            (bare(*status), [(header::RETRY_AFTER, value)]).into_response()
        }
        Fault::RateLimited { retry_after_secs } => {
            let wait = retry_after_secs.map(|secs| [(header::RETRY_AFTER, secs.to_string())]);
            (StatusCode::TOO_MANY_REQUESTS, wait, ()).into_response()
        }
        Fault::Garbage => ([JSON, NO_STORE], r#"{"access_token":"sbx-"#).into_response(),
        Fault::InvalidGrant => {
            let dead = match call.endpoint {
                Endpoint::TokenCode => Problem::Code,
                _ => Problem::Refresh,
            };
            (call.dialect.refuse)(dead, "injected").into_response()
        }
        Fault::InvalidClient => (call.dialect.refuse)(Problem::Client, "injected").into_response(),
        Fault::Answer { status, headers, body } => raw(*status, headers, body),
        Fault::ErrorInOk { error } => {
            Answer::ok(json!({ "error": error, "error_description": "injected" })).into_response()
        }
        Fault::Redirect { location } => {
            (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, location)]).into_response()
        }
        Fault::Delay { .. }
        | Fault::Huge
        | Fault::Drip { .. }
        | Fault::WrongContentType { .. }
        | Fault::Drop
        | Fault::Silence
        | Fault::MissingRefreshToken
        | Fault::ChangedScope { .. } => StatusCode::NO_CONTENT.into_response(),
    }
}

/// An answer to the letter; JSON unless its headers say otherwise.
fn raw(status: u16, headers: &BTreeMap<String, String>, body: &str) -> Response {
    let mut response = (bare(status), [JSON, NO_STORE], body.to_owned()).into_response();
    for (name, value) in headers {
        match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            (Ok(name), Ok(value)) => drop(response.headers_mut().insert(name, value)),
            _ => tracing::error!(%name, "a fault's answer has a header that HTTP does not know"),
        }
    }
    response
}

fn bare(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
