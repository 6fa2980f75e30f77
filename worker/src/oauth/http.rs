//! One HTTP request to a platform, and what can be said when it brings no readable answer.
//!
//! The one distinction that matters: may the platform have acted on it?

use std::time::Duration;

use futures_util::StreamExt as _;
use latchkey_shared::net_guard::outbound_client;
use latchkey_shared::platforms::DiscoveryError;
use reqwest::header::RETRY_AFTER;

/// Answers are read up to this; a platform's real answers are far below.
const MAX_BODY: usize = 64 * 1024;
/// How far a `Retry-After` is believed.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// Why there is no answer to read.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The request did not leave this machine.
    #[error("the platform could not be reached")]
    NotSent(#[source] reqwest::Error),
    /// There was nowhere to send it: the platform does not say where its endpoints are.
    #[error("the platform's endpoints are not known")]
    Undiscovered(#[from] DiscoveryError),
    /// The platform said that it did not do it: 429, 5xx, a redirect.
    #[error("the platform answered {status}")]
    Status {
        /// HTTP status.
        status: u16,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// The request was sent, and no answer could be read: nobody knows what the platform did.
    #[error("the platform's answer could not be read: {0}")]
    Unreadable(String),
}

/// The HTTP client for platforms.
#[derive(Clone, Debug)]
pub struct PlatformHttp {
    client: reqwest::Client,
}

impl PlatformHttp {
    /// A client without redirects, proxies and silent repetitions.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new() -> reqwest::Result<Self> {
        Ok(Self { client: outbound_client(Duration::from_secs(120)).build()? })
    }

    /// Sends one request. 2xx and 4xx (but 429) are answers to be read; all else is a [`CallError`].
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn send(
        &self,
        request: http::Request<Vec<u8>>,
        deadline: Duration,
    ) -> Result<http::Response<Vec<u8>>, CallError> {
        let request = reqwest::Request::try_from(request).map_err(CallError::NotSent)?;
        let exchange = async {
            let response = self.client.execute(request).await.map_err(unanswered)?;
            let status = response.status();
            if status.as_u16() == 429 || status.is_server_error() || status.is_redirection() {
                let retry_after = retry_after(&response);
                return Err(CallError::Status { status: status.as_u16(), retry_after });
            }
            read(response).await
        };
        match tokio::time::timeout(deadline, exchange).await {
            Ok(result) => result,
            Err(_) => {
                Err(CallError::Unreadable(format!("nothing within {} s", deadline.as_secs())))
            }
        }
    }
}

fn unanswered(error: reqwest::Error) -> CallError {
    if error.is_connect() || error.is_builder() {
        return CallError::NotSent(error);
    }
    CallError::Unreadable(error.without_url().to_string())
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
    answer.body(body).map_err(|error| CallError::Unreadable(error.to_string()))
}

fn retry_after(response: &reqwest::Response) -> Option<Duration> {
    let seconds: u64 = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}
