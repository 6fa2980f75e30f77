//! A person approved: exchange the code, store the answer before anything else, find out who it
//! is and what there is to connect, let the person choose where there is a choice and the application claim
//! it where it wants to, connect the accounts.
//!
//! A code is presented once, ever: `exchanging` commits before the call, and who finds it without
//! an answer and without a worker waiting for one ends the connect.

mod admit;
mod choose;
mod claim;
mod consent;
mod exchange;
mod finish;
mod identify;
mod trade_in;

use std::time::Duration;

use chrono::TimeDelta;
use latchkey_shared::backoff::Policy;
use latchkey_shared::db::app_health::AppKey;
use latchkey_shared::db::connects::{self, Advance, Connect, ConnectStatus};
use latchkey_shared::db::{self, DbError};
use latchkey_shared::events::EventData;
use latchkey_shared::messages::CallbackReceived;
use latchkey_shared::platforms::quirks::Accounts;
use latchkey_shared::platforms::{DISCOVERY_DEADLINE, Platform};
use latchkey_shared::release;
use latchkey_shared::work::Work;
use serde_json::Value;

use crate::context::Context;
use crate::oauth::{CallError, listing};
use crate::outcome::{Failure, Outcome, Terms};

/// The person is waiting in front of a browser.
pub const TERMS: Terms = Terms {
    timeout: Duration::from_secs(170),
    retry: Policy::new(Duration::from_secs(1), Duration::from_secs(15)),
    max_attempts: 20,
};

/// How much longer than its call a lease lasts: the time to store what it brought.
const STORE_TIME: Duration = Duration::from_secs(15);

/// How long an exchange holds its connect; the platform may have to say first where it is.
fn exchange_lease(context: &Context) -> TimeDelta {
    lease(DISCOVERY_DEADLINE + context.http.timeouts().other)
}

/// How long all that is asked with the new token holds its connect.
fn identity_lease(context: &Context, platform: &Platform) -> TimeDelta {
    let timeouts = context.http.timeouts();
    let trade_in = platform.quirks.long_lived.map(|_| timeouts.other).unwrap_or_default();
    let listing = match platform.quirks.accounts {
        Accounts::Listed(_) => listing::DEADLINE,
        Accounts::Holder => Duration::ZERO,
    };
    lease(trade_in + timeouts.identity() + listing)
}

fn lease(call: Duration) -> TimeDelta {
    TimeDelta::from_std(call + STORE_TIME).unwrap_or(TimeDelta::minutes(1))
}

enum Step {
    Exchange(Connect),
    Identify(Connect),
    Connect(Connect),
    Over(Outcome),
}

/// Takes the connect as far as it goes.
///
/// # Errors
/// [`Failure`].
pub async fn handle(context: &Context, message: &CallbackReceived) -> Result<Outcome, Failure> {
    let Some(app) = app_of(context, message).await? else {
        return Ok(Outcome::Stale("no such connect"));
    };
    let Some(_permit) = context.permit_for_one(&app).await else {
        return Ok(Outcome::Snooze(Duration::from_secs(1)));
    };
    match take(context, message).await? {
        Step::Exchange(connect) => match exchange::run(context, &connect).await? {
            Some(connect) => identify(context, &connect).await,
            None => Ok(Outcome::Done),
        },
        Step::Identify(connect) => identify(context, &connect).await,
        Step::Connect(connect) => choose::resume(context, &connect).await,
        Step::Over(outcome) => Ok(outcome),
    }
}

async fn app_of(context: &Context, message: &CallbackReceived) -> Result<Option<AppKey>, DbError> {
    let mut conn = context.store.conn().await?;
    let connect = connects::find(&mut conn, &message.workspace_id, &message.connect_id).await?;
    Ok(connect.map(|connect| AppKey::new(&connect.platform, connect.app_id.as_ref())))
}

/// Everything behind the code can be done again. When it fails on our side, the person does not wait for
/// the end of the lease as well.
async fn identify(context: &Context, connect: &Connect) -> Result<Outcome, Failure> {
    let ended = identify::run(context, connect).await;
    if matches!(ended, Err(Failure::Later(_)))
        && let Err(error) = shorten_lease(context, connect).await
    {
        tracing::debug!(connect.id = %connect.id, "its lease stays as it is: {error}");
    }
    ended
}

/// Only the lease that was taken here: what [`ask_again`] or another worker set since then stays.
async fn shorten_lease(context: &Context, connect: &Connect) -> Result<(), DbError> {
    let key = (&connect.workspace_id, &connect.id);
    let mut conn = context.store.conn().await?;
    connects::shorten_lease(&mut conn, context.clock(), key, (connect.lease_until, ASK_AGAIN)).await
}

/// Loads, guards, and takes the lease on what is to be done next.
async fn take(context: &Context, message: &CallbackReceived) -> Result<Step, Failure> {
    let clock = context.clock();
    let key = (&message.workspace_id, &message.connect_id);
    let mut work = context.store.begin().await?;
    let Some(connect) = connects::lock(&mut work, key.0, key.1).await? else {
        return Ok(Step::Over(Outcome::Stale("no such connect")));
    };
    let now = db::read_now(&mut work, clock).await?;
    let waiting = connect.lease_until.filter(|until| *until > now).map(|until| until - now);
    let step = match (connect.status, waiting) {
        (ConnectStatus::Authorized, _) => {
            let step = Advance {
                lease: Some(exchange_lease(context)),
                ..Advance::to(ConnectStatus::Exchanging, &[ConnectStatus::Authorized])
            };
            match connects::advance(&mut work, clock, key, &step).await? {
                Some(connect) => Step::Exchange(connect),
                None => Step::Over(Outcome::Stale("taken by another worker")),
            }
        }
        (ConnectStatus::Exchanging, Some(left)) => {
            Step::Over(Outcome::Snooze(left.to_std().unwrap_or_default().min(LOOK_AGAIN)))
        }
        (ConnectStatus::Exchanging, None) if connect.grant_id.is_some() => {
            let lease = identity_lease(context, context.platform(&connect.platform)?);
            let lease_until = connects::set_lease(&mut work, clock, key, lease).await?;
            Step::Identify(Connect { lease_until, ..connect })
        }
        (ConnectStatus::Exchanging, None) => {
            fail(&mut work, context, &connect, &Reason::new("EXCHANGE_INTERRUPTED")).await?;
            Step::Over(Outcome::Done)
        }
        (ConnectStatus::Selecting, _) if connect.selection.is_some() => Step::Connect(connect),
        (ConnectStatus::Claiming, _) if connect.claimed_at.is_some() => Step::Connect(connect),
        _ => Step::Over(Outcome::Stale("not waiting for a worker")),
    };
    match (work.commit().await, step) {
        (Ok(()), step) => Ok(step),
        (Err(error), Step::Exchange(connect)) => {
            // It may have been committed all the same, and no call followed.
            exchange::not_presented(context, &connect).await?;
            Err(error.into())
        }
        (Err(error), _) => Err(error.into()),
    }
}

/// Why a connect ended without an account.
struct Reason {
    code: &'static str,
    platform_error: Option<Value>,
}

impl Reason {
    fn new(code: &'static str) -> Self {
        Self { code, platform_error: None }
    }
}

/// Whoever holds the lease most likely ends it within a second: so often it is looked whether they have.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Until then, or for as long as the platform asked, neither a redelivery nor the sweep tries again.
const ASK_AGAIN: TimeDelta = TimeDelta::seconds(2);

/// What is asked with the new token brought no answer: it is asked again.
async fn ask_again(
    context: &Context,
    connect: &Connect,
    error: CallError,
) -> Result<Failure, Failure> {
    let asked = error.asked_patience().and_then(|wait| TimeDelta::from_std(wait).ok());
    let lease = asked.unwrap_or(ASK_AGAIN).max(ASK_AGAIN);
    let mut conn = context.store.conn().await?;
    let key = (&connect.workspace_id, &connect.id);
    connects::set_lease(&mut conn, context.clock(), key, lease).await?;
    Ok(Failure::Later(error.into()))
}

/// Others are to end something first. Until then the connect is nobody's; answers how soon it is looked
/// whether they have.
async fn look_again_soon(context: &Context, connect: &Connect) -> Result<Duration, Failure> {
    let mut conn = context.store.conn().await?;
    let key = (&connect.workspace_id, &connect.id);
    connects::set_lease(&mut conn, context.clock(), key, ASK_AGAIN).await?;
    Ok(ASK_AGAIN.to_std().unwrap_or(LOOK_AGAIN))
}

/// Ends a connect without an account.
async fn give_up(
    context: &Context,
    connect: &Connect,
    reason: &Reason,
) -> Result<Outcome, Failure> {
    let mut work = context.store.begin().await?;
    let Some(now) = connects::lock(&mut work, &connect.workspace_id, &connect.id).await? else {
        return Ok(Outcome::Stale("no such connect"));
    };
    fail(&mut work, context, &now, reason).await?;
    work.commit().await?;
    Ok(Outcome::Done)
}

/// Ends a connect without an account, in the caller's transaction: what it brought is disposed of.
async fn fail(
    work: &mut Work,
    context: &Context,
    connect: &Connect,
    reason: &Reason,
) -> Result<(), DbError> {
    let step = Advance {
        reason_code: Some(reason.code),
        platform_error: reason.platform_error.as_ref(),
        ..Advance::to(ConnectStatus::Failed, &ConnectStatus::OPEN)
    };
    let key = (&connect.workspace_id, &connect.id);
    let Some(failed) = connects::advance(work, context.clock(), key, &step).await? else {
        return Ok(());
    };
    dispose(work, context, &failed, reason.code).await?;
    work.emit(failed.event(EventData::ConnectFailed)).await.map(drop)
}

/// Lets go of the grant that a connect brought, if it brought one.
async fn dispose(
    work: &mut Work,
    context: &Context,
    connect: &Connect,
    reason: &str,
) -> Result<(), DbError> {
    let Some(grant_id) = &connect.grant_id else {
        return Ok(());
    };
    let grant = (&connect.workspace_id, grant_id);
    release::release(work, context.clock(), grant, reason).await.map(drop)
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
    if connect.expires_at > db::read_now(&mut work, context.clock()).await? {
        return Ok(Outcome::Stale("not over yet"));
    }
    match connect.status {
        ConnectStatus::Pending | ConnectStatus::Selecting | ConnectStatus::Claiming => {
            let from = [connect.status];
            let step = Advance::to(ConnectStatus::Expired, &from);
            let key = (&connect.workspace_id, &connect.id);
            if let Some(expired) = connects::advance(&mut work, context.clock(), key, &step).await?
            {
                dispose(&mut work, context, &expired, "connect_expired").await?;
                work.emit(expired.event(EventData::ConnectExpired)).await?;
            }
        }
        ConnectStatus::Authorized | ConnectStatus::Exchanging => {
            fail(&mut work, context, &connect, &Reason::new("NOT_FINISHED_IN_TIME")).await?;
        }
        _ => return Ok(Outcome::Stale("ended already")),
    }
    work.commit().await?;
    Ok(Outcome::Done)
}
