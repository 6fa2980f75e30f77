//! Starting a connect, with the answer kept for who asks twice.

use axum::http::StatusCode;
use latchkey_shared::db::workspaces::Workspace;
use latchkey_shared::operations::start_connect::{self, Door, StartConnect, StartedConnect};

use crate::idempotency::Once;
use crate::problem::Problem;
use crate::state::App;

/// Starts a connect.
pub(crate) async fn run(
    app: &App,
    once: &Once,
    workspace: &Workspace,
    asked: (StartConnect, Door),
) -> Result<StartedConnect, Problem> {
    let prepared = start_connect::prepare(app.means(), workspace, asked).await?;
    let mut work = app.store.begin().await?;
    let started = prepared.write(&mut work).await?;
    once.keep(app, &mut work, (StatusCode::CREATED, &started)).await?;
    work.commit().await?;
    Ok(started)
}
