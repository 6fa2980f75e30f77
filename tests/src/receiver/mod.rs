//! A webhook receiver that keeps what it gets and checks each signature for itself, without the code
//! that made it.

mod signature;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use latchkey_shared::clock::Clock;
use serde_json::Value;
use tokio::sync::watch;

use crate::loopback::{Bound, Server};
use signature::{is_signed, text};

/// One request that the receiver got, with a good signature or without.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// `webhook-id`, empty where the header is missing.
    pub id: String,
    /// `webhook-timestamp`, in seconds.
    pub timestamp: Option<i64>,
    /// The body as JSON; null where it is none.
    pub event: Value,
    /// Whether a signature fits the secret and the timestamp is near.
    pub verified: bool,
    /// The body as it came.
    pub body: Vec<u8>,
    /// All headers as they came.
    pub headers: HeaderMap,
    /// The status it was answered with.
    pub answered: u16,
}

/// A status and a `Retry-After` in seconds.
#[derive(Clone, Copy, Debug)]
struct Scripted {
    status: StatusCode,
    retry_after_secs: Option<u64>,
}

#[derive(Debug, Default)]
struct Inbox {
    secret: Option<Vec<u8>>,
    deliveries: Vec<Delivery>,
    always: Option<Scripted>,
    next: VecDeque<Scripted>,
}

struct Shared {
    inbox: Mutex<Inbox>,
    arrived: watch::Sender<usize>,
    clock: Clock,
}

impl Shared {
    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A webhook receiver on loopback. Dropping it stops it.
pub struct Receiver {
    shared: Arc<Shared>,
    url: String,
    server: Server,
}

impl Receiver {
    /// A receiver on any free port, by the machine's time.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(Clock::system()).await
    }

    /// A receiver that judges timestamps by `clock`.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start_with(clock: Clock) -> anyhow::Result<Self> {
        let bound = Bound::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let url = format!("{}/webhooks", bound.url);
        let shared =
            Arc::new(Shared { inbox: Mutex::default(), arrived: watch::Sender::new(0), clock });
        let router =
            Router::new().route("/webhooks", post(receive)).with_state(Arc::clone(&shared));
        Ok(Self { shared, url, server: bound.serve(router) })
    }

    /// Where deliveries are to be sent.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Verifies by this secret from now on. Until there is one nothing is verified, and everything
    /// is accepted; from then on what does not verify is answered 401.
    ///
    /// # Errors
    /// When it is not `whsec_` and base64.
    pub fn set_secret(&self, secret: &str) -> anyhow::Result<()> {
        let encoded = secret.strip_prefix("whsec_").context("the secret lacks its prefix")?;
        let key = STANDARD.decode(encoded).context("the secret is not base64")?;
        self.shared.inbox().secret = Some(key);
        Ok(())
    }

    /// Answers every delivery so from now on, verified or not.
    pub fn answer_with(&self, status: StatusCode, retry_after_secs: Option<u64>) {
        self.shared.inbox().always = Some(Scripted { status, retry_after_secs });
    }

    /// Answers one delivery so; calls queue up, and come before [`Self::answer_with`].
    pub fn answer_next(&self, status: StatusCode, retry_after_secs: Option<u64>) {
        self.shared.inbox().next.push_back(Scripted { status, retry_after_secs });
    }

    /// Forgets all scripted answers.
    pub fn answer_normally(&self) {
        let mut inbox = self.shared.inbox();
        inbox.always = None;
        inbox.next.clear();
    }

    /// Everything received so far, in order.
    #[must_use]
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.shared.inbox().deliveries.clone()
    }

    /// The first delivery that fits, also among those received before.
    ///
    /// # Errors
    /// When none came in time; the message names the events that did.
    pub async fn wait_for(
        &self,
        fits: impl Fn(&Delivery) -> bool,
        timeout: Duration,
    ) -> anyhow::Result<Delivery> {
        let mut arrived = self.shared.arrived.subscribe();
        let search = async {
            let mut seen = 0;
            loop {
                let count = *arrived.borrow_and_update();
                let found =
                    self.shared.inbox().deliveries[seen..count].iter().find(|d| fits(d)).cloned();
                if let Some(delivery) = found {
                    return Ok(delivery);
                }
                seen = count;
                arrived.changed().await.context("the receiver has stopped")?;
            }
        };
        match tokio::time::timeout(timeout, search).await {
            Ok(outcome) => outcome,
            Err(_) => anyhow::bail!("no such delivery within {timeout:?}; came: {}", self.came()),
        }
    }

    /// Takes no more deliveries, and waits for those under way.
    pub async fn stop(self) {
        self.server.stop().await;
    }

    fn came(&self) -> String {
        let inbox = self.shared.inbox();
        let kinds = inbox.deliveries.iter().map(|d| d.event["type"].as_str().unwrap_or("?"));
        let kinds: Vec<&str> = kinds.collect();
        if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") }
    }
}

async fn receive(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let mut inbox = shared.inbox();
    let verified = inbox
        .secret
        .as_ref()
        .is_some_and(|key| is_signed(key, &headers, &body, shared.clock.now()));
    let normal = match verified || inbox.secret.is_none() {
        true => StatusCode::NO_CONTENT,
        false => StatusCode::UNAUTHORIZED,
    };
    let scripted = inbox.next.pop_front().or(inbox.always);
    let answer = scripted.unwrap_or(Scripted { status: normal, retry_after_secs: None });
    inbox.deliveries.push(Delivery {
        id: text(&headers, "webhook-id").unwrap_or_default().to_owned(),
        timestamp: text(&headers, "webhook-timestamp").and_then(|text| text.parse().ok()),
        event: serde_json::from_slice(&body).unwrap_or_default(),
        verified,
        body: body.to_vec(),
        headers,
        answered: answer.status.as_u16(),
    });
    shared.arrived.send_replace(inbox.deliveries.len());
    let wait = answer.retry_after_secs.map(|secs| [(header::RETRY_AFTER, secs.to_string())]);
    (answer.status, wait, ()).into_response()
}
