//! An account that lives by its consent is looked at once a day: the platform says whether it still knows us there,
//! and how the account is called now. Only a clear no ends it, by the rules of a refresh.

use latchkey_shared::ids::GrantKey;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use latchkey_shared::candidates::Candidate;
use latchkey_shared::db::account_checks::{self, NextCheck};
use latchkey_shared::db::accounts::{self, Account, Identity};
use latchkey_shared::db::app_health::{AppHealth, Cause};
use latchkey_shared::db::grants::{self, Grant, GrantStatus, Refused};
use latchkey_shared::db::{self, DbError};
use latchkey_shared::platforms::Platform;
use latchkey_shared::platforms::quirks::Accounts;
use latchkey_shared::tokens::TokenSet;
use latchkey_shared::work::Work;

use super::changes::tell_changes;
use super::check_due::{RETRY, may_ask, refused_before};
use super::judge::{Before, JudgedAt, Judgement, judge};
use super::{open_grant, refresh_due};
use crate::brake::Failed;
use crate::context::Context;
use crate::health;
use crate::oauth::identity::identify;
use crate::oauth::listing::list;
use crate::oauth::refusal::{FailureClass, Refusal};
use crate::oauth::{AskError, app_password, schedule};
use crate::outcome::{Failure, Outcome};

/// Spread by up to a tenth.
pub const LOOKED_AT_EVERY: Duration = Duration::from_secs(24 * 3600);
/// When a look is repeated that came at a bad moment: a refresh is due, or under way.
const ANOTHER_MOMENT: TimeDelta = TimeDelta::minutes(10);

/// An account about to be looked at.
struct Look {
    account: Account,
    grant: Grant,
    tokens: TokenSet,
    /// How the calls of its app went before.
    health: AppHealth,
}

/// Looks at one account.
///
/// # Errors
/// [`Failure`].
pub async fn run(context: &Context, account: Account) -> Result<Outcome, Failure> {
    let platform = context.platform(&account.platform)?;
    let Some((grant, tokens)) = open(context, &account).await? else {
        return Ok(Outcome::Stale("there is nothing to look with"));
    };
    let now = db::read_now(&mut *context.store.conn().await?).await?;
    if grant.is_unanswered() || grant.access_expires_at.is_some_and(|end| end <= now) {
        return another_moment(context, &account, now).await;
    }
    let Some(_permit) = context.permit(&grant.app_key()).await else {
        return Ok(Outcome::Stale("no permit to call: it comes due again"));
    };
    let app = refresh_due::app_called(platform, &grant, &tokens);
    let Some(health) = may_ask(context, &app, &account).await? else {
        return Ok(Outcome::Stale("its app fails: the next probe finds out"));
    };
    let look = Look { account, grant, tokens, health };
    let seen = look.ask(context, platform).await;
    match seen {
        Ok(Some(seen)) => look.confirm(context, platform, &seen).await,
        // A role, a page or a channel is gone, and the consent is not.
        Ok(None) => look.put_off(context, platform, None).await,
        Err(error) => look.settle(context, platform, error).await,
    }
}

/// The tokens that an account lives by, if they are in use.
async fn open(context: &Context, account: &Account) -> Result<Option<(Grant, TokenSet)>, Failure> {
    let Some(grant) = &account.grant_id else { return Ok(None) };
    let opened =
        open_grant(context, GrantKey { workspace_id: &account.workspace_id, id: grant }).await?;
    Ok(opened.filter(|(grant, _)| grant.status == GrantStatus::Active))
}

async fn another_moment(
    context: &Context,
    account: &Account,
    now: DateTime<Utc>,
) -> Result<Outcome, Failure> {
    let refused = refused_before(account);
    let at = Some(now + ANOTHER_MOMENT);
    let next = NextCheck { at, failures: account.check_failures, refused };
    let mut conn = context.store.conn().await?;
    account_checks::reschedule(&mut conn, account, &next).await?;
    Ok(Outcome::Stale("a refresh comes first"))
}

impl Look {
    /// How the platform names the account. `None`: it lists it no longer.
    async fn ask(
        &self,
        context: &Context,
        platform: &Platform,
    ) -> Result<Option<Candidate>, AskError> {
        let endpoints =
            context.endpoints(platform).await.map_err(|error| AskError::Call(error.into()))?;
        let id = &self.account.platform_user_id;
        if let (Accounts::Listed(listing), Some(url)) =
            (&platform.quirks.accounts, &endpoints.accounts_url)
        {
            let all = list(&context.http, platform, url, listing, &self.tokens).await?;
            return Ok(all.into_iter().find(|one| one.id == *id));
        }
        let mut seen = identify(
            &context.http,
            platform,
            endpoints.as_ref(),
            &self.tokens,
            self.grant.scopes.as_slice(),
        )
        .await?;
        if let Some(directory) = context.directory.as_ref().filter(|_| platform.quirks.own_host) {
            seen.username = app_password::handle(directory, &seen.id).await?;
        }
        Ok(Some(seen.into()).filter(|one: &Candidate| one.id == *id))
    }

    /// It lives: what is other than before is told.
    async fn confirm(
        &self,
        context: &Context,
        platform: &Platform,
        seen: &Candidate,
    ) -> Result<Outcome, Failure> {
        let mut work = context.store.begin().await?;
        let account =
            accounts::lock(&mut work, &self.account.workspace_id, &self.account.id).await?;
        let Some(account) = account.filter(|now| now.grant_id == self.account.grant_id) else {
            return Ok(Outcome::Stale("connected anew meanwhile"));
        };
        let next =
            NextCheck { at: self.next(&mut work, platform).await?, failures: 0, refused: None };
        if !account_checks::reschedule(&mut work, &account, &next).await? {
            return Ok(Outcome::Stale("not connected any more"));
        }
        let identity = Identity {
            platform_user_id: &account.platform_user_id,
            username: seen.username.as_deref(),
            display_name: seen.display_name.as_deref(),
            avatar_url: seen.avatar_url.as_deref(),
        };
        if identity != Identity::of(&account) {
            let now = accounts::rename(&mut work, &account, &identity).await?;
            tell_changes(&mut work, &account, &now).await?;
        }
        work.commit().await?;
        Ok(Outcome::Done)
    }

    /// When it is looked at again, if every day.
    async fn next(
        &self,
        work: &mut Work,
        platform: &Platform,
    ) -> Result<Option<DateTime<Utc>>, DbError> {
        let now = db::read_now(work).await?;
        let next = schedule::check_at(&self.account.id, now, LOOKED_AT_EVERY);
        Ok(platform.daily_look.then_some(next))
    }

    /// What comes of a look that brought no account.
    async fn settle(
        &self,
        context: &Context,
        platform: &Platform,
        error: AskError,
    ) -> Result<Outcome, Failure> {
        let wait = error.patience(platform);
        let refusal = match error {
            AskError::Said(refusal) => refusal,
            AskError::Refused(401) => {
                Refusal { status: Some(401), ..Refusal::new("http_401", None) }
            }
            error => {
                tracing::debug!(account.id = %self.account.id, "a look brought nothing: {error}");
                return self.put_off(context, platform, wait).await;
            }
        };
        let class = refusal.class_of_use(platform);
        // Less than we ask for may be enough to publish: only what clearly speaks of the consent counts.
        if !matches!(class, FailureClass::Dead | FailureClass::DeadIfRepeated) {
            tracing::debug!(account.id = %self.account.id, error = refusal.code, "a look was refused");
            return self.put_off(context, platform, wait).await;
        }
        self.judge(context, &refusal, class).await
    }

    /// It is looked at again on the next day, or sooner if there was no answer at all.
    async fn put_off(
        &self,
        context: &Context,
        platform: &Platform,
        wait: Option<Duration>,
    ) -> Result<Outcome, Failure> {
        let mut work = context.store.begin().await?;
        let next = self.next(&mut work, platform).await?;
        let asked = wait.and_then(|wait| TimeDelta::from_std(wait).ok()).unwrap_or_default();
        let earliest = db::read_now(&mut work).await? + asked;
        let at = next.map(|next| next.max(earliest));
        let refused = refused_before(&self.account);
        let next = NextCheck { at, failures: self.account.check_failures, refused };
        account_checks::reschedule(&mut work, &self.account, &next).await?;
        work.commit().await?;
        Ok(Outcome::Done)
    }

    /// The platform says no. Of a token that was replaced meanwhile that says nothing.
    async fn judge(
        &self,
        context: &Context,
        refusal: &Refusal,
        class: FailureClass,
    ) -> Result<Outcome, Failure> {
        let mut work = context.store.begin().await?;
        let grant = grants::lock(&mut work, &self.grant.workspace_id, &self.grant.id).await?;
        let same = |now: &Grant| now.generation == self.grant.generation && !now.is_unanswered();
        let Some(grant) = grant.filter(same) else {
            work.commit().await?;
            let now = db::read_now(&mut *context.store.conn().await?).await?;
            return another_moment(context, &self.account, now).await;
        };
        let failed = Failed {
            cause: Cause::Refusals,
            reason: &refusal.code,
            subject: self.account.id.as_str(),
            refused_since: self.account.check_refused_since,
            in_doubt: false,
        };
        let key = self.health.key();
        let (health, changed) =
            health::note_failure(context, &mut work, &key, &self.account.workspace_id, &failed)
                .await?;
        let now = db::read_clock(&mut work).await?;
        let before = Before {
            since: self.account.check_refused_since,
            words: self.account.check_refused_as.as_deref(),
        };
        let signature = refusal.signature();
        let judged = judge(
            class,
            &signature,
            before,
            &health,
            JudgedAt { now, confirm: context.refusal_confirm },
        );
        let dies = judged.as_ref().is_some_and(|judged| judged.dies);
        if dies {
            let said = refusal.to_json();
            refresh_due::expire(&mut work, &grant, "refused_by_platform", &said).await?;
            health::note_death(&mut work, &key).await?;
        } else {
            self.ask_again(&mut work, judged.as_ref(), now).await?;
        }
        work.commit().await?;
        if let Some(changed) = &changed {
            health::tell(context, changed).await;
        }
        if dies {
            tracing::warn!(account.id = %self.account.id, error = refusal.code, "token expired: the person must connect again");
        }
        Ok(Outcome::Done)
    }

    /// A refusal must be repeated to count.
    async fn ask_again(
        &self,
        work: &mut Work,
        judged: Option<&Judgement>,
        now: DateTime<Utc>,
    ) -> Result<(), DbError> {
        let failures = self.account.check_failures.saturating_add(1);
        let delay = RETRY.delay(u32::try_from(failures).unwrap_or(u32::MAX));
        let later = now + TimeDelta::from_std(delay).unwrap_or(TimeDelta::hours(6));
        let at = Some(judged.and_then(|judged| judged.again_at).unwrap_or(later));
        let refused = judged.map(|judged| Refused { since: judged.since, words: &judged.words });
        let next = NextCheck { at, failures, refused };
        account_checks::reschedule(work, &self.account, &next).await.map(drop)
    }
}
