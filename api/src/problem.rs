//! Errors as applications see them: `application/problem+json` (RFC 9457).
//!
//! A problem travels through the layers as a response extension; the outermost layer knows the
//! request id, writes the body, and logs what caused it. Causes never leave the log.

use std::borrow::Cow;
use std::sync::Arc;

use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use latchkey_shared::db::DbError;
use latchkey_shared::keyring::SealError;
use latchkey_shared::operations::Unable;
pub(crate) use latchkey_shared::refused::FieldError;
use latchkey_shared::refused::Refused;
use serde::Serialize;
use utoipa::ToSchema;

use crate::code::Code;

/// When to come back while the database or a platform is away.
const RETRY_AFTER_SECONDS: i64 = 5;

/// An error on its way to the caller.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    code: Code,
    status: StatusCode,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    cause: Option<Cause>,
    retry_after: Option<i64>,
}

/// What the log shall say of a response that is a failure of ours.
#[derive(Clone, Debug)]
pub(crate) struct Cause(pub(crate) Arc<anyhow::Error>);

/// The body of every error.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProblemBody<'a> {
    /// One URN for each code.
    #[schema(example = "urn:latchkey:problem:validation-failed")]
    r#type: String,
    /// What the code means.
    title: &'static str,
    /// The HTTP status.
    #[schema(example = 400)]
    status: u16,
    /// What went wrong, for machines.
    code: Code,
    /// What to do about it.
    detail: &'a str,
    /// Names this request in the log; also the header `x-request-id`.
    request_id: &'a str,
    /// The fields and parameters that are wrong, if that is what it is about.
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    #[schema(required = false)]
    errors: &'a [FieldError],
}

impl Problem {
    pub(crate) fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        let status = code.status();
        let unavailable = status == StatusCode::SERVICE_UNAVAILABLE;
        let retry_after = unavailable.then_some(RETRY_AFTER_SECONDS);
        Self { code, status, detail: detail.into(), errors: Vec::new(), cause: None, retry_after }
    }

    /// The same in another status: dialects have their own for some codes.
    pub(crate) fn answered(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// The same in other words.
    pub(crate) fn worded(self, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { detail: detail.into(), ..self }
    }

    /// The same about other places: a dialect's fields have names of their own, and some stand in the query.
    pub(crate) fn about(self, place: impl Fn(FieldError) -> FieldError) -> Self {
        Self { errors: self.errors.into_iter().map(place).collect(), ..self }
    }

    /// In how many seconds the same request may fare better.
    pub(crate) fn retry_after(self, seconds: i64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// The same code for every id that the caller may not see, whatever the reason.
    pub(crate) fn not_found() -> Self {
        Refused::not_found().into()
    }

    /// One field of the body that is wrong in a way that has its own code.
    pub(crate) fn at(self, pointer: &str) -> Self {
        Self { errors: vec![FieldError::at(pointer, self.detail.clone())], ..self }
    }

    /// A parameter of the query that is wrong.
    pub(crate) fn invalid_query(parameter: &str, message: &str) -> Self {
        let detail = format!("Correct the query: `{parameter}` {message}.");
        let errors = vec![FieldError::of_query(parameter, message)];
        Self { errors, ..Self::new(Code::ValidationFailed, detail) }
    }

    /// A failure of ours.
    pub(crate) fn internal(cause: anyhow::Error) -> Self {
        Self {
            cause: Some(Cause(Arc::new(cause))),
            ..Self::new(
                Code::Internal,
                "Try again; if it stays, give the request id to whoever runs this installation.",
            )
        }
    }

    /// A platform that does not say where its endpoints are; why is logged where it is asked.
    pub(crate) fn platform_unavailable(name: &str) -> Self {
        Refused::platform_unavailable(name).into()
    }

    fn unavailable(cause: anyhow::Error) -> Self {
        Self {
            cause: Some(Cause(Arc::new(cause))),
            ..Self::new(Code::Unavailable, "Try again in a few seconds.")
        }
    }

    pub(crate) fn code(&self) -> Code {
        self.code
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    pub(crate) fn errors(&self) -> &[FieldError] {
        &self.errors
    }

    pub(crate) fn cause(&self) -> Option<&Cause> {
        self.cause.as_ref()
    }

    /// The JSON body, for the request of this id.
    pub(crate) fn body<'a>(&'a self, request_id: &'a str) -> ProblemBody<'a> {
        ProblemBody {
            r#type: self.code.urn(),
            title: self.code.title(),
            status: self.status.as_u16(),
            code: self.code,
            detail: &self.detail,
            request_id,
            errors: &self.errors,
        }
    }

    /// Writes the body of a response that a problem was put on.
    pub(crate) fn write(response: Response, request_id: &str) -> Response {
        Self::write_as(response, "application/problem+json", |problem| {
            serde_json::to_string(&problem.body(request_id))
        })
    }

    /// The same in another form.
    pub(crate) fn write_as(
        response: Response,
        kind: &'static str,
        form: impl Fn(&Self) -> serde_json::Result<String>,
    ) -> Response {
        let (mut parts, body) = response.into_parts();
        let Some(problem) = parts.extensions.remove::<Self>() else {
            return Response::from_parts(parts, body);
        };
        if let Some(cause) = problem.cause() {
            parts.extensions.insert(cause.clone());
        }
        let json = form(&problem).expect("a problem is made of text and numbers");
        parts.headers.remove(CONTENT_LENGTH);
        parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        Response::from_parts(parts, json.into())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        Self { errors: refused.errors, ..Self::new(refused.code, refused.detail) }
    }
}

impl From<Unable> for Problem {
    fn from(unable: Unable) -> Self {
        match unable {
            Unable::Refused(refused) => refused.into(),
            Unable::Db(error) => error.into(),
            Unable::Seal(error) => error.into(),
            Unable::Broken(why) => Self::internal(anyhow::Error::msg(why)),
        }
    }
}

impl From<DbError> for Problem {
    fn from(error: DbError) -> Self {
        if error.is_unavailable() {
            Self::unavailable(error.into())
        } else if error.is_foreign_key_violation() {
            Refused::reference_gone().into()
        } else {
            Self::internal(error.into())
        }
    }
}

impl From<SealError> for Problem {
    fn from(error: SealError) -> Self {
        match error {
            SealError::Db(error) => error.into(),
            error => Self::internal(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use serde_json::{Value, json};

    use super::*;

    async fn written(problem: Problem) -> (Response<()>, Value) {
        let response = Problem::write(problem.into_response(), "req_1");
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let body = serde_json::from_slice(&body).unwrap();
        (Response::from_parts(parts, ()), body)
    }

    #[tokio::test]
    async fn a_problem_has_the_form_of_the_rfc() {
        let problem = Problem::new(Code::PlatformUnknown, "Name one.").at("/platform");
        let (response, body) = written(problem).await;
        assert_eq!(response.status(), 400);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        let expected = json!({
            "type": "urn:latchkey:problem:platform-unknown",
            "title": "There is no such platform",
            "status": 400,
            "code": "PLATFORM_UNKNOWN",
            "detail": "Name one.",
            "requestId": "req_1",
            "errors": [{ "pointer": "/platform", "message": "Name one." }],
        });
        assert_eq!(body, expected);
    }

    #[tokio::test]
    async fn a_failure_of_ours_keeps_its_cause_to_itself() {
        let cause = anyhow::anyhow!("relation \"accounts\" does not exist");
        let (response, body) = written(Problem::internal(cause)).await;
        assert_eq!(response.status(), 500);
        assert!(response.extensions().get::<Cause>().is_some());
        assert!(!body.to_string().contains("relation"), "{body}");
        assert!(body.get("errors").is_none());
    }

    #[tokio::test]
    async fn an_absent_database_says_when_to_come_back() {
        let error = DbError::Unavailable("no connection".to_owned());
        let (response, body) = written(error.into()).await;
        assert_eq!(response.headers()[RETRY_AFTER], "5");
        assert_eq!(body["code"], "UNAVAILABLE");
    }

    #[test]
    fn no_code_stands_twice() {
        let mut words: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Code::ALL.len());
    }
}
