//! One guarded HTTP call, and what can be said when it fails. Whether anything was sent is the
//! distinction that matters: what was not cannot have had an effect.

use std::time::Duration;

use futures_util::StreamExt as _;
use latchkey_shared::net_guard::{NetGuard, Refused};
use latchkey_shared::shares::{Share, Shares};
use reqwest::header::HeaderMap;
use reqwest::{RequestBuilder, Response, StatusCode};
use url::Url;

use crate::deadline::Deadline;
use crate::readable::readable;

/// How long a host may take that an outsider chose: it holds what all share.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// How many calls one such host may have open.
const OPEN_PER_HOST: usize = 4;
/// How long a call waits for its turn there.
const TURN_PATIENCE: Duration = Duration::from_secs(2);
/// How long a connection may take to come about.
const MAX_CONNECT: Duration = Duration::from_secs(10);

/// A client for addresses that outsiders name: permitted ones alone, no redirects.
#[derive(Clone, Debug)]
pub struct GuardedHttp {
    guard: NetGuard,
    client: reqwest::Client,
    hosts: Shares,
}

/// Why a request did not leave this machine.
#[derive(Debug, thiserror::Error)]
pub enum NotSent {
    /// It must not.
    #[error(transparent)]
    NotAllowed(#[from] Refused),
    /// The host has as many calls open as one may have.
    #[error("the host has {OPEN_PER_HOST} calls open that it does not answer")]
    HostIsBusy,
    /// No connection came about.
    #[error("no connection came about")]
    Unreached(#[source] reqwest::Error),
}

/// Why there is no response.
pub(super) enum CallError {
    NotSent(NotSent),
    /// It was sent, and nobody knows what came of it.
    Lost(String),
}

/// An answer: its head, and its body if that can be read.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Result<Body, String>,
}

/// As much of a body as was wanted.
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    /// Whether that is all of it.
    pub(super) whole: bool,
}

impl GuardedHttp {
    /// A client whose calls have at least this long. It gives up connecting before their time is over,
    /// so that what was never sent is known as such.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(guard: NetGuard, shortest: Duration) -> reqwest::Result<Self> {
        let connect = MAX_CONNECT.min(shortest / 2);
        let client = guard.builder()?.connect_timeout(connect).build()?;
        Ok(Self { guard, client, hosts: Shares::new(OPEN_PER_HOST) })
    }

    /// The right to one call to the host of a URL that may be called.
    pub(crate) async fn turn(&self, url: &Url) -> Result<Share, NotSent> {
        self.guard.check(url)?;
        self.guard.judge(url).await?;
        let turn = self.hosts.take(url.host_str().unwrap_or_default());
        tokio::time::timeout(TURN_PATIENCE, turn).await.map_err(|_| NotSent::HostIsBusy)
    }

    pub(super) fn guard(&self) -> &NetGuard {
        &self.guard
    }

    pub(crate) fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// Sends a request of [`Self::client`] and reads the answer up to a size; the limit, which is [`PATIENCE`] at
    /// most, covers connecting, headers and body.
    pub(super) async fn call(
        &self,
        request: RequestBuilder,
        most: usize,
        limit: Duration,
    ) -> Result<Answer, CallError> {
        const LATE: &str = "not in time";
        let request = request.build().map_err(unreached)?;
        let _turn = self.turn(request.url()).await.map_err(CallError::NotSent)?;
        let deadline = Deadline::after(limit.min(PATIENCE));
        let head = deadline.wait(self.client.execute(request)).await;
        let head = head.ok_or_else(|| CallError::Lost(LATE.to_owned()))?.map_err(unanswered)?;
        let (status, headers) = (head.status(), head.headers().clone());
        let body = deadline.wait(read(head, most)).await;
        Ok(Answer { status, headers, body: body.unwrap_or_else(|| Err(LATE.to_owned())) })
    }
}

fn unanswered(error: reqwest::Error) -> CallError {
    let error = error.without_url();
    match Refused::inside(&error) {
        Some(refused) => CallError::NotSent(refused.clone().into()),
        None if error.is_connect() || error.is_builder() => unreached(error),
        None => CallError::Lost(why(&error)),
    }
}

fn unreached(error: reqwest::Error) -> CallError {
    CallError::NotSent(NotSent::Unreached(error))
}

/// Reads a body up to a size.
async fn read(response: Response, most: usize) -> Result<Body, String> {
    let mut bytes = Vec::new();
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| why(&error.without_url()))?;
        let room = most - bytes.len();
        bytes.extend_from_slice(&chunk[..room.min(chunk.len())]);
        if chunk.len() > room {
            return Ok(Body { bytes, whole: false });
        }
    }
    Ok(Body { bytes: readable(bytes), whole: true })
}

fn why(error: &reqwest::Error) -> String {
    match error.is_timeout() {
        true => "not in time".to_owned(),
        false => error.to_string(),
    }
}
