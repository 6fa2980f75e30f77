//! How a connect ends without an account.

use latchkey_shared::db::connects::{self, Advance, Connect, ConnectStatus};
use latchkey_shared::db::{self, DbError};
use latchkey_shared::events::EventData;
use latchkey_shared::ids::GrantKey;
use latchkey_shared::messages::CallbackReceived;
use latchkey_shared::release;
use latchkey_shared::work::Work;
use serde_json::Value;

use crate::context::Context;
use crate::outcome::{Failure, Outcome};

/// Why a connect ended without an account.
pub(super) struct Reason {
    pub(super) code: &'static str,
    pub(super) platform_error: Option<Value>,
}

impl Reason {
    pub(super) fn new(code: &'static str) -> Self {
        Self { code, platform_error: None }
    }
}

/// The platform refuses what the operator set up: the log tells the operator, and the person's connect ends.
pub(super) async fn misconfigured(
    context: &Context,
    connect: &Connect,
    code: &str,
    said: Value,
) -> Result<Outcome, Failure> {
    let words = said["description"].as_str().unwrap_or_default();
    tracing::error!(
        platform.id = connect.platform,
        connect.id = %connect.id,
        error = code,
        words,
        "the platform refuses our client: check its credentials and its settings at the platform"
    );
    let reason = Reason { code: "PLATFORM_MISCONFIGURED", platform_error: Some(said) };
    give_up(context, connect, &reason).await
}

/// Ends a connect without an account.
pub(super) async fn give_up(
    context: &Context,
    connect: &Connect,
    reason: &Reason,
) -> Result<Outcome, Failure> {
    let mut work = context.store.begin().await?;
    let Some(now) = connects::lock(&mut work, &connect.workspace_id, &connect.id).await? else {
        return Ok(Outcome::Stale("no such connect"));
    };
    fail(&mut work, &now, reason).await?;
    work.commit().await?;
    Ok(Outcome::Done)
}

/// Ends a connect without an account, in the caller's transaction: what it brought is disposed of.
pub(super) async fn fail(
    work: &mut Work,
    connect: &Connect,
    reason: &Reason,
) -> Result<(), DbError> {
    let step = Advance {
        reason_code: Some(reason.code),
        platform_error: reason.platform_error.as_ref(),
        ..Advance::to(ConnectStatus::Failed, &ConnectStatus::OPEN)
    };
    let key = connect.key();
    let Some(failed) = connects::advance(work, key, &step).await? else {
        return Ok(());
    };
    dispose(work, &failed, reason.code).await?;
    work.emit(failed.event(EventData::ConnectFailed)).await.map(drop)
}

/// Lets go of the grant that a connect brought, if it brought one.
async fn dispose(work: &mut Work, connect: &Connect, reason: &str) -> Result<(), DbError> {
    let Some(grant_id) = &connect.grant_id else {
        return Ok(());
    };
    let grant = GrantKey { workspace_id: &connect.workspace_id, id: grant_id };
    release::release(work, grant, reason).await.map(drop)
}

/// Ends a connect that nobody finished in time.
///
/// # Errors
/// [`Failure`].
pub async fn expire(context: &Context, message: &CallbackReceived) -> Result<Outcome, Failure> {
    let mut work = context.store.begin().await?;
    let Some(connect) =
        connects::lock(&mut work, &message.workspace_id, &message.connect_id).await?
    else {
        return Ok(Outcome::Stale("no such connect"));
    };
    if connect.expires_at > db::read_now(&mut work).await? {
        return Ok(Outcome::Stale("not over yet"));
    }
    match connect.status {
        ConnectStatus::Pending | ConnectStatus::Selecting | ConnectStatus::Claiming => {
            let from = [connect.status];
            let step = Advance::to(ConnectStatus::Expired, &from);
            let key = connect.key();
            if let Some(expired) = connects::advance(&mut work, key, &step).await? {
                dispose(&mut work, &expired, "connect_expired").await?;
                work.emit(expired.event(EventData::ConnectExpired)).await?;
            }
        }
        ConnectStatus::Authorized | ConnectStatus::Exchanging => {
            fail(&mut work, &connect, &Reason::new("NOT_FINISHED_IN_TIME")).await?;
        }
        _ => return Ok(Outcome::Stale("ended already")),
    }
    work.commit().await?;
    Ok(Outcome::Done)
}
