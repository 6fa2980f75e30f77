//! Refreshing now: the grant comes due, and a command says so.

use axum::http::StatusCode;
use latchkey_shared::db::accounts::AccountStatus;
use latchkey_shared::db::grants::{self, Grant, GrantStatus};
use latchkey_shared::ids::{AccountId, WorkspaceId};
use latchkey_shared::messages::{Command, GrantRef, RefreshDue};

use super::AccountView;
use crate::code::Code;
use crate::idempotency::Once;
use crate::problem::Problem;
use crate::state::App;

/// Makes a refresh due. Whoever holds the grant's lease may be at it already: then this is the same
/// refresh.
pub(crate) async fn run(
    app: &App,
    once: &Once,
    workspace: &WorkspaceId,
    id: &AccountId,
) -> Result<AccountView, Problem> {
    let (account, grant) = super::find(app, workspace, id).await?;
    if account.status != AccountStatus::Connected {
        let detail = format!("The account is `{}`: connect it again first.", account.status);
        return Err(Problem::new(Code::AccountNotConnected, detail));
    }
    let renewable = |grant: &Grant| grant.status == GrantStatus::Active && grant.renewable;
    let grant = grant.filter(renewable).ok_or_else(nothing_to_refresh)?;

    let mut work = app.store.begin().await?;
    if !grants::make_due(&mut work, app.clock(), workspace, &grant.id).await? {
        return Err(nothing_to_refresh());
    }
    let command = Command::RefreshDue(RefreshDue {
        platform: account.platform,
        grants: vec![GrantRef { workspace_id: workspace.clone(), grant_id: grant.id }],
    });
    work.send(&command).await?;
    let view = super::find_in(&mut work, workspace, id).await?.into();
    once.keep(app, &mut work, (StatusCode::ACCEPTED, &view)).await?;
    work.commit().await?;
    Ok(view)
}

fn nothing_to_refresh() -> Problem {
    Problem::new(
        Code::NothingToRefresh,
        "The account holds no refresh token; when its token ends, connect it again.",
    )
}
