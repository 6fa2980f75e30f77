//! For orchestrators, on the public listener too: some can look nowhere else.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::Value;

use crate::state::App;

/// Whether the process runs.
#[utoipa::path(
    get, path = "/healthz", tag = "health", operation_id = "healthz", security(()),
    responses((status = OK, description = "It does", content_type = "text/plain", body = String)),
)]
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether the process should get work, and how its parts are.
#[utoipa::path(
    get, path = "/readyz", tag = "health", operation_id = "readyz", security(()),
    responses(
        (status = OK, description = "It should; a broker that is away or blocked only delays work", body = Object, example = json!({"database": "up", "broker": "up", "outbox": 0, "eventLog": "up"})),
        (status = SERVICE_UNAVAILABLE, description = "PostgreSQL is away, or too many messages wait", body = Object, example = json!({"database": "down", "broker": "up", "outbox": null, "eventLog": "up"})),
    ),
)]
pub(crate) async fn readyz(State(app): State<Arc<App>>) -> (StatusCode, Json<Value>) {
    let readiness = (app.check_readiness)().await;
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness.parts))
}
