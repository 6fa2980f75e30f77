//! What handlers take from a request, each failure a problem that says what to do.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use futures_util::StreamExt as _;
use latchkey_shared::body;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use url::form_urlencoded;

use crate::code::Code;
use crate::problem::Problem;

/// No body of ours is larger.
pub(crate) const BODY_LIMIT: usize = body::LIMIT;
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
        Ok(Self(body::parse(&read(request.into_body()).await?)?))
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
        refuse_nul(parts.uri.query().unwrap_or_default())?;
        let Query(params) = Query::try_from_uri(&parts.uri).map_err(|rejection| {
            let text = rejection.body_text();
            wrong_query(text.rsplit_once("query string: ").map_or(text.as_str(), |(_, what)| what))
        })?;
        Ok(Self(params))
    }
}

/// PostgreSQL keeps no NUL, and no parameter of ours means anything with one in it.
fn refuse_nul(query: &str) -> Result<(), Problem> {
    let mut parameters = form_urlencoded::parse(query.as_bytes());
    match parameters.find(|(name, value)| name.contains('\0') || value.contains('\0')) {
        None => Ok(()),
        Some((name, _)) if name.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            Err(Problem::invalid_query(&name, "must not contain the character NUL"))
        }
        Some(_) => Err(wrong_query("the character NUL is in it")),
    }
}

/// `parameter: what is wrong with it`; an error about no parameter in particular names none.
fn wrong_query(what: &str) -> Problem {
    match what.split_once(": ") {
        Some((name, message)) if name.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            Problem::invalid_query(name, &format!("is wrong: {}", body::without_value(message)))
        }
        _ => {
            let what = body::without_value(what);
            Problem::new(Code::ValidationFailed, format!("Correct the query: {what}."))
        }
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
