//! Some ends no refresh moves. Applications are told in time, so that they can ask the person while the
//! account still works.

use chrono::{SecondsFormat, TimeDelta};
use latchkey_shared::db::accounts::{self, AccountStatus};
use latchkey_shared::db::{self, grants};
use latchkey_shared::events::{EventType, NewEvent};
use latchkey_shared::messages::GrantRef;
use serde_json::json;

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
    let now = db::read_now(&mut work, context.clock()).await?;
    let Some(at) = grants::take_notice(&mut work, (workspace, id), now).await? else {
        return Ok(Outcome::Stale("told already"));
    };
    let accounts = accounts::lock_of_grant(&mut work, workspace, id).await?;
    for account in accounts.into_iter().filter(|a| a.status == AccountStatus::Connected) {
        let data = json!({
            "accountId": account.id,
            "platform": account.platform,
            "username": account.username,
            "profileId": account.profile_id,
            "reauthDueAt": at.to_rfc3339_opts(SecondsFormat::Millis, true),
            "daysLeft": days_left(at - now),
            "whatToDo": "ask the person to connect the account again before then",
        });
        work.emit(NewEvent {
            workspace_id: workspace.clone(),
            kind: EventType::AccountReauthDue,
            account_id: Some(account.id),
            data,
        })
        .await?;
    }
    work.commit().await?;
    Ok(Outcome::Done)
}
