//! Sessions at a personal data server: `com.atproto.server.createSession`, `refreshSession` and
//! `deleteSession` (their lexicons in `bluesky-social/atproto`).
//!
//! The password goes out in one call and nowhere else: no error repeats it, whatever the server says.

use std::time::Duration;

use chrono::DateTime;
use reqwest::RequestBuilder;
use reqwest::header::{CONTENT_LENGTH, DATE, HeaderMap, HeaderName, RETRY_AFTER};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::did::Did;
use super::http::{Answer, Body, CallError, GuardedHttp, NotSent};
use super::jwt::Claims;
use crate::oauth::secrets::Secrets;

/// Answers are read up to this; real ones have a few kilobytes.
const MAX_ANSWER: usize = 64 * 1024;
/// How far a server's wish to be left alone is believed.
const MAX_PATIENCE: Duration = Duration::from_secs(24 * 3600);
/// When the limit is lifted, in Unix seconds.
const RATE_LIMIT_RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

const APP_PASSWORD_SCOPES: [&str; 2] = ["com.atproto.appPass", "com.atproto.appPassPrivileged"];

/// A session, as the server answered it.
#[derive(Clone, Debug)]
pub struct Session {
    /// The account. Of a refreshed session nobody has compared it with anything.
    pub did: String,
    /// What the server says that the account goes by; `handle.invalid` where it does not know.
    pub handle: String,
    /// For calls.
    pub access_jwt: SecretString,
    /// For the next session, and for the end of this one.
    pub refresh_jwt: SecretString,
    /// Whether the account is in use: not suspended, deactivated or taken down.
    pub active: bool,
    /// Why not.
    pub status: Option<String>,
    /// How long the access token lives from its making.
    pub access_expires_in: Option<Duration>,
    /// How long the refresh token lives from its making.
    pub refresh_expires_in: Option<Duration>,
    /// What the access token is good for. `com.atproto.access` is the account's own password.
    pub scope: Option<String>,
}

impl Session {
    /// Whether the access token says that it came from an app password.
    #[must_use]
    pub fn is_app_password(&self) -> bool {
        self.scope.as_deref().is_some_and(|scope| APP_PASSWORD_SCOPES.contains(&scope))
    }
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The request did not leave this machine.
    #[error("the account's server could not be called")]
    NotSent(#[source] NotSent),
    /// The status is what counts: 429, 5xx, a redirect, or a 4xx without an error that can be read.
    #[error("the account's server answered {status}")]
    Status {
        /// HTTP status.
        status: u16,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
        /// The error in the body of a 429 or 5xx, if it can be read.
        said: Option<Said>,
    },
    /// The request was sent, and no answer could be read: nobody knows what the server did.
    #[error("the answer of the account's server could not be read: {0}")]
    Unreadable(String),
    /// It said no.
    #[error("the account's server refused: {}", .0.error)]
    Refused(Said),
}

/// An error of the AT Protocol, without the secret that the server was given.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Said {
    /// The server's word, such as `AuthenticationRequired`.
    pub error: String,
    /// The server's explanation; not shortened.
    pub message: Option<String>,
    /// HTTP status.
    pub status: u16,
}

/// Begins a session with a password. The deadline covers connecting, headers and body.
///
/// # Errors
/// [`SessionError`].
pub async fn create(
    http: &GuardedHttp,
    pds: &Url,
    did: &str,
    password: &SecretString,
    deadline: Duration,
) -> Result<Session, SessionError> {
    let body = json!({ "identifier": did, "password": password.expose_secret() });
    let call = Call { http, pds, secret: password, deadline };
    let session = call.session("createSession", |request| request.json(&body)).await?;
    if session.did != did {
        return Err(SessionError::Unreadable("it is the session of another account".to_owned()));
    }
    Ok(session)
}

/// Exchanges a refresh token for the next pair.
///
/// # Errors
/// [`SessionError`].
pub async fn refresh(
    http: &GuardedHttp,
    pds: &Url,
    refresh_jwt: &SecretString,
    deadline: Duration,
) -> Result<Session, SessionError> {
    let call = Call { http, pds, secret: refresh_jwt, deadline };
    call.session("refreshSession", |request| bearing(request, refresh_jwt)).await
}

/// Ends a session; the app password stays, and is the person's to delete.
///
/// # Errors
/// [`SessionError`].
pub async fn delete(
    http: &GuardedHttp,
    pds: &Url,
    refresh_jwt: &SecretString,
    deadline: Duration,
) -> Result<(), SessionError> {
    let call = Call { http, pds, secret: refresh_jwt, deadline };
    call.post("deleteSession", |request| bearing(request, refresh_jwt)).await.map(drop)
}

/// Without a body; some servers insist on being told.
fn bearing(request: RequestBuilder, token: &SecretString) -> RequestBuilder {
    request.bearer_auth(token.expose_secret()).header(CONTENT_LENGTH, 0)
}

/// One call, and the secret in it.
struct Call<'a> {
    http: &'a GuardedHttp,
    pds: &'a Url,
    secret: &'a SecretString,
    deadline: Duration,
}

impl Call<'_> {
    async fn session(
        &self,
        method: &str,
        with: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Result<Session, SessionError> {
        let bytes = whole(self.post(method, with).await?)?;
        let answer = serde_json::from_slice::<Tokens>(&bytes).ok();
        let session = answer.and_then(Tokens::session).ok_or_else(|| {
            // What the parser says could repeat a token.
            SessionError::Unreadable("there is no session in it".to_owned())
        })?;
        let secrets = Secrets::new([self.secret.expose_secret()]).and_in(&bytes);
        Ok(Session { scope: session.scope.map(|scope| secrets.clean(&scope)), ..session })
    }

    /// The body, if the answer is one of success.
    async fn post(
        &self,
        method: &str,
        with: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Result<Result<Body, String>, SessionError> {
        let not_sent = |refused| SessionError::NotSent(NotSent::NotAllowed(refused));
        self.http.guard().check_https(self.pds).map_err(not_sent)?;
        let mut url = self.pds.clone();
        url.set_path(&format!("/xrpc/com.atproto.server.{method}"));
        let request = with(self.http.client().post(url));
        let called = self.http.call(request, MAX_ANSWER, self.deadline).await;
        let answer = called.map_err(|error| match error {
            CallError::NotSent(why) => SessionError::NotSent(why),
            CallError::Lost(why) => SessionError::Unreadable(why),
        })?;
        if answer.status.is_success() {
            return Ok(answer.body);
        }
        Err(self.failed(answer))
    }

    fn failed(&self, answer: Answer) -> SessionError {
        let status = answer.status.as_u16();
        let retry_after = patience(&answer.headers);
        let redirected = answer.status.is_redirection();
        let said = answer.body.ok().filter(|_| !redirected);
        match said.and_then(|body| self.said(status, &body)) {
            Some(said) if answer.status.is_client_error() && status != 429 => {
                SessionError::Refused(said)
            }
            said => SessionError::Status { status, retry_after, said },
        }
    }

    fn said(&self, status: u16, body: &Body) -> Option<Said> {
        #[derive(Deserialize)]
        struct XrpcError {
            error: String,
            message: Option<String>,
        }
        let said: XrpcError = serde_json::from_slice(&body.bytes).ok()?;
        let error = Some(said.error).filter(|error| !error.is_empty())?;
        let secrets = Secrets::new([self.secret.expose_secret()]).and_in(&body.bytes);
        let message = said.message.map(|message| secrets.clean(&message));
        Some(Said { error: secrets.clean(&error), message, status })
    }
}

/// A session as it comes. `email` and the like are not ours to know. Where its document says that the
/// account lives is of no use either: a session is known to the server that began it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tokens {
    did: String,
    handle: String,
    access_jwt: SecretString,
    refresh_jwt: SecretString,
    active: Option<bool>,
    status: Option<String>,
}

impl Tokens {
    fn session(self) -> Option<Session> {
        let (access_jwt, refresh_jwt) = (self.access_jwt, self.refresh_jwt);
        if access_jwt.expose_secret().is_empty() || refresh_jwt.expose_secret().is_empty() {
            return None;
        }
        Did::parse(&self.did)?;
        let out_of_use = |status: &str| matches!(status, "takendown" | "suspended" | "deactivated");
        let claims = Claims::of(access_jwt.expose_secret());
        Some(Session {
            did: self.did,
            handle: self.handle,
            active: self.active.unwrap_or(!self.status.as_deref().is_some_and(out_of_use)),
            status: self.status,
            access_expires_in: claims.lifetime(),
            refresh_expires_in: Claims::of(refresh_jwt.expose_secret()).lifetime(),
            scope: claims.scope,
            access_jwt,
            refresh_jwt,
        })
    }
}

fn whole(body: Result<Body, String>) -> Result<Vec<u8>, SessionError> {
    let body = body.map_err(SessionError::Unreadable)?;
    if body.whole {
        return Ok(body.bytes);
    }
    Err(SessionError::Unreadable(format!("more than {MAX_ANSWER} bytes")))
}

/// `Retry-After` in seconds, else until `RateLimit-Reset`, counted from the answer's own date, so that
/// no clock needs to be right.
fn patience(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok().map(str::trim);
    let seconds = |name: HeaderName| text(name)?.parse::<u64>().ok();
    let wait = match seconds(RETRY_AFTER) {
        Some(seconds) => seconds,
        None => {
            let date = DateTime::parse_from_rfc2822(text(DATE)?).ok()?.timestamp();
            seconds(RATE_LIMIT_RESET)?.checked_sub(u64::try_from(date).ok()?)?
        }
    };
    Some(Duration::from_secs(wait).min(MAX_PATIENCE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(headers: &[(HeaderName, &str)]) -> Option<u64> {
        let headers =
            headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        patience(&headers).map(|wait| wait.as_secs())
    }

    #[test]
    fn a_wish_to_be_left_alone() {
        let date = (DATE, "Sun, 06 Nov 1994 08:49:37 GMT");
        let reset = |value| (RATE_LIMIT_RESET, value);
        assert_eq!(wish(&[(RETRY_AFTER, "30"), date.clone(), reset("784111877")]), Some(30));
        assert_eq!(wish(&[date.clone(), reset("784111877")]), Some(100));
        assert_eq!(wish(&[date.clone(), reset("794111877")]), Some(24 * 3600), "not believed");
        assert_eq!(wish(&[date.clone(), reset("784111000")]), None, "it has passed");
        assert_eq!(wish(&[reset("784111877")]), None, "nobody says what time it is");
        assert_eq!(wish(&[date, reset("soon")]), None);
        assert_eq!(wish(&[]), None);
    }
}
