//! What handlers take from a request, each failure a problem that says what to do.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use futures_util::StreamExt as _;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;
use serde_path_to_error::Segment;

use crate::code::Code;
use crate::problem::{FieldError, Problem};

/// No body of ours is larger.
pub(crate) const BODY_LIMIT: usize = 64 * 1024;
/// Of a larger one so much is read and forgotten: a client that is still sending when the connection
/// closes never sees why.
const SKIP_LIMIT: usize = 1024 * 1024;
/// A client that stops sending must not hold a task for ever.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A JSON body without unknown fields.
#[derive(Debug)]
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        if !is_json(&request) {
            return Err(Problem::new(
                Code::UnsupportedMediaType,
                "Send the body as JSON with the header `Content-Type: application/json`.",
            ));
        }
        parse(&read(request.into_body()).await?).map(Self)
    }
}

/// The whole body, if it is not too large and comes in time.
pub(crate) async fn read(body: Body) -> Result<Bytes, Problem> {
    let reading = tokio::time::timeout(BODY_TIMEOUT, gather(body));
    reading.await.unwrap_or_else(|_| Err(too_slow()))
}

async fn gather(body: Body) -> Result<Bytes, Problem> {
    let mut kept = Vec::new();
    let mut size = 0;
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk
            .map_err(|_| Problem::new(Code::InvalidJson, "The body ended early: send it again."))?;
        size += chunk.len();
        if size <= BODY_LIMIT {
            kept.extend_from_slice(&chunk);
        } else if size > SKIP_LIMIT {
            break;
        }
    }
    if size > BODY_LIMIT { Err(too_large()) } else { Ok(kept.into()) }
}

fn is_json(request: &Request) -> bool {
    let declared = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let essence = declared.and_then(|kind| kind.split(';').next());
    essence.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

fn too_slow() -> Problem {
    let detail = format!("Send the whole body within {} s.", BODY_TIMEOUT.as_secs());
    Problem::new(Code::RequestTimeout, detail)
}

fn too_large() -> Problem {
    Problem::new(Code::BodyTooLarge, format!("Send at most {BODY_LIMIT} bytes."))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let pointer = pointer(error.path(), &error.inner().to_string());
        // Anything but a text in the place of a word is called a fault of the syntax.
        let is_json = serde_json::from_slice::<IgnoredAny>(body).is_ok();
        if is_json && error.inner().classify() != Category::Data {
            let message = "must be one of the words that the document lists";
            return Problem::invalid(vec![FieldError::at(pointer, message)]);
        }
        refused(error.inner(), pointer)
    })?;
    reader.end().map_err(|error| refused(&error, String::new()))?;
    Ok(value)
}

fn refused(error: &serde_json::Error, pointer: String) -> Problem {
    if error.classify() != Category::Data {
        return Problem::new(Code::InvalidJson, format!("Correct the JSON: {error}."));
    }
    let message = error.to_string();
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(what, _)| what);
    Problem::invalid(vec![FieldError::at(pointer, without_value(message))])
}

/// A value of the wrong type may be a secret in the wrong place: only its type is told.
fn without_value(message: &str) -> String {
    let parts =
        message.strip_prefix("invalid type: ").and_then(|rest| rest.rsplit_once(", expected "));
    let Some((found, expected)) = parts else { return message.to_owned() };
    let kind = found.split(['`', '"']).next().unwrap_or_default().trim();
    format!("invalid type: {kind}, expected {expected}")
}

/// Where the error is (RFC 6901). An error about a field that is missing stands at its parent, and
/// only its message names the field.
fn pointer(path: &serde_path_to_error::Path, message: &str) -> String {
    let mut pointer = String::new();
    for segment in path.iter() {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => pointer.push_str(&escaped(key)),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    let missing = message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
    if let Some(field) = missing {
        pointer.push_str(&escaped(field));
    }
    pointer
}

fn escaped(key: &str) -> String {
    format!("/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// The ids in the path. One that is malformed is as unknown as any other.
#[derive(Debug)]
pub(crate) struct Ids<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Ids<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(ids) =
            Path::from_request_parts(parts, state).await.map_err(|_| Problem::not_found())?;
        Ok(Self(ids))
    }
}

/// The parameters in the query.
#[derive(Debug)]
pub(crate) struct Params<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Query(params) = Query::try_from_uri(&parts.uri).map_err(|rejection| {
            let text = rejection.body_text();
            wrong_query(text.rsplit_once("query string: ").map_or(text.as_str(), |(_, what)| what))
        })?;
        Ok(Self(params))
    }
}

/// `parameter: what is wrong with it`; an error about no parameter in particular names none.
fn wrong_query(what: &str) -> Problem {
    match what.split_once(": ") {
        Some((name, message)) if name.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            Problem::invalid_query(name, &format!("is wrong: {message}"))
        }
        _ => Problem::new(Code::ValidationFailed, format!("Correct the query: {what}.")),
    }
}

/// A field that may be left out, and may be null: of the two only null takes away what is there.
///
/// # Errors
/// When the value is neither null nor of the type.
pub(crate) fn or_null<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::Value;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    #[expect(dead_code, reason = "only read by the derived code")]
    struct Outer {
        name: String,
        inner: Option<Inner>,
        tags: Option<Vec<String>>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    #[expect(dead_code, reason = "only read by the derived code")]
    struct Inner {
        wide_number: u8,
    }

    fn told(body: &str) -> (String, String) {
        let problem = parse::<Outer>(body.as_bytes()).unwrap_err();
        let json = serde_json::to_value(problem.body("req_1")).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&json["code"]), text(&json["errors"][0]["pointer"]))
    }

    #[test]
    fn an_error_points_at_its_field() {
        for (body, pointer) in [
            (r#"{}"#, "/name"),
            (r#"{"name":1}"#, "/name"),
            (r#"{"name":"a","colour":1}"#, "/colour"),
            (r#"{"name":"a","a/b~c":1}"#, "/a~1b~0c"),
            (r#"{"name":"a","tags":["a",2]}"#, "/tags/1"),
            (r#"{"name":"a","inner":{}}"#, "/inner/wideNumber"),
            (r#"{"name":"a","inner":{"wideNumber":1,"x":2}}"#, "/inner/x"),
            (r#"{"name":"a","inner":{"wideNumber":300}}"#, "/inner/wideNumber"),
            (r#"[]"#, ""),
        ] {
            let expected = ("VALIDATION_FAILED".to_owned(), pointer.to_owned());
            assert_eq!(told(body), expected, "{body}");
        }
    }

    #[test]
    fn what_is_no_json_is_told_apart() {
        for body in ["", "{", "nonsense", r#"{"name":"a"} more"#] {
            assert_eq!(told(body).0, "INVALID_JSON", "{body}");
        }
    }

    #[test]
    fn a_message_speaks_neither_of_lines_nor_of_the_value() {
        for (body, expected) in [
            (r#"{"name":12345}"#, "invalid type: integer, expected a string"),
            (r#"{"name":["secret"]}"#, "invalid type: sequence, expected a string"),
            (
                r#"{"name":"a","inner":"sec, expected ret"}"#,
                "invalid type: string, expected struct Inner",
            ),
        ] {
            let problem = parse::<Outer>(body.as_bytes()).unwrap_err();
            let json = serde_json::to_value(problem.body("req_1")).unwrap();
            assert_eq!(json["errors"][0]["message"], expected);
        }
    }
}
