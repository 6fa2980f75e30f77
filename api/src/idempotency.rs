//! `Idempotency-Key`: a POST that is repeated with the same key and body runs once.
//!
//! A request takes its turn before it runs, and its handler writes the answer in the transaction of
//! what it does ([`Once::keep`]). So a repeated request finds the answer, or finds that nothing was
//! done; a request that was frozen until another took its turn cannot commit. Answers are sealed: some
//! show a secret. The key itself is only hashed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use latchkey_shared::db::Session;
use latchkey_shared::db::idempotency_keys::{self, Asked, Row};
use latchkey_shared::keyring::KeyOwner;
use latchkey_shared::work::Work;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::auth::Caller;
use crate::code::Code;
use crate::extract;
use crate::problem::Problem;
use crate::request::RequestId;
use crate::state::App;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that an answer is the one that was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const MAX_KEY_LEN: usize = 255;
/// No answer to a POST comes near this.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// Whether this request runs once, and how to keep its answer. Every POST handler that needs a key takes
/// it; by default it runs whenever it comes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Once(Option<Turn>);

#[derive(Clone, Debug)]
struct Turn {
    row: Row,
    number: i64,
    /// Whether the handler wrote the answer.
    kept: Arc<AtomicBool>,
}

/// How a refusal is written for the product that the request speaks as: as it is written it is kept.
#[derive(Clone)]
pub(crate) struct InWords(pub(crate) Arc<Write>);

type Write = dyn Fn(Response, &str) -> Response + Send + Sync;

/// What is kept, sealed. The rest of an answer's headers are its own each time.
#[derive(Deserialize, Serialize)]
struct KeptAnswer {
    status: u16,
    content_type: Option<String>,
    body: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Once {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self(parts.extensions.get().cloned()))
    }
}

impl Once {
    /// Keeps the answer together with what `work` is about to commit.
    ///
    /// # Errors
    /// When another request has taken the turn: then nothing may be committed.
    pub(crate) async fn keep(
        &self,
        work: &mut Work,
        status: StatusCode,
        body: &impl Serialize,
    ) -> Result<(), Problem> {
        let Some(turn) = &self.0 else { return Ok(()) };
        let answer = KeptAnswer::of(status, body)?;
        if !turn.write(work, &answer).await? {
            return Err(running(1));
        }
        turn.kept.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Keeps the answer of what changes nothing, or nothing more when it is repeated. If that fails, a repeated request
    /// runs again.
    pub(crate) async fn keep_alone(&self, app: &App, status: StatusCode, body: &impl Serialize) {
        let Some(turn) = &self.0 else { return };
        let kept = async { turn.write_alone(app, &KeptAnswer::of(status, body)?).await };
        match kept.await {
            Ok(_) => turn.kept.store(true, Ordering::Relaxed),
            Err(problem) => tracing::warn!("an answer is not kept: {problem:?}"),
        }
    }

    /// Replaces the kept answer by what came of it while the request waited. If that fails, a repeated
    /// request is told how it stood before.
    pub(crate) async fn complete(&self, app: &App, status: StatusCode, body: &impl Serialize) {
        let Some(turn) = &self.0 else { return };
        let completed = async {
            let answer = KeptAnswer::of(status, body)?;
            let mut conn = app.conn().await?;
            let sealed = turn.encrypt(&mut conn, &answer).await?;
            Ok::<_, Problem>(
                idempotency_keys::replace(&mut conn, &turn.row, turn.number, &sealed).await?,
            )
        };
        if let Err(problem) = completed.await {
            tracing::warn!("a kept answer is not completed: {problem:?}");
        }
    }
}

impl KeptAnswer {
    fn of(status: StatusCode, body: &impl Serialize) -> Result<Self, Problem> {
        let body = serde_json::to_string(body)
            .map_err(|error| Problem::internal(anyhow::Error::new(error)))?;
        let content_type = Some("application/json".to_owned());
        Ok(Self { status: status.as_u16(), content_type, body })
    }
}

/// Runs a POST, once if it has a key.
pub(crate) async fn run(
    app: &App,
    caller: &Caller,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let Some(key) = key_in(request.headers())? else { return Ok(next.run(request).await) };
    let row = Row::new(&caller.organisation_id, &caller.key_id, &key);
    let (mut parts, body) = request.into_parts();
    let body = extract::read(body).await?;
    let asked = {
        let mut conn = app.conn().await?;
        // Keyed: a body may hold a password, which a plain hash would let somebody guess.
        let key = conn.encryption_key(KeyOwner::Organisation(row.organisation())).await?;
        let asked = what_is_asked(&parts, &body);
        let fingerprint = key.hash(&asked.each_ref().map(String::as_str));
        idempotency_keys::ask(&mut conn, &row, &fingerprint).await?
    };
    let number = match asked {
        Asked::Turn(number) => number,
        Asked::Answered(number, sealed) => return replay(app, &row, number, &sealed).await,
        Asked::Running(seconds) => return Err(running(seconds)),
        Asked::Other => {
            return Err(Problem::new(
                Code::IdempotencyKeyReused,
                "This key came with another path or body within the last 24 h: use a new key for each new request.",
            ));
        }
    };
    let turn = Turn { row, number, kept: Arc::default() };
    parts.extensions.insert(turn.clone());
    let request_id = parts.extensions.get::<RequestId>().cloned();
    let words = parts.extensions.get::<InWords>().cloned();
    let response = next.run(Request::from_parts(parts, body.into())).await;
    let name = request_id.as_ref().map_or("", RequestId::as_str);
    let response = match words {
        Some(InWords(write)) => write(response, name),
        None => Problem::write(response, name),
    };
    Ok(turn.end(app, response).await)
}

fn running(seconds: i64) -> Problem {
    Problem::new(
        Code::IdempotencyKeyInUse,
        "A request with this key is running: send it again after `Retry-After` seconds.",
    )
    .retry_after(seconds)
}

/// The key: 1 to 255 visible ASCII characters, bare or as a string of structured fields (RFC 9651
/// §3.3.3), which means the same.
fn key_in(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let key = value.to_str().ok().and_then(unquote);
    let sane = |key: &String| {
        (1..=MAX_KEY_LEN).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
    };
    match key.filter(sane) {
        Some(key) if values.next().is_none() => Ok(Some(key)),
        _ => Err(Problem::new(
            Code::IdempotencyKeyInvalid,
            "Send one `Idempotency-Key` of 1 to 255 visible ASCII characters, such as a UUID.",
        )),
    }
}

fn unquote(value: &str) -> Option<String> {
    let value = value.trim();
    let Some(rest) = value.strip_prefix('"') else {
        return (!value.contains('"')).then(|| value.to_owned());
    };
    let mut key = String::new();
    let mut chars = rest.chars();
    loop {
        match chars.next()? {
            '"' => return chars.as_str().is_empty().then_some(key),
            '\\' => key.push(chars.next().filter(|char| matches!(char, '"' | '\\'))?),
            char => key.push(char),
        }
    }
}

/// What the key stands for. Only ever hashed.
fn what_is_asked(parts: &Parts, body: &[u8]) -> [String; 3] {
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
    [parts.method.to_string(), path.to_owned(), hex::encode(Sha256::digest(body))]
}

async fn replay(app: &App, row: &Row, turn: i64, sealed: &[u8]) -> Result<Response, Problem> {
    let plain = app.conn().await?.decrypt(row.answer_aad(turn), sealed).await?;
    let kept: KeptAnswer = serde_json::from_slice(&plain)
        .map_err(|_| Problem::internal(anyhow::anyhow!("a kept answer cannot be read")))?;
    let mut response = Response::new(Body::from(kept.body));
    *response.status_mut() = StatusCode::from_u16(kept.status)
        .map_err(|error| Problem::internal(anyhow::Error::new(error)))?;
    let kind = kept.content_type.and_then(|kind| HeaderValue::try_from(kind).ok());
    if let Some(kind) = kind {
        response.headers_mut().insert(CONTENT_TYPE, kind);
    }
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

impl Turn {
    /// Seals and writes the answer; false when the turn is over.
    async fn write(&self, session: &mut Session, answer: &KeptAnswer) -> Result<bool, Problem> {
        let sealed = self.encrypt(session, answer).await?;
        Ok(idempotency_keys::keep(session, &self.row, self.number, &sealed).await?)
    }

    async fn encrypt(
        &self,
        session: &mut Session,
        answer: &KeptAnswer,
    ) -> Result<Vec<u8>, Problem> {
        let plain = serde_json::to_vec(answer)
            .map_err(|error| Problem::internal(anyhow::Error::new(error)))?;
        Ok(session.encrypt(self.row.answer_aad(self.number), &plain).await?)
    }

    /// Ends the turn: a refusal is kept as well, a failure of ours is not. Neither changes the answer.
    async fn end(&self, app: &App, response: Response) -> Response {
        let status = response.status();
        let failed = status.is_server_error()
            || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
        if failed {
            self.give_up(app).await;
            return response;
        }
        if self.kept.load(Ordering::Relaxed) {
            return response;
        }
        if status.is_success() {
            tracing::error!("this answer is kept too late: its handler has to call `Once::keep`");
        }
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, MAX_ANSWER_BYTES).await;
        let body = body.expect("answers to POSTs are short and ready");
        let content_type = parts.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let answer = KeptAnswer {
            status: status.as_u16(),
            content_type: content_type.map(ToOwned::to_owned),
            body: String::from_utf8_lossy(&body).into_owned(),
        };
        if let Err(problem) = self.write_alone(app, &answer).await {
            tracing::warn!("an answer is not kept: {problem:?}");
        }
        Response::from_parts(parts, body.into())
    }

    async fn write_alone(&self, app: &App, answer: &KeptAnswer) -> Result<bool, Problem> {
        self.write(&mut app.conn().await?, answer).await
    }

    async fn give_up(&self, app: &App) {
        let given_up = async {
            let mut conn = app.conn().await?;
            idempotency_keys::give_up(&mut conn, &self.row, self.number).await
        };
        if let Err(error) = given_up.await {
            tracing::debug!("a turn ends with its lease: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(values: &[&str]) -> Result<Option<String>, Code> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(KEY, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        key_in(&headers).map_err(|problem| problem.code())
    }

    #[test]
    fn a_key_is_the_same_bare_and_quoted() {
        assert_eq!(key(&[]).unwrap(), None);
        let long = "x".repeat(255);
        let quoted = format!("\"{long}\"");
        for (value, expected) in [
            ("8e03978e-40d5-43e8-bc93-6894a57f9324", "8e03978e-40d5-43e8-bc93-6894a57f9324"),
            ("\"8e03978e\"", "8e03978e"),
            (r#""a\"b\\c""#, r#"a"b\c"#),
            (&long, &long),
            (&quoted, &long),
        ] {
            assert_eq!(key(&[value]).unwrap().as_deref(), Some(expected), "{value}");
        }
    }

    #[test]
    fn any_other_form_is_refused() {
        let long = "x".repeat(256);
        for value in [
            "",
            " ",
            "two words",
            "\"two words\"",
            "\"\"",
            "\"open",
            "open\"",
            "a\"b",
            "\"a\";b=1",
            r#""a\b""#,
            "\"a\\",
            "\"a\" \"b\"",
            "é",
            "a\tb",
            &long,
        ] {
            assert_eq!(key(&[value]), Err(Code::IdempotencyKeyInvalid), "{value}");
        }
        assert_eq!(key(&["a", "a"]), Err(Code::IdempotencyKeyInvalid));
    }

    #[test]
    fn path_and_body_are_told_apart() {
        let of = |path: &str, body: &str| {
            let request = axum::http::Request::post(path).body(()).unwrap();
            what_is_asked(&request.into_parts().0, body.as_bytes())
        };
        assert_eq!(of("/v1/a", "{}"), of("/v1/a", "{}"));
        let all = [of("/v1/a", "{}"), of("/v1/b", "{}"), of("/v1/a", "{ }"), of("/v1/a?x", "{}")];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[at + 1..].contains(one));
        }
    }
}
