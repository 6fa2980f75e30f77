//! Starting a connect, with the answer kept for who asks twice.

use axum::Json;
use axum::http::StatusCode;
use latchkey_shared::db::workspaces::Workspace;
use latchkey_shared::operations::start_connect::{self, AskedThrough, StartedConnect};
use serde::Serialize;

use crate::idempotency::Once;
use crate::problem::Problem;
use crate::state::App;

/// Starts a connect; `answer` words what is answered, and kept.
pub(crate) async fn run<T: Serialize>(
    app: &App,
    once: &Once,
    workspace: &Workspace,
    asked: AskedThrough,
    answer: impl FnOnce(StartedConnect) -> Result<(StatusCode, T), Problem>,
) -> Result<(StatusCode, Json<T>), Problem> {
    let prepared = start_connect::prepare(app.means(), workspace, asked).await?;
    let mut work = app.store.begin().await?;
    let (status, answer) = answer(prepared.write(&mut work).await?)?;
    once.keep(&mut work, status, &answer).await?;
    work.commit().await?;
    Ok((status, Json(answer)))
}
