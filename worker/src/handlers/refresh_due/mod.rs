//! Grants whose refresh is due: for each, take the lease, record the intent, call, store.
//!
//! Each grant ends by itself and leaves its own schedule on its row, so one that fails holds up no
//! other, and a message that is lost or delivered twice changes nothing.

mod claim;
mod end;

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::Duration;

use anyhow::anyhow;
use chrono::TimeDelta;
use futures_util::FutureExt as _;
use futures_util::future::{Either, join_all, select};
use latchkey_shared::backoff::Policy;
use latchkey_shared::db::DbError;
use latchkey_shared::db::accounts::Account;
use latchkey_shared::db::app_health::{self, AppKey};
use latchkey_shared::db::grants::{self, Grant, GrantStatus};
use latchkey_shared::events::{AccountRefreshed, EventData};
use latchkey_shared::failpoint;
use latchkey_shared::keyring::SealError;
use latchkey_shared::messages::{GrantRef, RefreshDue};
use latchkey_shared::platforms::{Endpoints, Platform, RefreshModel};
use latchkey_shared::work::Work;
use serde_json::Value;

use super::changes::change_scopes;
use super::new_tokens::{Origin, new_tokens};
use super::note_refused_secret;
use crate::brake::Succeeded;
use crate::context::Context;
use crate::health;
use crate::oauth::refresh::{Presented, refresh};
use crate::oauth::refusal::TokenError;
use crate::oauth::{Answer, CallError};
use crate::outcome::{Failure, Outcome, Terms};
use crate::permits::Permit;
use claim::{Claim, Claimed};
use end::FailedRefresh;

pub use claim::app_called;
pub use end::{expire, expire_ended, note_lapsed};

/// A call to a platform that rotates may take 120 s, after a few seconds of waiting for a permit.
pub const TERMS: Terms = Terms {
    timeout: Duration::from_secs(175),
    retry: Policy::new(Duration::from_secs(1), Duration::from_secs(60)),
    max_attempts: 20,
};

/// For how long the planner dispatches little of an app that has no permits left.
const BUSY: TimeDelta = TimeDelta::seconds(2);

/// Refreshes each grant of the message.
///
/// # Errors
/// [`Failure`] when the database failed for one of them.
pub async fn handle(context: &Context, message: &RefreshDue) -> Result<Outcome, Failure> {
    let platform = context.platform(&message.platform)?;
    let Some(app) = app_of(context, message).await? else {
        return Ok(Outcome::Stale("no such grant"));
    };
    let refreshing = message.grants.iter().map(|grant| async {
        // A panic over one grant must not cut the calls that others have open.
        let refreshed =
            AssertUnwindSafe(refresh_one(context, platform, &app, grant)).catch_unwind().await;
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

/// The app of all grants of a message.
async fn app_of(context: &Context, message: &RefreshDue) -> Result<Option<AppKey>, DbError> {
    let Some(first) = message.grants.first() else { return Ok(None) };
    let mut conn = context.store.conn().await?;
    let grant = grants::find(&mut conn, &first.workspace_id, &first.grant_id).await?;
    Ok(grant.map(|grant| grant.app_key()))
}

async fn refresh_one(
    context: &Context,
    platform: &Platform,
    app: &AppKey,
    grant: &GrantRef,
) -> Result<Outcome, Failure> {
    let Some(permit) = context.permit(app).await else {
        leave_to_planner(context, app, grant).await?;
        return Ok(Outcome::Stale("no permit: it is as due as before"));
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
        Ok(endpoints) => present(context, platform, &endpoints, &claimed).await,
        Err(error) => Err(CallError::from(error).into()),
    };
    failpoint::reach("refresh_answered", || claimed.grant.id.to_string()).await;
    conclude(context, platform, &claimed, permit, called).await
}

/// Writes down what a call brought. The permit is held until that is done: no more answers can be held than
/// calls can be open.
async fn conclude(
    context: &Context,
    platform: &Platform,
    claimed: &Claimed,
    permit: Permit,
    called: Result<Answer, TokenError>,
) -> Result<Outcome, Failure> {
    match called {
        Ok(answer) => {
            permit.succeeded();
            count(claimed, "refreshed");
            let stored = store(context, platform, claimed, answer).await;
            let was_refused = claimed.grant.refused_since.is_some();
            let succeeded = Succeeded { called_at: claimed.called_at, count: 1, was_refused };
            health::note_success(context, &claimed.health, succeeded).await;
            stored
        }
        Err(error) => {
            let class = error.class(platform);
            count(claimed, class.as_str());
            FailedRefresh { platform, claimed, error: &error, class }.conclude(context).await
        }
    }
}

/// Nothing was called: the dispatch does not count.
async fn leave_to_planner(
    context: &Context,
    app: &AppKey,
    grant: &GrantRef,
) -> Result<(), DbError> {
    let mut conn = context.store.conn().await?;
    let row = grant.key();
    grants::put_back(&mut conn, row, None).await?;
    app_health::note_busy(&mut conn, app, BUSY).await
}

/// Calls once, and once more where only the client's newest secret was refused: that spent nothing.
async fn present(
    context: &Context,
    platform: &Platform,
    endpoints: &Endpoints,
    claimed: &Claimed,
) -> Result<Answer, TokenError> {
    let called = present_in_time(context, platform, endpoints, claimed).await;
    let refused = called.as_ref().is_err_and(|error| error.refuses_the_client(platform));
    let in_time = claimed.has_time_for(context.http.timeouts().refresh(platform.refresh));
    match claimed.client.older().filter(|_| refused && in_time) {
        Some(older) => {
            note_refused_secret(&older);
            let presented = Presented { tokens: &claimed.tokens, token: &claimed.token };
            refresh(&context.http, platform, endpoints, &older, presented).await
        }
        None => called,
    }
}

/// Calls once. Within a grace window that ends before the call would be given up, the token is presented once
/// more at half of it, beside the call that is still silent: later it would be too late for that, and until then
/// the platform forgives it. The first good answer counts.
async fn present_in_time(
    context: &Context,
    platform: &Platform,
    endpoints: &Endpoints,
    claimed: &Claimed,
) -> Result<Answer, TokenError> {
    let presented = Presented { tokens: &claimed.tokens, token: &claimed.token };
    let first = pin!(refresh(&context.http, platform, endpoints, &claimed.client, presented));
    let half = match platform.refresh {
        RefreshModel::Rotating { grace: Some(grace) } => grace / 2,
        _ => return first.await,
    };
    let first = match select(first, pin!(tokio::time::sleep(half))).await {
        Either::Left((called, _)) => return called,
        Either::Right(((), first)) => first,
    };
    let second = pin!(refresh(&context.http, platform, endpoints, &claimed.client, presented));
    match select(first, second).await {
        Either::Left((Ok(answer), _)) | Either::Right((Ok(answer), _)) => Ok(answer),
        Either::Left((Err(_), second)) => second.await,
        Either::Right((Err(_), first)) => first.await,
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
    let tokens = encrypt(platform, claimed, &answer)?;
    let stored = context.held.until_stored(grant.id.as_str(), || async {
        let mut work = context.answers.begin().await?;
        work.make_durable().await?;
        let stored = store_answer(&mut work, context, grant, &tokens).await?;
        if let Some(reason) = answer.unfit.filter(|_| stored.is_some()) {
            end_unfit(&mut work, grant, reason).await?;
        }
        work.commit().await?;
        Ok(stored)
    });
    match stored.await? {
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

async fn store_answer(
    work: &mut Work,
    context: &Context,
    grant: &Grant,
    tokens: &grants::NewTokens,
) -> Result<Option<GrantStatus>, DbError> {
    let stored = grants::store_answer(work, grant, tokens).await?;
    if stored == Some(GrantStatus::Expired) {
        end::recover(work, grant).await?;
    }
    if stored.is_some() && tokens.scopes != grant.scopes {
        change_scopes(work, grant.key(), &tokens.scopes).await?;
    }
    if stored.is_some() && context.refreshed_events {
        tell_refreshed(work, grant, tokens).await?;
    }
    Ok(stored)
}

/// The tokens are new and the platform says that the account is out of use: it is not shown as connected.
async fn end_unfit(work: &mut Work, grant: &Grant, reason: &str) -> Result<(), DbError> {
    let renewed = Grant { generation: grant.generation + 1, ..grant.clone() };
    let reason = reason.to_ascii_lowercase();
    expire(work, &renewed, &reason, &Value::Null).await
}

async fn tell_refreshed(
    work: &mut Work,
    grant: &Grant,
    tokens: &grants::NewTokens,
) -> Result<(), DbError> {
    let refreshed = |account: &Account| {
        EventData::AccountRefreshed(AccountRefreshed {
            account: account.about(),
            token_generation: grant.generation + 1,
            token_expires_at: tokens.access_expires_at.map(Into::into),
            next_refresh_at: tokens.refresh_at.map(Into::into),
        })
    };
    end::emit_of_each(work, grant, refreshed).await
}

fn encrypt(
    platform: &Platform,
    claimed: &Claimed,
    answer: &Answer,
) -> Result<grants::NewTokens, SealError> {
    let grant = &claimed.grant;
    let aad = grants::tokens_aad(grant.key(), grant.generation + 1);
    let sealed = answer.tokens.encrypt(&claimed.key, aad)?;
    let origin = Origin {
        called_at: claimed.called_at,
        scopes: &grant.scopes,
        refresh_end: grant.refresh_expires_at,
    };
    Ok(new_tokens(platform, &grant.id, answer, sealed, &origin))
}

fn count(claimed: &Claimed, result: &'static str) {
    let grant = &claimed.grant;
    let app = grant.app_key().label().to_owned();
    metrics::counter!("latchkey_refreshes_total", "platform" => grant.platform.clone(), "app" => app, "result" => result)
        .increment(1);
}
