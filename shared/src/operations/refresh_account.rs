//! Refreshing now: the grant comes due, and a command says so.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use super::{Means, Unable, find_account};
use crate::code::Code;
use crate::db::accounts::{Account, AccountStatus};
use crate::db::grants::{self, Grant, GrantStatus};
use crate::ids::{AccountId, WorkspaceId};
use crate::messages::{Command, GrantRef, RefreshDue};
use crate::platforms::{Platform, RefreshModel};
use crate::refused::Refused;
use crate::work::Work;

/// Whether an account can be refreshed, and by which grant.
///
/// # Errors
/// When it cannot.
pub async fn prepare(
    means: Means<'_>,
    workspace: &WorkspaceId,
    id: &AccountId,
) -> Result<(Account, Grant), Unable> {
    let (account, grant) = find_account(&mut *means.store.conn().await?, workspace, id).await?;
    if account.status != AccountStatus::Connected {
        let detail = format!("The account is `{}`: connect it again first.", account.status);
        return Err(Refused::new(Code::AccountNotConnected, detail).into());
    }
    let renewable = |grant: &Grant| grant.status == GrantStatus::Active && grant.renewable;
    let grant = grant.filter(renewable).ok_or_else(nothing_to_refresh)?;
    if let Some(platform) = means.platforms.get(&account.platform) {
        check_platform(means, platform, &grant)?;
    }
    Ok((account, grant))
}

/// Makes the refresh due. Whoever holds the grant's lease may be at it already: then this is the same
/// refresh.
///
/// # Errors
/// When the grant can no longer be refreshed.
pub async fn write(
    work: &mut Work,
    (account, grant): (Account, Grant),
) -> Result<(Account, Option<Grant>), Unable> {
    let (workspace, clock) = (&account.workspace_id, work.store().clock().clone());
    if !grants::make_due(work, &clock, workspace, &grant.id).await? {
        return Err(nothing_to_refresh().into());
    }
    let command = Command::RefreshDue(RefreshDue {
        platform: account.platform.clone(),
        grants: vec![GrantRef { workspace_id: workspace.clone(), grant_id: grant.id }],
    });
    work.send(&command).await?;
    find_account(work, workspace, &account.id).await
}

/// Whether a refresh would do the account any good.
fn check_platform(means: Means<'_>, platform: &Platform, grant: &Grant) -> Result<(), Refused> {
    if platform.accounts_have_tokens() {
        return Err(nothing_to_refresh());
    }
    let RefreshModel::SelfExtending { not_before } = platform.refresh else { return Ok(()) };
    let age = TimeDelta::from_std(not_before).unwrap_or(TimeDelta::MAX);
    let from = grant.issued_at.checked_add_signed(age).unwrap_or(DateTime::<Utc>::MAX_UTC);
    if means.clock().now() >= from {
        return Ok(());
    }
    let detail = format!(
        "{} extends no token before it is {} h old: ask again after {}. It is refreshed in time without \
         being asked.",
        platform.name,
        age.num_hours(),
        from.to_rfc3339_opts(SecondsFormat::Secs, true)
    );
    Err(Refused::new(Code::RefreshTooEarly, detail))
}

fn nothing_to_refresh() -> Refused {
    Refused::new(
        Code::NothingToRefresh,
        "The account holds no refresh token; when its token ends, connect it again.",
    )
}
