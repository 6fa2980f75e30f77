//! Some ends no refresh moves. Applications are told in time, so that they can ask the person while the
//! account still works.

use chrono::TimeDelta;
use latchkey_shared::db::accounts::{self, AccountStatus};
use latchkey_shared::db::{self, grants};
use latchkey_shared::events::{AccountReauthDue, EventData, NewEvent};
use latchkey_shared::messages::GrantRef;

use crate::context::Context;
use crate::outcome::{Failure, Outcome};

/// Days that have begun count whole.
fn days_left(left: TimeDelta) -> i64 {
    const DAY: i64 = 86_400;
    (left.num_seconds().max(0) + DAY - 1) / DAY
}

/// Tells of one grant's end, once for each of its notices.
///
/// # Errors
/// [`Failure`].
pub async fn notice(context: &Context, grant: &GrantRef) -> Result<Outcome, Failure> {
    let (workspace, id) = (&grant.workspace_id, &grant.grant_id);
    let mut work = context.store.begin().await?;
    if grants::lock(&mut work, workspace, id).await?.is_none() {
        return Ok(Outcome::Stale("no such grant"));
    }
    let now = db::read_now(&mut work).await?;
    let Some(at) = grants::take_notice(&mut work, grant.key(), now).await? else {
        return Ok(Outcome::Stale("told already"));
    };
    let accounts = accounts::lock_of_grant(&mut work, workspace, id).await?;
    for account in accounts.into_iter().filter(|a| a.status == AccountStatus::Connected) {
        let account = account.about();
        let due = EventData::AccountReauthDue(AccountReauthDue {
            reconnect: account.reconnect(workspace),
            account,
            reauth_due_at: at.into(),
            days_left: days_left(at - now),
            what_to_do: "ask the person to connect the account again before then".to_owned(),
        });
        work.emit(NewEvent::of_workspace(workspace, due)).await?;
    }
    work.commit().await?;
    Ok(Outcome::Done)
}
