//! Refreshing now, with the answer kept for who asks twice.

use axum::http::StatusCode;
use latchkey_shared::ids::{AccountId, WorkspaceId};
use latchkey_shared::operations::refresh_account;

use super::AccountView;
use crate::idempotency::Once;
use crate::problem::Problem;
use crate::state::App;

/// Makes a refresh due.
pub(crate) async fn run(
    app: &App,
    once: &Once,
    workspace: &WorkspaceId,
    id: &AccountId,
) -> Result<AccountView, Problem> {
    let due = refresh_account::prepare(app.means(), workspace, id).await?;
    let mut work = app.store.begin().await?;
    let view = refresh_account::write(&mut work, due).await?.into();
    once.keep(&mut work, StatusCode::ACCEPTED, &view).await?;
    work.commit().await?;
    Ok(view)
}
