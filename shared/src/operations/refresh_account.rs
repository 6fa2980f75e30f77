//! Refreshing now: the grant comes due, and a command says so.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use super::{Means, Unable, find_account};
use crate::code::Code;
use crate::db;
use crate::db::accounts::{Account, AccountStatus};
use crate::db::grants::{self, CallState, Grant, GrantStatus};
use crate::ids::{AccountId, WorkspaceId};
use crate::messages::{CheckDue, Command, GrantRef, RefreshDue};
use crate::platforms::Platform;
use crate::refused::Refused;
use crate::work::Work;

/// A refresh that can be asked for.
#[derive(Debug)]
pub struct Prepared {
    account: Account,
    grant: Grant,
    /// The spacing of the platform's refreshes.
    spacing: TimeDelta,
    /// It allows none before, since the last that brought tokens.
    not_before: Option<DateTime<Utc>>,
    /// Whether the token is too young to be extended: then the account is looked at instead.
    too_young: bool,
}

/// Whether an account can be refreshed, and by which grant.
///
/// # Errors
/// When it cannot.
pub async fn prepare(
    means: Means<'_>,
    workspace: &WorkspaceId,
    id: &AccountId,
) -> Result<Prepared, Unable> {
    let (account, grant) = find_account(&mut *means.store.conn().await?, workspace, id).await?;
    if account.status != AccountStatus::Connected {
        let detail = format!("The account is `{}`: connect it again first.", account.status);
        return Err(Refused::new(Code::AccountNotConnected, detail).into());
    }
    let grant = grant.filter(is_renewable).ok_or_else(nothing_to_refresh)?;
    let platform = means.platforms.get(&account.platform);
    if platform.is_some_and(Platform::accounts_have_tokens) {
        return Err(nothing_to_refresh().into());
    }
    let too_young = platform.is_some_and(|platform| is_too_young(means, platform, &grant));
    let not_before = platform
        .and_then(|platform| platform.next_refresh_after(grant.issued_at, grant.access_expires_at));
    let spacing = platform.map(|platform| platform.refresh_spacing).unwrap_or_default();
    let spacing = TimeDelta::from_std(spacing).unwrap_or(TimeDelta::zero());
    Ok(Prepared { account, grant, spacing, not_before, too_young })
}

/// Makes the refresh due; the planner dispatches one that is due later. A token that is too young to be extended shows
/// by a look whether it still works. A worker that calls for the grant already
/// makes the same refresh, and a token in doubt is left until its time has come.
///
/// # Errors
/// When the grant can no longer be refreshed, or its token is in doubt.
pub async fn write(
    work: &mut Work,
    prepared: Prepared,
) -> Result<(Account, Option<Grant>), Unable> {
    let Prepared { account, grant, spacing, not_before, too_young } = prepared;
    let workspace = &account.workspace_id;
    if too_young {
        let look = CheckDue { workspace_id: workspace.clone(), account_id: account.id.clone() };
        work.send(&Command::CheckDue(look)).await?;
        return find_account(work, workspace, &account.id).await;
    }
    let grant = grants::lock(work, workspace, &grant.id).await?;
    let grant = grant.filter(is_renewable).ok_or_else(nothing_to_refresh)?;
    let now = db::read_clock(work).await?;
    match grant.call_state(now) {
        CallState::InDoubt(next) => return Err(in_doubt(next).into()),
        CallState::UnderWay => {}
        CallState::Free => {
            // A call that failed was one, too: asking again and again spends what all share at the platform.
            let after_failure = grant.last_error_at.map(|failed| failed + spacing);
            let at = not_before.max(after_failure).map_or(now, |at| at.max(now));
            grants::make_due(work, &grant, at).await?;
            if at <= now {
                let due = GrantRef { workspace_id: workspace.clone(), grant_id: grant.id };
                let command = RefreshDue { platform: account.platform.clone(), grants: vec![due] };
                work.send(&Command::RefreshDue(command)).await?;
            }
        }
    }
    find_account(work, workspace, &account.id).await
}

fn is_renewable(grant: &Grant) -> bool {
    grant.status == GrantStatus::Active && grant.renewable
}

fn in_doubt(next: DateTime<Utc>) -> Refused {
    let detail = format!(
        "The platform's last answer was lost, and the refresh token may be spent: presenting it too early \
         could end the account. It is tried again at {}, or as soon as that is known to be safe.",
        next.to_rfc3339_opts(SecondsFormat::Secs, true)
    );
    Refused::new(Code::RefreshInDoubt, detail)
}

/// Whether the platform extends no token of this age.
fn is_too_young(means: Means<'_>, platform: &Platform, grant: &Grant) -> bool {
    let from = platform.refresh.earliest(grant.issued_at);
    from.is_some_and(|from| means.clock().now() < from)
}

fn nothing_to_refresh() -> Refused {
    Refused::new(
        Code::NothingToRefresh,
        "The account holds no refresh token; when its token ends, connect it again.",
    )
}
