//! What a refresh without new tokens leaves behind.

use latchkey_shared::db::grants::{self, FailedCall, Grant, GrantStatus};
use latchkey_shared::db::{self, DbError, accounts};
use latchkey_shared::events::{
    AccountRecovered, AccountRefreshOverdue, EventData, NewEvent, RecoveredBy,
};
use latchkey_shared::messages::GrantRef;
use latchkey_shared::platforms::Platform;
use latchkey_shared::work::Work;
use serde_json::Value;

use super::super::expiry::expire_account;
use super::super::{OUR_FAULT_PAUSE, pause_app};
use super::claim::{Claimed, count_in_doubt};
use crate::context::Context;
use crate::oauth::refusal::{FailureClass, TokenError};
use crate::oauth::schedule;
use crate::outcome::{Failure, Outcome};

/// Schedules the next try.
///
/// # Errors
/// [`Failure`].
pub async fn put_off(
    context: &Context,
    platform: &Platform,
    claimed: &Claimed,
    (error, class): (&TokenError, FailureClass),
) -> Result<Outcome, Failure> {
    let clock = context.clock();
    let grant = &claimed.grant;
    let code = error.code();
    let mut work = context.store.begin().await?;
    let now = db::read_now(&mut work, clock).await?;
    let asked = error.patience(platform);
    let patience = if class == FailureClass::OurFault { Some(OUR_FAULT_PAUSE) } else { asked };
    let first_doubt = matches!(class, FailureClass::InDoubt(_)) && grant.in_doubt_since.is_none();
    let retry_at = if first_doubt {
        schedule::second_try_at(platform.refresh, grant, now, context.in_doubt_lead)
    } else {
        schedule::retry_at(grant, now, patience)
    };
    let failed =
        FailedCall { error_code: &code, retry_at, in_doubt: matches!(class, FailureClass::InDoubt(_)) };
    grants::put_off(&mut work, clock, grant, &failed).await?;
    if let Some(patience) = patience {
        pause_app(&mut work, clock, (platform, grant.app_id.as_ref()), (patience, &code)).await?;
    }
    if grant.access_expires_at.is_some_and(|end| end <= now)
        && grants::note_overdue(&mut work, clock, grant).await?
    {
        for account in accounts::lock_of_grant(&mut work, &grant.workspace_id, &grant.id).await? {
            let overdue = AccountRefreshOverdue { account: account.about(), error: code.clone() };
            let overdue = EventData::AccountRefreshOverdue(overdue);
            work.emit(NewEvent::of_workspace(&grant.workspace_id, overdue)).await?;
        }
    }
    work.commit().await?;
    match class {
        FailureClass::InDoubt(_) => count_in_doubt(grant),
        FailureClass::OurFault => {
            tracing::error!(
                platform.id = platform.id,
                error = code,
                "the platform refuses our client: check its credentials"
            );
        }
        _ => {
            tracing::info!(grant.id = %grant.id, error = code, retry_at = %retry_at, "refresh put off")
        }
    }
    Ok(Outcome::Done)
}

/// The platform refused in clear words: only the person can help, if storage still holds the
/// generation that was refused. After an interrupted call the interruption is the reason, unless
/// the platform wants the person's consent anew.
///
/// # Errors
/// [`Failure`].
pub async fn die(
    context: &Context,
    grant: &Grant,
    (error, class): (&TokenError, FailureClass),
) -> Result<Outcome, Failure> {
    let reason = match class {
        FailureClass::NeedsConsent => "consent_required",
        _ if grant.in_doubt_since.is_some() => "refresh_interrupted",
        _ => "refused_by_platform",
    };
    let platform_error = error.to_json();
    let mut work = context.store.begin().await?;
    let current = grants::lock(&mut work, &grant.workspace_id, &grant.id).await?;
    if current.is_none_or(|current| current.generation != grant.generation) {
        return Ok(Outcome::Stale("refused, but a newer token is stored"));
    }
    expire(&mut work, context, grant, (reason, &platform_error)).await?;
    work.commit().await?;
    tracing::warn!(grant.id = %grant.id, reason, error = error.code(), "token expired: the person must connect again");
    Ok(Outcome::Done)
}

/// Ends a grant that nothing can renew, because its known end has passed.
///
/// # Errors
/// [`Failure`].
pub async fn expire_ended(context: &Context, grant: &GrantRef) -> Result<Outcome, Failure> {
    let mut work = context.store.begin().await?;
    let Some(grant) = grants::lock(&mut work, &grant.workspace_id, &grant.grant_id).await? else {
        return Ok(Outcome::Stale("no such grant"));
    };
    let now = db::read_now(&mut work, context.clock()).await?;
    let end = if grant.renewable { grant.refresh_expires_at } else { grant.access_expires_at };
    let calling = grant.lease_until.is_some_and(|until| until > now);
    if grant.status != GrantStatus::Active || calling || end.is_none_or(|end| end > now) {
        return Ok(Outcome::Stale("not ended"));
    }
    let itself = grant.refresh_expires_at == grant.access_expires_at;
    let reason =
        if grant.renewable && !itself { "refresh_token_ended" } else { "access_token_ended" };
    expire(&mut work, context, &grant, (reason, &Value::Null)).await?;
    work.commit().await?;
    Ok(Outcome::Done)
}

async fn expire(
    work: &mut Work,
    context: &Context,
    grant: &Grant,
    (reason, platform_error): (&str, &Value),
) -> Result<(), DbError> {
    let clock = context.clock();
    if !grants::expire(work, clock, grant, reason).await? {
        return Ok(());
    }
    for account in accounts::lock_of_grant(work, &grant.workspace_id, &grant.id).await? {
        expire_account(work, clock, &account, (reason, platform_error)).await?;
    }
    Ok(())
}

/// A late answer brought an expired grant back: so are its accounts.
///
/// # Errors
/// When the database fails.
pub async fn recover(work: &mut Work, grant: &Grant) -> Result<(), DbError> {
    grants::revive(work, &grant.workspace_id, &grant.id).await?;
    for account in accounts::lock_of_grant(work, &grant.workspace_id, &grant.id).await? {
        accounts::recover(work, &account).await?;
        let back = AccountRecovered { account: account.about(), by: RecoveredBy::LateAnswer };
        let back = EventData::AccountRecovered(back);
        work.emit(NewEvent::of_workspace(&grant.workspace_id, back)).await?;
    }
    Ok(())
}
