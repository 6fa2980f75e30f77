//! What a refresh without new tokens leaves behind.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use latchkey_shared::db::accounts::{self, Account};
use latchkey_shared::db::app_health::{AppHealth, Cause};
use latchkey_shared::db::grants::{self, FailedCall, Grant, GrantStatus, Refused};
use latchkey_shared::db::{self, DbError};
use latchkey_shared::events::{
    AccountActionNeeded, AccountRecovered, AccountRefreshOverdue, EventData, NewEvent, RecoveredBy,
};
use latchkey_shared::messages::GrantRef;
use latchkey_shared::platforms::{Platform, RefreshModel};
use latchkey_shared::work::Work;
use serde_json::Value;

use super::super::expiry::expire_account;
use super::super::judge::{Before, JudgedAt, Judgement, judge};
use super::super::pause::{Pause, pause_app};
use super::claim::{Claimed, count_in_doubt, slow_down};
use crate::brake::Failed;
use crate::context::Context;
use crate::health::{self, Changed};
use crate::oauth::refusal::{Doubt, FailureClass, TokenError};
use crate::oauth::schedule::{self, Retry};
use crate::outcome::{Failure, Outcome};

/// A call that brought no tokens.
pub struct FailedRefresh<'a> {
    /// Where.
    pub platform: &'a Platform,
    /// For which grant.
    pub claimed: &'a Claimed,
    /// Why.
    pub error: &'a TokenError,
    /// What that means.
    pub class: FailureClass,
}

/// How a failed call was written down.
#[derive(Default)]
struct Ending {
    stale: bool,
    died: Option<&'static str>,
    retry_at: Option<DateTime<Utc>>,
    changed: Option<Changed>,
    pause: Option<Pause>,
}

impl FailedRefresh<'_> {
    /// Writes down how the call ended, for as long as that takes: the grant ends, or is tried again.
    ///
    /// # Errors
    /// [`Failure`] when the database refuses it for good.
    pub async fn conclude(&self, context: &Context) -> Result<Outcome, Failure> {
        let grant = &self.claimed.grant;
        let ending = context.held.until_stored(grant.id.as_str(), || self.write(context)).await?;
        if ending.stale {
            return Ok(Outcome::Stale("it failed, but a newer token is stored"));
        }
        if let Some(changed) = &ending.changed {
            health::tell(context, changed).await;
        }
        if let Some(pause) = &ending.pause {
            slow_down(context, grant, pause.app());
            pause.tell();
        }
        if matches!(self.class, FailureClass::InDoubt(_)) && grant.in_doubt_since.is_none() {
            count_in_doubt(grant);
        }
        let error = self.error.code();
        match (ending.died, ending.retry_at) {
            (Some(reason), _) => {
                tracing::warn!(grant.id = %grant.id, reason, error, "token expired: the person must connect again");
            }
            (None, at) => {
                tracing::debug!(grant.id = %grant.id, error, retry_at = ?at, "refresh put off")
            }
        }
        Ok(Outcome::Done)
    }

    /// One transaction: the app's health, the grant's own ending, and what the application is told.
    async fn write(&self, context: &Context) -> Result<Ending, DbError> {
        let grant = &self.claimed.grant;
        let mut work = context.answers.begin().await?;
        let current = grants::lock(&mut work, &grant.workspace_id, &grant.id).await?;
        let Some(current) = current.filter(|current| current.generation == grant.generation) else {
            return Ok(Ending { stale: true, ..Ending::default() });
        };
        let now = db::read_clock(&mut work).await?;
        let (health, changed) = self.note_failure(context, &mut work, &current).await?;
        let judgement = self.judge(context, &current, &health, now);
        let mut ending = Ending { changed, ..Ending::default() };
        if judgement.as_ref().is_some_and(|judgement| judgement.dies) {
            let reason = self.reason(&current);
            expire(&mut work, &current, reason, &self.error.to_json()).await?;
            health::note_death(&mut work, &self.claimed.app).await?;
            ending.died = Some(reason);
        } else {
            let retry = self.put_off(context, &mut work, &current, judgement.as_ref()).await?;
            ending.retry_at = Some(retry);
        }
        // What a person's own host says of rates, it says of this person alone.
        if let Some(wait) = self.asked_patience().filter(|_| !self.platform.quirks.own_host) {
            let (code, app) = (self.error.code(), &self.claimed.app);
            ending.pause = pause_app(&mut work, app, &grant.workspace_id, wait, &code).await?;
        }
        work.commit().await?;
        Ok(ending)
    }

    async fn note_failure(
        &self,
        context: &Context,
        work: &mut Work,
        current: &Grant,
    ) -> Result<(AppHealth, Option<Changed>), DbError> {
        let cause = match self.class {
            FailureClass::Dead | FailureClass::NeedsConsent | FailureClass::DeadIfRepeated => {
                Cause::Refusals
            }
            FailureClass::OurFault => Cause::Client,
            // The person's own affair, or a pause that the platform asks for itself.
            FailureClass::Checkpoint => return Ok((self.claimed.health.clone(), None)),
            _ if self.asked_patience().is_some() => {
                return Ok((self.claimed.health.clone(), None));
            }
            _ => Cause::Failures,
        };
        let reason = self.error.code();
        let failed = Failed {
            cause,
            reason: &reason,
            subject: current.id.as_str(),
            refused_since: current.refused_since,
            in_doubt: current.in_doubt_since.is_some(),
        };
        health::note_failure(context, work, &self.claimed.app, &current.workspace_id, &failed).await
    }

    fn judge(
        &self,
        context: &Context,
        current: &Grant,
        health: &AppHealth,
        now: DateTime<Utc>,
    ) -> Option<Judgement> {
        let before = Before { since: current.refused_since, words: current.refused_as.as_deref() };
        let signature = self.error.signature().unwrap_or_default();
        judge(
            self.class,
            &signature,
            before,
            health,
            JudgedAt { now, confirm: context.refusal_confirm },
        )
    }

    fn reason(&self, current: &Grant) -> &'static str {
        match self.class {
            FailureClass::NeedsConsent => "consent_required",
            _ if current.in_doubt_since.is_some() => "refresh_interrupted",
            _ => "refused_by_platform",
        }
    }

    async fn put_off(
        &self,
        context: &Context,
        work: &mut Work,
        current: &Grant,
        judgement: Option<&Judgement>,
    ) -> Result<DateTime<Utc>, DbError> {
        let now = db::read_now(work).await?;
        let again_at = judgement.and_then(|judgement| judgement.again_at);
        let retry = match again_at {
            Some(at) => Retry { at: at.max(now + TimeDelta::seconds(1)), wake_at: Some(at) },
            None => self.retry(context, current, now),
        };
        let refused =
            judgement.map(|judgement| Refused { since: judgement.since, words: &judgement.words });
        let failed = FailedCall {
            error_code: &self.error.code(),
            retry_at: retry.at,
            wake_at: retry.wake_at,
            in_doubt: matches!(self.class, FailureClass::InDoubt(_)),
            refused,
        };
        grants::put_off(work, current, &failed).await?;
        if self.class == FailureClass::Checkpoint {
            ask_to_act(work, current, &self.error.to_json()).await?;
        }
        if current.access_expires_at.is_some_and(|end| end <= now) {
            note_overdue(work, current, failed.error_code).await?;
        }
        Ok(retry.at)
    }

    fn retry(&self, context: &Context, current: &Grant, now: DateTime<Utc>) -> Retry {
        let model = self.platform.refresh;
        let asked = self.asked_patience();
        let second =
            |doubt| schedule::second_try(model, current, now, doubt, context.in_doubt_lead);
        match self.class {
            FailureClass::InDoubt(doubt) => second(doubt),
            FailureClass::Checkpoint => schedule::retry_when_person_acts(current, now),
            // The earlier doubt is not over: that call did nothing.
            FailureClass::Transient if current.in_doubt_since.is_some() && is_strict(model) => {
                let (doubtful, passing) =
                    (second(Doubt::Answered), schedule::retry(current, now, asked));
                Retry {
                    at: doubtful.at.max(passing.at),
                    wake_at: doubtful.wake_at.and(passing.wake_at),
                }
            }
            _ => schedule::retry(current, now, asked),
        }
    }

    /// For how long the platform wants its app to be left alone. One that says 429 and no time gets a little.
    fn asked_patience(&self) -> Option<Duration> {
        const LEAST: Duration = Duration::from_secs(5);
        if self.class != FailureClass::Transient {
            return None;
        }
        let asked = self.error.patience(self.platform);
        asked.or_else(|| (self.error.code() == "http_429").then_some(LEAST))
    }
}

fn is_strict(model: RefreshModel) -> bool {
    model == RefreshModel::Rotating { grace: None }
}

/// The application is told once that its person is to act at the platform.
async fn ask_to_act(work: &mut Work, grant: &Grant, platform_error: &Value) -> Result<(), DbError> {
    if !grants::note_action_needed(work, grant).await? {
        return Ok(());
    }
    let needed = |account: &Account| {
        EventData::AccountActionNeeded(AccountActionNeeded::new(account.about(), platform_error))
    };
    emit_of_each(work, grant, needed).await
}

/// The application is told once that the access token has ended while its refresh is not done.
async fn note_overdue(work: &mut Work, grant: &Grant, error: &str) -> Result<(), DbError> {
    if !grants::note_overdue(work, grant).await? {
        return Ok(());
    }
    let overdue = |account: &Account| {
        let (account, error) = (account.about(), error.to_owned());
        EventData::AccountRefreshOverdue(AccountRefreshOverdue { account, error })
    };
    emit_of_each(work, grant, overdue).await
}

/// Emits an event of each account that rests on the grant.
///
/// # Errors
/// When the database fails.
pub(super) async fn emit_of_each(
    work: &mut Work,
    grant: &Grant,
    event: impl Fn(&Account) -> EventData,
) -> Result<(), DbError> {
    for account in accounts::lock_of_grant(work, &grant.workspace_id, &grant.id).await? {
        work.emit(NewEvent::of_workspace(&grant.workspace_id, event(&account))).await?;
    }
    Ok(())
}

/// Notices by the clock that an access token has ended, whether or not anybody called; for the sweep.
///
/// # Errors
/// [`Failure`].
pub async fn note_lapsed(context: &Context, grant: &GrantRef) -> Result<Outcome, Failure> {
    let mut work = context.store.begin().await?;
    let Some(grant) = grants::lock(&mut work, &grant.workspace_id, &grant.grant_id).await? else {
        return Ok(Outcome::Stale("no such grant"));
    };
    let now = db::read_clock(&mut work).await?;
    let lapsed = grant.access_expires_at.is_some_and(|end| end <= now);
    if grant.status != GrantStatus::Active || !grant.renewable || !lapsed {
        return Ok(Outcome::Stale("refreshed meanwhile, or out of use"));
    }
    let error = grant.last_error_code.as_deref().unwrap_or("not_refreshed_in_time");
    note_overdue(&mut work, &grant, error).await?;
    work.commit().await?;
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
    let now = db::read_now(&mut work).await?;
    let end = if grant.renewable { grant.refresh_expires_at } else { grant.access_expires_at };
    let calling = grant.lease_until.is_some_and(|until| until > now);
    if grant.status != GrantStatus::Active || calling || end.is_none_or(|end| end > now) {
        return Ok(Outcome::Stale("not ended"));
    }
    let itself = grant.refresh_expires_at == grant.access_expires_at;
    let reason =
        if grant.renewable && !itself { "refresh_token_ended" } else { "access_token_ended" };
    expire(&mut work, &grant, reason, &Value::Null).await?;
    work.commit().await?;
    Ok(Outcome::Done)
}

/// Ends a grant whose tokens are still those of this generation, and its accounts.
///
/// # Errors
/// When the database fails.
pub async fn expire(
    work: &mut Work,
    grant: &Grant,
    reason: &str,
    platform_error: &Value,
) -> Result<(), DbError> {
    if !grants::expire(work, grant, reason).await? {
        return Ok(());
    }
    for account in accounts::lock_of_grant(work, &grant.workspace_id, &grant.id).await? {
        expire_account(work, &account, reason, platform_error).await?;
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
