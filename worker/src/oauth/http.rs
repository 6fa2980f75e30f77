//! One HTTP request to a platform, and what can be said when it brings no readable answer.
//!
//! The one distinction that matters: may the platform have acted on it?

use std::time::Duration;

use futures_util::StreamExt as _;
use latchkey_shared::net_guard::NetGuard;
use latchkey_shared::platforms::{DiscoveryError, Platform, RefreshModel};
use serde_json::{Value, json};

use super::refusal::Refusal;
use super::secrets::Secrets;
use super::{errors, rate_limit};
use crate::atproto::{GuardedHttp, NotSent, PATIENCE};
use crate::deadline::Deadline;
use crate::readable::readable;

/// Answers are read up to this; a platform's real answers are far below.
const MAX_BODY: usize = 256 * 1024;
/// How long a connection may take to come about.
const MAX_CONNECT: Duration = Duration::from_secs(10);
/// How long the question who it is may take at most.
const MAX_IDENTITY: Duration = Duration::from_secs(15);
/// How much longer than its call a lease lasts: the time to store the answer.
const STORE_TIME: Duration = Duration::from_secs(30);

/// How long platforms may take, from the first packet to the last byte of the answer.
#[derive(Clone, Copy, Debug)]
pub struct CallTimeouts {
    /// A refresh where tokens rotate: giving up early is what loses them.
    pub rotating: Duration,
    /// Every other call.
    pub other: Duration,
}

impl CallTimeouts {
    /// How long the question who it is may take: somebody waits in front of a browser, and asking
    /// again harms nobody.
    #[must_use]
    pub fn identity(self) -> Duration {
        self.other.min(MAX_IDENTITY)
    }

    /// How long a refresh may take.
    #[must_use]
    pub fn refresh(self, model: RefreshModel) -> Duration {
        if model.rotates() { self.rotating } else { self.other }
    }

    /// How long a refresh holds its grant: the call, and the time to store its answer.
    #[must_use]
    pub fn refresh_lease(self, model: RefreshModel) -> Duration {
        self.refresh(model) + STORE_TIME
    }
}

/// Why there is no answer to read.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The request did not leave this machine.
    #[error("the platform could not be reached")]
    NotSent(#[source] reqwest::Error),
    /// There was nowhere to send it: the platform does not say where its endpoints are.
    #[error("the platform's endpoints are not known")]
    Undiscovered(#[from] DiscoveryError),
    /// There was nowhere to send it: the person's host could not be found just now.
    #[error("the person's host could not be found: {0}")]
    Unresolved(String),
    /// The status is what counts: 429, 5xx, a redirect, or a 4xx without an error that can be read.
    #[error("the platform answered {status}")]
    Status {
        /// HTTP status.
        status: u16,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
        /// The error in the body of a 429 or 5xx, if it can be read.
        said: Option<Refusal>,
    },
    /// The platform says itself that this will pass.
    #[error("the platform is busy: {code}")]
    Busy {
        /// Its code.
        code: String,
        /// How long it wants to be left alone.
        wait: Option<Duration>,
        /// Whether that will take hours or days.
        used_up: bool,
    },
    /// The request was sent, and no answer could be read: nobody knows what the platform did.
    #[error("the platform's answer could not be read: {0}")]
    Unreadable(String),
}

impl CallError {
    /// How long the platform asked to be left alone.
    #[must_use]
    pub fn asked_patience(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after: wait, .. } | Self::Busy { wait, .. } => *wait,
            _ => None,
        }
    }

    /// Why a connect ends with it, as it is stored and shown.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let cause = json!({ "cause": self.code() });
        match self {
            Self::Status { said: Some(said), .. } => {
                let mut shown = said.to_json();
                shown["cause"] = cause["cause"].clone();
                shown
            }
            _ => cause,
        }
    }

    /// One word for logs, metrics and the account's last error.
    #[must_use]
    pub fn code(&self) -> String {
        match self {
            Self::NotSent(_) | Self::Unresolved(_) => "unreachable".to_owned(),
            Self::Undiscovered(_) => "discovery_failed".to_owned(),
            Self::Status { status, .. } => format!("http_{status}"),
            Self::Busy { code, .. } => code.clone(),
            Self::Unreadable(_) => "no_readable_answer".to_owned(),
        }
    }

    /// Whether the platform's allowance is used up, which comes back in hours or days.
    #[must_use]
    pub fn is_used_up(&self, platform: &Platform) -> bool {
        match self {
            Self::Status { said: Some(said), .. } => said.is_used_up(platform),
            Self::Busy { used_up, .. } => *used_up,
            _ => false,
        }
    }
}

/// The HTTP clients for platforms.
#[derive(Clone, Debug)]
pub struct PlatformHttp {
    client: reqwest::Client,
    /// To hosts that persons choose.
    guarded: GuardedHttp,
    timeouts: CallTimeouts,
}

impl PlatformHttp {
    /// Clients without redirects, proxies and silent repetitions. They give up connecting before
    /// any call's time is over, so that what was never sent is known as such.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(timeouts: CallTimeouts, guard: &NetGuard) -> reqwest::Result<Self> {
        let CallTimeouts { rotating, other } = timeouts;
        let connect = MAX_CONNECT.min(rotating.min(other) / 2);
        // No timeout of the client's own: that would throw away an answer that came while we stood still.
        let client = guard.outbound().client().connect_timeout(connect).build()?;
        Ok(Self {
            client,
            guarded: GuardedHttp::new(guard.clone(), rotating.min(other))?,
            timeouts,
        })
    }

    /// The client to hosts that persons choose: public addresses, and what the operator allows.
    #[must_use]
    pub fn guarded(&self) -> &GuardedHttp {
        &self.guarded
    }

    /// How long each kind of call may take.
    #[must_use]
    pub fn timeouts(&self) -> CallTimeouts {
        self.timeouts
    }

    /// Sends one request. 2xx and 4xx (but 429) are answers to be read; all else is a [`CallError`].
    /// The limit covers connecting, headers and body. Of an answer that is no success the secrets of both sides are
    /// left out; of one that is, the caller has to see to that.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn send(
        &self,
        platform: &Platform,
        request: http::Request<Vec<u8>>,
        limit: Duration,
    ) -> Result<http::Response<Vec<u8>>, CallError> {
        let secrets = Secrets::of_request(&request);
        let request = reqwest::Request::try_from(request).map_err(unsent)?;
        if platform.quirks.own_host {
            let refused = |error: NotSent| CallError::Unresolved(error.to_string());
            let _turn = self.guarded.turn(request.url()).await.map_err(refused)?;
            let limit = limit.min(PATIENCE);
            return execute(self.guarded.client(), platform, request, secrets, limit).await;
        }
        execute(&self.client, platform, request, secrets, limit).await
    }
}

async fn execute(
    client: &reqwest::Client,
    platform: &Platform,
    request: reqwest::Request,
    secrets: Secrets,
    limit: Duration,
) -> Result<http::Response<Vec<u8>>, CallError> {
    let late = || CallError::Unreadable(format!("nothing within {} s", limit.as_secs()));
    let deadline = Deadline::after(limit);
    let head = deadline.wait(client.execute(request)).await.ok_or_else(late)?;
    let head = head.map_err(unanswered)?;
    let (status, retry_after) = (head.status(), rate_limit::wait(platform, head.headers()));
    let code = status.as_u16();
    if status.is_redirection() {
        return Err(CallError::Status { status: code, retry_after, said: None });
    }
    let mut body = deadline.wait(read(head)).await.unwrap_or_else(|| Err(late()));
    if let Ok(answer) = &mut body
        && !status.is_success()
    {
        let secrets = secrets.and_in(answer.body());
        *answer.body_mut() = secrets.clean_body(answer.body());
    }
    if code == 429 || status.is_server_error() {
        let said = body.ok().and_then(|answer| errors::of_answer(code, answer.body()));
        return Err(CallError::Status { status: code, retry_after, said });
    }
    body
}

fn unanswered(error: reqwest::Error) -> CallError {
    if error.is_connect() || error.is_builder() {
        return unsent(error);
    }
    CallError::Unreadable(error.without_url().to_string())
}

/// Some platforms want tokens and secrets in the address: it is not told.
fn unsent(error: reqwest::Error) -> CallError {
    CallError::NotSent(error.without_url())
}

async fn read(response: reqwest::Response) -> Result<http::Response<Vec<u8>>, CallError> {
    let mut answer = http::Response::builder().status(response.status());
    if let Some(headers) = answer.headers_mut() {
        headers.extend(response.headers().clone());
    }
    let mut body = Vec::new();
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk =
            chunk.map_err(|error| CallError::Unreadable(error.without_url().to_string()))?;
        if body.len() + chunk.len() > MAX_BODY {
            return Err(CallError::Unreadable(format!("more than {MAX_BODY} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    answer.body(readable(body)).map_err(|error| CallError::Unreadable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use latchkey_shared::platforms::Platforms;

    use super::super::doubles::Double;
    use super::*;

    const SANDBOX: &str = "[platforms.SANDBOX]\nbase_url = \"http://127.0.0.1:9\"\nclient_id = \"c\"\n\
                           client_secret = { value = \"s\" }";

    #[test]
    fn a_lease_outlives_its_call() {
        let timeouts =
            CallTimeouts { rotating: Duration::from_secs(120), other: Duration::from_secs(30) };
        let lease = |model| timeouts.refresh_lease(model).as_secs();
        assert_eq!(lease(RefreshModel::Rotating { grace: None }), 150);
        assert_eq!(lease(RefreshModel::Stable), 60);
    }

    /// Whoever takes connections and never says a word is given up before the deadline: nothing was
    /// sent, so nothing is in doubt.
    #[tokio::test]
    async fn a_connection_that_does_not_come_about_was_never_used() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = silent.local_addr().unwrap().port();
        let deadline = Duration::from_secs(1);
        let timeouts = CallTimeouts { rotating: deadline, other: deadline };
        let http = PlatformHttp::new(timeouts, &NetGuard::default()).unwrap();
        let platforms = Platforms::parse(SANDBOX).unwrap();
        let platform = platforms.get("SANDBOX").unwrap();
        let call = async |scheme: &str| {
            let url = format!("{scheme}://127.0.0.1:{port}/token");
            http.send(platform, http::Request::post(url).body(Vec::new()).unwrap(), deadline).await
        };
        assert!(matches!(call("https").await, Err(CallError::NotSent(_))), "no TLS came about");
        let sent = call("http").await.unwrap_err();
        assert!(matches!(sent, CallError::Unreadable(_)), "{sent}");
        drop(silent);
        assert!(matches!(call("http").await, Err(CallError::NotSent(_))), "nobody listens");
    }

    async fn call(url: &str, limit: Duration) -> Result<http::Response<Vec<u8>>, CallError> {
        let timeouts = CallTimeouts { rotating: limit, other: limit };
        let http = PlatformHttp::new(timeouts, &NetGuard::default()).unwrap();
        let platforms = Platforms::parse(SANDBOX).unwrap();
        let request = http::Request::post(url).body(Vec::new()).unwrap();
        http.send(platforms.get("SANDBOX").unwrap(), request, limit).await
    }

    /// As if the process had been stopped: the answer arrives, and the deadline passes, while nothing of
    /// ours runs.
    #[tokio::test]
    async fn an_answer_that_came_while_we_stood_still_is_read() {
        let double = Double::start();
        double.answer(200, &[], "{}");
        double.after(Duration::from_millis(300));
        let called = tokio::spawn(async move { call(&double.url, Duration::from_secs(1)).await });
        tokio::time::sleep(Duration::from_millis(150)).await;
        std::thread::sleep(Duration::from_secs(2));
        assert_eq!(called.await.unwrap().unwrap().body(), b"{}");
    }

    #[tokio::test]
    async fn the_error_in_the_body_of_a_failing_status_is_read_if_it_comes() {
        let double = Double::start();
        let told = async || match call(&double.url, Duration::from_secs(5)).await {
            Err(CallError::Status { status: 503, retry_after, said }) => {
                (said.map(|said| said.code), retry_after.map(|wait| wait.as_secs()))
            }
            called => panic!("{called:?}"),
        };
        double.answer(503, &[("retry-after", "7")], r#"{"error":"invalid_grant"}"#);
        assert_eq!(told().await, (Some("invalid_grant".to_owned()), Some(7)));
        double.raw("HTTP/1.1 503 X\r\ncontent-length: 99\r\n\r\n{\"error\":\"inv");
        assert_eq!(told().await, (None, None));
    }
}
