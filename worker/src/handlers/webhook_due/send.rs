//! One request to an endpoint: sent once, never led elsewhere, and read no further than anybody needs.

use std::time::Duration;

use futures_util::StreamExt as _;
use latchkey_shared::db::webhook_endpoints::Pace;
use latchkey_shared::net_guard::{self, NetGuard};
use reqwest::header::CONTENT_TYPE;
use tokio::time::Instant;
use url::Url;

use super::Request;
use super::answer;
use crate::context::Context;
use crate::lanes::SLOW;
use crate::oauth::rate_limit;
use crate::signature;

/// Connecting, sending, and reading what is read of the answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// So much of an answer is read, whatever it says of its length, so that the connection can be reused.
const MAX_ANSWER: usize = 16 * 1024;

/// The HTTP clients for receivers.
#[derive(Clone, Debug)]
pub struct Receivers {
    encrypted: reqwest::Client,
    /// To the networks that the operator opened alone.
    plain: reqwest::Client,
}

impl Receivers {
    /// Clients that reach what the guard permits.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(guard: &NetGuard) -> reqwest::Result<Self> {
        let client = |guard: &NetGuard| guard.client(REQUEST_TIMEOUT);
        Ok(Self { encrypted: client(guard)?, plain: client(&guard.opened())? })
    }

    fn client(&self, url: &Url) -> &reqwest::Client {
        if url.scheme() == "https" { &self.encrypted } else { &self.plain }
    }
}

/// What came of it.
pub(super) struct Sent {
    pub(super) answer: Answer,
    pub(super) took: Duration,
    pub(super) pace: Pace,
}

pub(super) enum Answer {
    Status { status: u16, retry_after: Option<Duration>, beginning: String },
    None(String),
}

/// Sends a delivery.
pub(super) async fn send(context: &Context, request: &Request) -> Sent {
    let begun = Instant::now();
    let (answer, timed_out) = match call(context, request).await {
        Ok(response) => (read(response).await, false),
        Err(Unsent::Refused(why)) => (Answer::None(why), false),
        Err(Unsent::Failed(error)) => {
            let timed_out = error.is_timeout();
            (Answer::None(describe(error.without_url())), timed_out)
        }
    };
    let took = begun.elapsed();
    let pace = match took {
        _ if timed_out => Pace::Silent,
        took if took > SLOW => Pace::Slow,
        _ => Pace::Prompt,
    };
    Sent { answer, took, pace }
}

enum Unsent {
    /// By ourselves.
    Refused(String),
    Failed(reqwest::Error),
}

async fn call(context: &Context, request: &Request) -> Result<reqwest::Response, Unsent> {
    let refused = |why: &str| Unsent::Refused(why.to_owned());
    let url: Url = request.endpoint.url.parse().map_err(|_| refused("the URL cannot be read"))?;
    let not_allowed = |why: net_guard::Refused| Unsent::Refused(why.to_string());
    context.guard.check_receiver(&url).map_err(not_allowed)?;
    context.guard.judge(&url).await.map_err(not_allowed)?;
    let id = request.delivery.event_id.as_str();
    let timestamp = context.clock().now().timestamp();
    let signed = signature::sign(&request.secrets, id, timestamp, &request.body);
    let signature = signed.ok_or_else(|| refused("the signing secret is malformed"))?;
    let sending = context
        .webhooks
        .client(&url)
        .post(url)
        .header(CONTENT_TYPE, "application/json")
        .header("webhook-id", id)
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", signature)
        .body(request.body.clone())
        .send();
    sending.await.map_err(Unsent::Failed)
}

/// The status counts, also of an answer that does not end.
async fn read(response: reqwest::Response) -> Answer {
    let status = response.status().as_u16();
    let retry_after = rate_limit::retry_after(response.headers());
    let mut kept = Vec::new();
    let mut size = 0;
    let mut chunks = response.bytes_stream();
    while let Some(Ok(chunk)) = chunks.next().await {
        let room = answer::KEPT - kept.len();
        kept.extend_from_slice(&chunk[..chunk.len().min(room)]);
        size += chunk.len();
        if size > MAX_ANSWER {
            break;
        }
    }
    Answer::Status { status, retry_after, beginning: answer::text(&kept) }
}

/// The whole chain, since the outermost error only says that sending failed.
fn describe(error: reqwest::Error) -> String {
    format!("{:#}", anyhow::Error::new(error)).chars().take(300).collect()
}
