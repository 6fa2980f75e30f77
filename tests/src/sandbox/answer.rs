//! What the OAuth endpoints answer, before and after a fault has touched it.

use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::{Value, json};

use super::faults::Fault;
use super::ledger::Outcome;

/// The size of the body that nobody should read to its end.
const HUGE_BYTES: usize = 10 * 1024 * 1024;

/// A status and a JSON object; a string is plain text, null no body at all.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    status: StatusCode,
    body: Value,
    challenge: Option<&'static str>,
}

impl Answer {
    pub(super) fn ok(body: Value) -> Self {
        Self::of(200, body)
    }

    pub(super) fn of(status: u16, body: Value) -> Self {
        Self { status: bare(status), body, challenge: None }
    }

    /// 200 and plain text.
    pub(super) fn plain(text: String) -> Self {
        Self::ok(Value::String(text))
    }

    /// An error in the shape of RFC 6749 §5.2.
    pub(super) fn refused(error: &str, description: &str) -> Self {
        let body = json!({ "error": error, "error_description": description });
        match error {
            "invalid_client" => Self::unauthorized(body, r#"Basic realm="sandbox""#),
            _ => Self { status: StatusCode::BAD_REQUEST, body, challenge: None },
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
        Self { status: StatusCode::UNAUTHORIZED, body, challenge: Some(challenge) }
    }

    pub(super) fn outcome(&self) -> Outcome {
        Outcome {
            status: Some(self.status.as_u16()),
            error: self.body["error"].as_str().map(str::to_owned),
        }
    }

    /// What the client gets under a fault. A delay or a drop changes nothing here.
    pub(super) fn under(self, fault: &Fault) -> Response {
        match fault {
            Fault::Delay { .. } | Fault::Drop | Fault::Silence => self.into_response(),
            Fault::Huge => self.padded().into_response(),
            Fault::Drip { interval_ms } => self.drip(Duration::from_millis(*interval_ms)),
            Fault::WrongContentType { content_type } => {
                let body = self.body.to_string();
                (self.status, [(header::CONTENT_TYPE, content_type)], [NO_STORE], body)
                    .into_response()
            }
            Fault::MissingRefreshToken => {
                self.without("refresh_token").without("refreshJwt").into_response()
            }
            Fault::ChangedScope { scope } => self.with("scope", scope).into_response(),
            instead => in_place(instead),
        }
    }

    pub(super) fn with(mut self, member: &str, value: &str) -> Self {
        if !self.body.is_string() {
            self.body[member] = json!(value);
        }
        self
    }

    fn without(mut self, member: &str) -> Self {
        if let Value::Object(members) = &mut self.body {
            members.remove(member);
        }
        self
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
        let bytes = self.body.to_string().into_bytes();
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
        let head = (self.status, challenge, [NO_STORE]);
        match self.body {
            Value::Null => head.into_response(),
            Value::String(text) => (head.0, head.1, head.2, text).into_response(),
            body => (head.0, head.1, head.2, Json(body)).into_response(),
        }
    }
}

const JSON: (HeaderName, HeaderValue) =
    (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
const NO_STORE: (HeaderName, HeaderValue) =
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));

/// What a fault answers that has no use for the real answer.
pub(super) fn in_place(fault: &Fault) -> Response {
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
        Fault::InvalidGrant => Answer::refused("invalid_grant", "injected").into_response(),
        Fault::InvalidClient => Answer::refused("invalid_client", "injected").into_response(),
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

fn bare(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
