//! Takes Latchkey's webhooks, verifies their signatures and prints each event as a line of JSON.
//!
//! ```text
//! target/debug/example-webhook-receiver --register [PORT]
//! WEBHOOK_SECRET=whsec_… target/debug/example-webhook-receiver [PORT]
//! ```
//!
//! With `--register` it makes a webhook endpoint for itself and deletes it at the end (ctrl-c). It
//! never prints the signing secret or the API key, and believes nothing that is not signed.

mod seen;
mod settings;

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use seen::Seen;

const DEFAULT_PORT: u16 = 8787;
const MOST_WAITING: usize = 1000;

struct Receiver {
    webhook: Webhook,
    seen: Mutex<Seen>,
    events: mpsc::Sender<Bytes>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let port = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(DEFAULT_PORT);
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let url = format!("http://{}/", listener.local_addr()?);
    let (secret, endpoint) = if arguments.iter().any(|argument| argument == "--register") {
        register(&url).await?
    } else {
        let secret = settings::read("WEBHOOK_SECRET");
        (secret.context("the secret of your endpoint is needed; --register makes one")?, None)
    };
    let webhook = Webhook::new(&secret).context("the secret is not `whsec_` and base64")?;
    let (events, mut waiting) = mpsc::channel::<Bytes>(MOST_WAITING);
    tokio::spawn(async move {
        while let Some(event) = waiting.recv().await {
            println!("{}", String::from_utf8_lossy(&event));
        }
    });
    let receiver = Receiver { webhook, seen: Mutex::default(), events };
    let app = Router::new().route("/", post(receive)).with_state(Arc::new(receiver));
    eprintln!("listening on {url}");
    let served = axum::serve(listener, app)
        .with_graceful_shutdown(async { drop(tokio::signal::ctrl_c().await) })
        .await;
    if let Some(id) = endpoint {
        call(reqwest::Method::DELETE, &format!("/v1/webhook-endpoints/{id}"), None).await?;
    }
    Ok(served?)
}

/// Answers at once: the work is done by somebody else.
async fn receive(
    State(receiver): State<Arc<Receiver>>,
    headers: HeaderMap,
    // The bytes as they came: JSON that was parsed and written again has another signature.
    body: Bytes,
) -> StatusCode {
    if receiver.webhook.verify(&body, &headers).is_err() {
        return StatusCode::UNAUTHORIZED;
    }
    let Some(id) = headers.get("webhook-id").and_then(|id| id.to_str().ok()) else {
        return StatusCode::UNAUTHORIZED;
    };
    let mut seen = receiver.seen.lock().unwrap_or_else(PoisonError::into_inner);
    if !seen.contains(id) {
        // An application writes it down here, before it answers: after a 2xx nobody sends it again.
        if receiver.events.try_send(body).is_err() {
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        seen.add(id);
    }
    StatusCode::NO_CONTENT
}

/// Makes an endpoint; answers its secret, which is shown this once, and its id.
async fn register(url: &str) -> anyhow::Result<(String, Option<String>)> {
    let body = json!({ "url": url, "workspaceId": settings::read("LATCHKEY_WORKSPACE")? });
    let made = call(reqwest::Method::POST, "/v1/webhook-endpoints", Some(&body)).await?;
    let text = |name: &str| made[name].as_str().map(ToOwned::to_owned);
    Ok((text("secret").context("a new endpoint shows its secret")?, text("id")))
}

/// Calls Latchkey's API.
async fn call(method: reqwest::Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
    let url = settings::read("LATCHKEY_URL")? + path;
    let mut request = reqwest::Client::new()
        .request(method.clone(), url)
        .bearer_auth(settings::read("LATCHKEY_API_KEY")?);
    if let Some(body) = body {
        request = request.json(body).header("idempotency-key", ulid::Ulid::generate().to_string());
    }
    let response = request.send().await?;
    let (status, text) = (response.status(), response.text().await?);
    ensure!(status.is_success(), "{method} {path} answered {status}: {text}");
    Ok(serde_json::from_str(&text).unwrap_or_default())
}
