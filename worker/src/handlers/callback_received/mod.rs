//! A person approved: exchange the code, store the answer before anything else, find out who it
//! is and what there is to connect, let the person choose where there is a choice and the application claim
//! it where it wants to, connect the accounts.
//!
//! A code is presented once, unless the platform says that it did not look at it: `exchanging` commits before the
//! call, and a worker that finds it without an answer and without another waiting for one ends the connect.

mod admit;
mod choose;
mod claim;
mod consent;
mod deselect;
mod end;
mod exchange;
mod finish;
mod identify;
mod repeat;
mod trade_in;

use std::time::Duration;

use chrono::TimeDelta;
use latchkey_shared::backoff::Policy;
use latchkey_shared::db::app_health::AppKey;
use latchkey_shared::db::connects::{self, Advance, Connect, ConnectStatus};
use latchkey_shared::db::{self, DbError};
use latchkey_shared::messages::CallbackReceived;
use latchkey_shared::platforms::quirks::Accounts;
use latchkey_shared::platforms::{DISCOVERY_DEADLINE, Platform};

use crate::context::Context;
use crate::oauth::listing;
use crate::outcome::{Failure, Outcome, Terms};
use end::{Reason, fail, give_up, misconfigured};
use repeat::{ASK_AGAIN, ask_again, end_if_refused, look_again_soon, rest};

pub use end::expire;

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
    let trade_in = platform.quirks.long_lived.map(|_| 2 * timeouts.other).unwrap_or_default();
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
        Step::Connect(connect) => {
            let ended = choose::resume(context, &connect).await;
            end_if_refused(context, &connect, ended).await
        }
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
    end_if_refused(context, connect, ended).await
}

/// Only the lease that was taken here: what [`ask_again`] or another worker set since then stays.
async fn shorten_lease(context: &Context, connect: &Connect) -> Result<(), DbError> {
    let key = connect.key();
    let mut conn = context.store.conn().await?;
    connects::shorten_lease(&mut conn, key, connect.lease_until, ASK_AGAIN).await
}

/// Loads, guards, and takes the lease on what is to be done next.
async fn take(context: &Context, message: &CallbackReceived) -> Result<Step, Failure> {
    let key = message.key();
    let mut work = context.store.begin().await?;
    let Some(connect) = connects::lock(&mut work, key.workspace_id, key.id).await? else {
        return Ok(Step::Over(Outcome::Stale("no such connect")));
    };
    let now = db::read_now(&mut work).await?;
    let waiting = connect.lease_until.filter(|until| *until > now).map(|until| until - now);
    let step = match (connect.status, waiting) {
        (ConnectStatus::Authorized, None) => {
            let step = Advance {
                lease: Some(exchange_lease(context)),
                ..Advance::to(ConnectStatus::Exchanging, &[ConnectStatus::Authorized])
            };
            match connects::advance(&mut work, key, &step).await? {
                Some(connect) => Step::Exchange(connect),
                None => Step::Over(Outcome::Stale("taken by another worker")),
            }
        }
        (ConnectStatus::Authorized | ConnectStatus::Exchanging, Some(left)) => {
            Step::Over(Outcome::Snooze(left.to_std().unwrap_or_default().min(LOOK_AGAIN)))
        }
        (ConnectStatus::Exchanging, None) if connect.grant_id.is_some() => {
            let lease = identity_lease(context, context.platform(&connect.platform)?);
            let lease_until = connects::set_lease(&mut work, key, lease).await?;
            Step::Identify(Connect { lease_until, ..connect })
        }
        (ConnectStatus::Exchanging, None) => {
            fail(&mut work, &connect, &Reason::new("EXCHANGE_INTERRUPTED")).await?;
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

/// Whoever holds the lease most likely ends it within a second: so often it is looked whether they have.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
