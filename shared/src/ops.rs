//! The listener for operators: `/healthz`, `/readyz`, `/metrics`. Apart from the public one.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::telemetry;

/// Whether a process is ready, and how its parts are.
#[derive(Clone, Debug)]
pub struct Readiness {
    /// Whether it should get work.
    pub ready: bool,
    /// How its parts are.
    pub parts: Value,
}

/// Finds out whether the process is ready.
pub type CheckReadiness = Arc<dyn Fn() -> BoxFuture<'static, Readiness> + Send + Sync>;

/// The three routes.
pub fn router(check: CheckReadiness) -> Router {
    Router::new()
        .route("/metrics", get(|| async { telemetry::metrics().render() }))
        .merge(health_router(check))
}

/// `/healthz`: the process runs. `/readyz`: it should get work.
pub fn health_router(check: CheckReadiness) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .with_state(check)
}

async fn readyz(State(check): State<CheckReadiness>) -> (StatusCode, Json<Value>) {
    let readiness = check().await;
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness.parts))
}

/// Serves the routes until `stop`.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    check: CheckReadiness,
    stop: CancellationToken,
) -> std::io::Result<()> {
    axum::serve(listener, router(check)).with_graceful_shutdown(stop.cancelled_owned()).await
}
