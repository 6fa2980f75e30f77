//! A request to a platform's path: kept word for word for the tests, and read as vendors read it.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, FromRequest, FromRequestParts as _, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::loopback::{Link, OnLink};
use crate::sandbox::answer::Answer;
use crate::sandbox::client;
use crate::sandbox::dialect::{Dialect, Problem};
use crate::sandbox::params::Params;
use crate::sandbox::state::Shared;

/// No honest request is longer.
const LONGEST_BODY: usize = 1024 * 1024;

/// Of more requests than this the older half is forgotten: a benchmark makes millions.
const MOST_KEPT: usize = 20_000;

/// Of an answer that repeats a part of its request: which one, a parameter or a header.
pub const REPEAT: &str = "x-repeat";

/// The headers that say something about a client.
const KEPT: [&str; 5] = [
    "authorization",
    "content-type",
    "access-token",
    "linkedin-version",
    "x-restli-protocol-version",
];

/// A request to a platform's path, as it came. It holds secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// Whose path it is: a platform's id, `LINKEDIN`, or `TIKTOK` for the consent page of its two; the
    /// standard routes are `SANDBOX`.
    pub platform: String,
    /// Such as `POST`.
    pub method: String,
    /// The path; the vendor's host comes first.
    pub path: String,
    /// The decoded query, in the order it came.
    pub query: Vec<(String, String)>,
    /// Those of the headers that authenticate, name a version or the body's type, in small letters.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
}

/// These routes, and every request to them written down.
pub(in crate::sandbox) fn recorded(
    shared: &Arc<Shared>,
    platform: &'static str,
    routes: Router<Arc<Shared>>,
) -> Router<Arc<Shared>> {
    let shared = Arc::clone(shared);
    routes.layer(middleware::from_fn(move |request: Request, next: Next| {
        let shared = Arc::clone(&shared);
        async move { record(&shared, platform, request, next).await }
    }))
}

async fn record(shared: &Shared, platform: &str, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LONGEST_BODY).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let header = |name: &&str| {
        let value = parts.headers.get(*name)?;
        Some(((*name).to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
    };
    let recorded = Recorded {
        platform: platform.to_owned(),
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: Params::parse(parts.uri.query().unwrap_or_default().as_bytes()).all().to_vec(),
        headers: KEPT.iter().filter_map(header).collect(),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    keep(&mut shared.books().requests, recorded.clone());
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    repeat(response, &recorded).await
}

/// An answer with the header [`REPEAT`] has what it names of the request where it says `{repeated}`, as it was and
/// in base64.
async fn repeat(mut response: Response, request: &Recorded) -> Response {
    let Some(name) = response.headers_mut().remove(REPEAT) else { return response };
    let name = name.to_str().unwrap_or_default();
    let body = Params::parse(request.body.as_bytes());
    let query = request.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let header = request.headers.get(name).map(String::as_str);
    let header = header.map(|value| value.split_once(' ').map_or(value, |(_, value)| value));
    let value = query.or(header).or(body.get(name)).unwrap_or_default();
    let repeated = format!("{value} {}", STANDARD.encode(value));
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    let body = to_bytes(body, LONGEST_BODY).await.unwrap_or_default();
    let body = String::from_utf8_lossy(&body).replace("{repeated}", &repeated);
    Response::from_parts(parts, Body::from(body))
}

fn keep(requests: &mut Vec<Recorded>, recorded: Recorded) {
    if requests.len() >= MOST_KEPT {
        requests.drain(..MOST_KEPT / 2);
    }
    requests.push(recorded);
}

/// A request, with what answers it.
pub(super) struct Asked {
    pub(super) shared: Arc<Shared>,
    pub(super) link: Link,
    pub(super) path: String,
    pub(super) query: Params,
    headers: HeaderMap,
    pub(super) body: Bytes,
}

impl FromRequest<Arc<Shared>> for Asked {
    type Rejection = Response;

    async fn from_request(request: Request, shared: &Arc<Shared>) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let link = OnLink::from_request_parts(&mut parts, shared).await;
        let ConnectInfo(link) = link.map_err(|missing| missing.into_response())?;
        let body = to_bytes(body, LONGEST_BODY).await;
        Ok(Self {
            shared: Arc::clone(shared),
            link,
            path: parts.uri.path().to_owned(),
            query: Params::parse(parts.uri.query().unwrap_or_default().as_bytes()),
            headers: parts.headers,
            body: body.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE.into_response())?,
        })
    }
}

impl Asked {
    /// The body, which must be a form.
    pub(super) fn form(&self, dialect: &Dialect) -> Result<Params, Answer> {
        match client::is_form(&self.headers) {
            true => Ok(Params::parse(&self.body)),
            false => Err((dialect.refuse)(Problem::Request, "the body must be a form")),
        }
    }

    /// The body, which must be a form in either encoding.
    pub(super) fn any_form(&self, dialect: &Dialect) -> Result<Params, Answer> {
        let content_type = self.header(header::CONTENT_TYPE.as_str()).unwrap_or_default();
        match content_type.split_once("boundary=") {
            Some((kind, boundary)) if kind.starts_with("multipart/form-data") => {
                Ok(Params::multipart(boundary.trim_matches('"'), &self.body))
            }
            _ => self.form(dialect),
        }
    }

    /// The body, which must be JSON.
    pub(super) fn json(&self, dialect: &Dialect) -> Result<Value, Answer> {
        let refused = |why| Err((dialect.refuse)(Problem::Request, why));
        let content_type = self.header(header::CONTENT_TYPE.as_str()).unwrap_or_default();
        if !content_type.starts_with("application/json") {
            return refused("the body must be JSON");
        }
        serde_json::from_slice(&self.body).or_else(|_| refused("the body is not JSON"))
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The access token of the `Authorization` header.
    pub(super) fn bearer(&self) -> &str {
        let value = self.header(header::AUTHORIZATION.as_str());
        value.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default()
    }

    /// The client that its `Authorization` header names.
    pub(super) fn basic_client(&self, dialect: &Dialect) -> Result<String, Answer> {
        self.known(dialect, client::basic(&self.headers))
    }

    /// The client that its parameters name, which must not use HTTP Basic.
    pub(super) fn client(
        &self,
        dialect: &Dialect,
        params: &Params,
        names: (&str, &str),
    ) -> Result<String, Answer> {
        let owned = |name| params.get(name).map(str::to_owned);
        let named = owned(names.0).zip(owned(names.1));
        self.known(dialect, named.filter(|_| client::basic(&self.headers).is_none()))
    }

    /// The client, if its secret is right.
    pub(super) fn known(
        &self,
        dialect: &Dialect,
        named: Option<(String, String)>,
    ) -> Result<String, Answer> {
        let known = named.filter(|(id, secret)| self.shared.knows(id, secret));
        let why = "the client is unknown, its secret is wrong, or they are not where they belong";
        known.map(|(id, _)| id).ok_or_else(|| self.shared.refuse_client(dialect, why))
    }
}

/// A parameter that cannot be done without.
pub(super) fn need<'a>(
    params: &'a Params,
    name: &str,
    dialect: &Dialect,
) -> Result<&'a str, Answer> {
    let missing = || (dialect.refuse)(Problem::Request, &format!("{name} is missing"));
    params.get(name).ok_or_else(missing)
}
