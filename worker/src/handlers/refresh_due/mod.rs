//! Grants whose refresh is due: for each, take the lease, record the intent, call, store.
//!
//! Each grant ends by itself and leaves its own schedule on its row, so one that fails holds up no
//! other, and a message that is lost or delivered twice changes nothing.

mod claim;
mod end;

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use anyhow::anyhow;
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use latchkey_shared::backoff::Policy;
use latchkey_shared::db::grants::{self, Grant, GrantStatus};
use latchkey_shared::db::{DbError, accounts};
use latchkey_shared::events::{AccountRefreshed, EventData, NewEvent};
use latchkey_shared::failpoint;
use latchkey_shared::keyring::SealError;
use latchkey_shared::messages::{GrantRef, RefreshDue};
use latchkey_shared::platforms::{Endpoints, Platform};
use latchkey_shared::work::Work;

use super::changes::change_scopes;
use super::new_tokens::{Origin, new_tokens};
use super::{note_refused_secret, until_stored};
use crate::context::Context;
use crate::oauth::refresh::refresh;
use crate::oauth::refusal::{FailureClass, TokenError};
use crate::oauth::{Answer, CallError};
use crate::outcome::{Failure, Outcome, Terms};
use claim::{Claim, Claimed};

pub use end::expire_ended;

/// A call to a platform that rotates may take 120 s, after 40 s of waiting for a turn.
pub const TERMS: Terms = Terms {
    timeout: Duration::from_secs(175),
    retry: Policy::new(Duration::from_secs(1), Duration::from_secs(60)),
    max_attempts: 20,
};

/// Refreshes each grant of the message.
///
/// # Errors
/// [`Failure`] when the database failed for one of them.
pub async fn handle(context: &Context, message: &RefreshDue) -> Result<Outcome, Failure> {
    let platform = context.platform(&message.platform)?;
    let refreshing = message.grants.iter().map(|grant| async move {
        // A panic over one grant must not cut the calls that others have open.
        let refreshed =
            AssertUnwindSafe(refresh_one(context, platform, grant)).catch_unwind().await;
        refreshed.unwrap_or_else(|_| Err(Failure::Later(anyhow!("a refresh panicked"))))
    });
    let results = join_all(refreshing).await;
    let mut outcome = Outcome::Stale("nothing was due");
    for result in results {
        match result? {
            Outcome::Stale(_) => {}
            other => outcome = other,
        }
    }
    Ok(outcome)
}

async fn refresh_one(
    context: &Context,
    platform: &Platform,
    grant: &GrantRef,
) -> Result<Outcome, Failure> {
    let Some(_turn) = context.turn_to_call().await else {
        return Ok(Outcome::Stale("no turn to call: it comes due again"));
    };
    // Before the lease, which is for the call alone.
    let endpoints = context.endpoints(platform).await;
    let claimed = match claim::claim(context, platform, grant).await? {
        Claim::Taken(claimed) => claimed,
        Claim::Stale(why) => return Ok(Outcome::Stale(why)),
    };
    if !claimed.has_time_for(context.http.timeouts().refresh(platform.refresh))
        || context.stop.is_cancelled()
    {
        claimed.give_back(context).await?;
        return Ok(Outcome::Stale("too late to call within the lease"));
    }
    failpoint::reach("refresh_claimed", || claimed.grant.id.to_string()).await;
    let called = match endpoints {
        Ok(endpoints) => present(context, (platform, &endpoints), &claimed).await,
        Err(error) => Err(CallError::from(error).into()),
    };
    failpoint::reach("refresh_answered", || claimed.grant.id.to_string()).await;
    let class = called.as_ref().err().map(|error| error.class(platform));
    count(platform, class.as_ref());
    match (called, class) {
        (Ok(answer), _) => store(context, platform, &claimed, answer).await,
        (Err(error), Some(class @ (FailureClass::Dead | FailureClass::NeedsConsent))) => {
            end::die(context, &claimed.grant, (&error, class)).await
        }
        (Err(error), Some(class)) => {
            end::put_off(context, platform, &claimed, (&error, class)).await
        }
        (Err(error), None) => Err(Failure::Later(error.into())),
    }
}

/// Calls once, and once more where only the client's newest secret was refused: that spent nothing.
async fn present(
    context: &Context,
    at: (&Platform, &Endpoints),
    claimed: &Claimed,
) -> Result<Answer, TokenError> {
    let presented = (&claimed.tokens, &claimed.token);
    let called = refresh(&context.http, at, &claimed.client, presented).await;
    let refused = called.as_ref().is_err_and(|error| error.refuses_the_client(at.0));
    let in_time = claimed.has_time_for(context.http.timeouts().refresh(at.0.refresh));
    match claimed.client.older().filter(|_| refused && in_time) {
        Some(older) => {
            note_refused_secret(&older);
            refresh(&context.http, at, &older, presented).await
        }
        None => called,
    }
}

/// Stores the answer as the next generation. Nothing else happens to it before.
async fn store(
    context: &Context,
    platform: &Platform,
    claimed: &Claimed,
    answer: Answer,
) -> Result<Outcome, Failure> {
    let grant = &claimed.grant;
    let tokens = seal(platform, claimed, &answer)?;
    let stored = until_stored(|| async {
        let mut work = context.store.begin().await?;
        work.make_durable().await?;
        let stored = grants::store_answer(&mut work, context.clock(), grant, &tokens).await?;
        if stored == Some(GrantStatus::Expired) {
            end::recover(&mut work, grant).await?;
        }
        if stored.is_some() && tokens.scopes != grant.scopes {
            let of = (&grant.workspace_id, &grant.id);
            change_scopes(&mut work, of, &tokens.scopes).await?;
        }
        if stored.is_some() && context.refreshed_events {
            tell_refreshed(&mut work, grant, &tokens).await?;
        }
        work.commit().await?;
        Ok(stored)
    })
    .await?;
    match stored {
        Some(_) => {
            tracing::debug!(grant.id = %grant.id, grant.generation = grant.generation + 1, "refreshed");
            Ok(Outcome::Done)
        }
        None => {
            metrics::counter!("latchkey_refresh_orphans_total", "platform" => grant.platform.clone()).increment(1);
            tracing::warn!(grant.id = %grant.id, grant.generation, "an answer came after its generation had moved on");
            Ok(Outcome::Stale("the generation has moved on"))
        }
    }
}

async fn tell_refreshed(
    work: &mut Work,
    grant: &Grant,
    tokens: &grants::NewTokens,
) -> Result<(), DbError> {
    for account in accounts::lock_of_grant(work, &grant.workspace_id, &grant.id).await? {
        let refreshed = EventData::AccountRefreshed(AccountRefreshed {
            account: account.about(),
            token_generation: grant.generation + 1,
            token_expires_at: tokens.access_expires_at.map(Into::into),
            next_refresh_at: tokens.refresh_at.map(Into::into),
        });
        work.emit(NewEvent::of_workspace(&grant.workspace_id, refreshed)).await?;
    }
    Ok(())
}

fn seal(
    platform: &Platform,
    claimed: &Claimed,
    answer: &Answer,
) -> Result<grants::NewTokens, SealError> {
    let grant = &claimed.grant;
    let place = grants::tokens_place(&grant.workspace_id, &grant.id, grant.generation + 1);
    let sealed = answer.tokens.seal(&claimed.key, place)?;
    let origin = Origin {
        called_at: claimed.called_at,
        scopes: &grant.scopes,
        refresh_end: grant.refresh_expires_at,
    };
    Ok(new_tokens(platform, &grant.id, (answer, sealed), &origin))
}

fn count(platform: &Platform, class: Option<&FailureClass>) {
    let result = match class {
        None => "refreshed",
        Some(FailureClass::Transient) => "transient",
        Some(FailureClass::InDoubt(_)) => "in_doubt",
        Some(FailureClass::Dead) => "dead",
        Some(FailureClass::NeedsConsent) => "needs_consent",
        Some(FailureClass::OurFault) => "our_fault",
        Some(FailureClass::DeadIfRepeated) => "dead_if_repeated",
        Some(FailureClass::Checkpoint) => "checkpoint",
        Some(FailureClass::Unclear) => "unclear",
    };
    metrics::counter!("latchkey_refreshes_total", "platform" => platform.id.clone(), "result" => result).increment(1);
}
