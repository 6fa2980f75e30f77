//! Refreshing now: the grant comes due, and a command says so.

use axum::http::StatusCode;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use latchkey_shared::db::accounts::AccountStatus;
use latchkey_shared::db::grants::{self, Grant, GrantStatus};
use latchkey_shared::ids::{AccountId, WorkspaceId};
use latchkey_shared::messages::{Command, GrantRef, RefreshDue};
use latchkey_shared::platforms::{Platform, RefreshModel};

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
    if let Some(platform) = app.platforms.get(&account.platform) {
        check_platform(app, platform, &grant)?;
    }

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

/// Whether a refresh would do the account any good.
fn check_platform(app: &App, platform: &Platform, grant: &Grant) -> Result<(), Problem> {
    if platform.accounts_have_tokens() {
        return Err(nothing_to_refresh());
    }
    let RefreshModel::SelfExtending { not_before } = platform.refresh else { return Ok(()) };
    let age = TimeDelta::from_std(not_before).unwrap_or(TimeDelta::MAX);
    let from = grant.issued_at.checked_add_signed(age).unwrap_or(DateTime::<Utc>::MAX_UTC);
    if app.clock().now() >= from {
        return Ok(());
    }
    let detail = format!(
        "{} extends no token before it is {} h old: ask again after {}. It is refreshed in time without \
         being asked.",
        platform.name,
        age.num_hours(),
        from.to_rfc3339_opts(SecondsFormat::Secs, true)
    );
    Err(Problem::new(Code::RefreshTooEarly, detail))
}

fn nothing_to_refresh() -> Problem {
    Problem::new(
        Code::NothingToRefresh,
        "The account holds no refresh token; when its token ends, connect it again.",
    )
}
