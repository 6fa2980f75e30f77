//! Does an account still live? The platform is asked, and an account is ended by its clear no alone. Here are those
//! that live by a token of their own; the others are looked at by [`look`].

use latchkey_shared::ids::GrantKey;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use latchkey_shared::backoff::Policy;
use latchkey_shared::credentials::{self, Credentials};
use latchkey_shared::db::account_checks::{self, NextCheck, token_aad};
use latchkey_shared::db::accounts::{self, Account, AccountStatus};
use latchkey_shared::db::app_health::{self, AppHealth, AppKey, Cause};
use latchkey_shared::db::grants::{self, Reauth, Refused};
use latchkey_shared::db::{self, DbError};
use latchkey_shared::events::{AccountActionNeeded, EventData, NewEvent};
use latchkey_shared::messages::CheckDue;
use latchkey_shared::platforms::Platform;
use latchkey_shared::platforms::quirks::{Accounts, Inspection};
use latchkey_shared::work::Work;
use secrecy::SecretString;

use super::changes::change_scopes;
use super::expiry::expire_account;
use super::judge::{Before, JudgedAt, Judgement, judge};
use super::look;
use super::page_name;
use super::pause::pause_app;
use crate::brake::{Failed, Succeeded};
use crate::context::Context;
use crate::health;
use crate::oauth::inspect::{Inspected, Inspector, inspect};
use crate::oauth::refusal::{FailureClass, Refusal};
use crate::oauth::{AskError, schedule};
use crate::outcome::{Failure, Outcome, Terms};

/// The account's row says when it is checked again; the message is a nudge.
pub const TERMS: Terms = Terms {
    timeout: Duration::from_secs(120),
    retry: Policy::new(Duration::from_secs(5), Duration::from_secs(3600)),
    max_attempts: 20,
};

/// Between checks that brought no answer.
pub(super) const RETRY: Policy =
    Policy::new(Duration::from_secs(60), Duration::from_secs(6 * 3600));

/// When an account is looked at again whose app is braked.
const BRAKED: TimeDelta = TimeDelta::seconds(30);

struct Check {
    account: Account,
    /// How the calls of its app went before.
    health: AppHealth,
    asked_at: DateTime<Utc>,
    client: Credentials,
    token: SecretString,
}

/// Checks one account.
///
/// # Errors
/// [`Failure`].
pub async fn handle(context: &Context, message: &CheckDue) -> Result<Outcome, Failure> {
    let Some(account) = load(context, message).await? else {
        return Ok(Outcome::Stale("not connected"));
    };
    if account.sealed_token.is_none() {
        return look::run(context, account).await;
    }
    let app = AppKey::new(&account.platform, account.app_id.as_ref());
    let Some(_permit) = context.permit(&app).await else {
        return Ok(Outcome::Stale("no permit to call: it comes due again"));
    };
    let platform = context.platform(&account.platform)?;
    let endpoints = context.endpoints(platform).await?;
    let (Some(inspection), Some(url)) = (inspection(platform), &endpoints.inspect_url) else {
        return Ok(Outcome::Stale("its platform cannot be asked"));
    };
    let Some(health) = may_ask(context, &app, &account).await? else {
        return Ok(Outcome::Stale("its app fails: the next probe finds out"));
    };
    let check = prepare(context, platform, account, health).await?;
    let asked = ask(context, platform, &Inspector { url, inspection }, &check).await;
    let lives = matches!(asked, Ok(Inspected::Valid { .. }));
    let outcome = settle(context, platform, inspection, &check, asked).await?;
    if lives {
        page_name::follow(context, platform, &endpoints, &check.account, &check.token).await;
    }
    Ok(outcome)
}

/// How the app's calls went, unless its brake is on and this is not the next probe: then the account waits.
pub(super) async fn may_ask(
    context: &Context,
    app: &AppKey,
    account: &Account,
) -> Result<Option<AppHealth>, Failure> {
    let mut work = context.store.begin().await?;
    let health = app_health::find(&mut work, app).await?;
    let health = health.unwrap_or_else(|| AppHealth::good(app));
    let may = health::may_call(&mut work, &health).await?;
    if !may {
        let now = db::read_now(&mut work).await?;
        let refused = refused_before(account);
        let at = Some(now + BRAKED);
        let next = NextCheck { at, failures: account.check_failures, refused };
        account_checks::reschedule(&mut work, account, &next).await?;
    }
    work.commit().await?;
    Ok(may.then_some(health))
}

pub(super) fn refused_before(account: &Account) -> Option<Refused<'_>> {
    let words = account.check_refused_as.as_deref()?;
    account.check_refused_since.map(|since| Refused { since, words })
}

async fn load(context: &Context, message: &CheckDue) -> Result<Option<Account>, Failure> {
    let mut conn = context.store.conn().await?;
    let account = accounts::find(&mut conn, &message.workspace_id, &message.account_id).await?;
    Ok(account.filter(|account| account.status == AccountStatus::Connected))
}

fn inspection(platform: &Platform) -> Option<&'static Inspection> {
    match &platform.quirks.accounts {
        Accounts::Listed(listing) => listing.inspection.as_ref(),
        Accounts::Holder => None,
    }
}

async fn prepare(
    context: &Context,
    platform: &Platform,
    account: Account,
    health: AppHealth,
) -> Result<Check, Failure> {
    let workspace = &account.workspace_id;
    let mut conn = context.store.conn().await?;
    let sealed = account.sealed_token.as_deref().unwrap_or_default();
    let token = conn.decrypt_text(token_aad(account.key()), sealed).await?;
    let client =
        credentials::resolve(&mut conn, platform, workspace, account.app_id.as_ref()).await?;
    let asked_at = db::read_now(&mut conn).await?;
    Ok(Check { account, health, asked_at, client, token })
}

/// Asks once, and once more with the client's older secret where the newest seems to be refused.
async fn ask(
    context: &Context,
    platform: &Platform,
    to: &Inspector<'_>,
    check: &Check,
) -> Result<Inspected, AskError> {
    let asked = inspect(&context.http, platform, to, &check.client, &check.token).await;
    match check.client.older().filter(|_| matches!(asked, Err(AskError::Said(_)))) {
        Some(older) => inspect(&context.http, platform, to, &older, &check.token).await,
        None => asked,
    }
}

async fn settle(
    context: &Context,
    platform: &Platform,
    inspection: &Inspection,
    check: &Check,
    asked: Result<Inspected, AskError>,
) -> Result<Outcome, Failure> {
    let failed = match asked {
        Ok(Inspected::Valid { reauth_at, scopes }) => {
            let confirmed = confirm(context, inspection, &check.account, reauth_at, scopes).await;
            let was_refused = check.account.check_refused_since.is_some();
            let succeeded = Succeeded { called_at: check.asked_at, count: 1, was_refused };
            health::note_success(context, &check.health, succeeded).await;
            return confirmed;
        }
        Ok(Inspected::Invalid(refusal)) => FailedCheck::of_account(platform, refusal),
        Err(error) => FailedCheck::of_call(platform, &error),
    };
    failed.conclude(context, check).await
}

/// A check that did not say that the token works.
struct FailedCheck {
    refusal: Refusal,
    class: FailureClass,
    cause: Option<Cause>,
    asked: Option<Duration>,
}

impl FailedCheck {
    /// The platform says that the token does not work, and why.
    fn of_account(platform: &Platform, refusal: Refusal) -> Self {
        let class = refusal.class(platform);
        let cause = match class {
            FailureClass::Transient | FailureClass::InDoubt(_) | FailureClass::Unclear => {
                Some(Cause::Failures)
            }
            FailureClass::OurFault => Some(Cause::Client),
            FailureClass::Checkpoint => None,
            _ => Some(Cause::Refusals),
        };
        Self { asked: refusal.patience(platform), refusal, class, cause }
    }

    /// The platform did not answer the question. It was asked with our client's own token: what it refuses is
    /// ours, unless it says that there is no such account.
    fn of_call(platform: &Platform, error: &AskError) -> Self {
        let asked = error.patience(platform);
        let (refusal, class, cause) = match error {
            AskError::Said(refusal) => match refusal.class(platform) {
                FailureClass::DeadIfRepeated => {
                    (refusal.clone(), FailureClass::DeadIfRepeated, Some(Cause::Refusals))
                }
                _ => (refusal.clone(), FailureClass::OurFault, Some(Cause::Client)),
            },
            AskError::Refused(status) => {
                let refusal = Refusal::new(&format!("http_{status}"), None);
                (refusal, FailureClass::OurFault, Some(Cause::Client))
            }
            AskError::Call(_) | AskError::Lacks(_) | AskError::Jwt => {
                let refusal = Refusal::new("check_failed", Some(&error.to_string()));
                let cause = asked.is_none().then_some(Cause::Failures);
                (refusal, FailureClass::Transient, cause)
            }
        };
        Self { refusal, class, cause, asked }
    }

    /// Puts the next check off, or ends the account.
    async fn conclude(&self, context: &Context, check: &Check) -> Result<Outcome, Failure> {
        let seen = &check.account;
        let mut work = context.store.begin().await?;
        let account = accounts::lock(&mut work, &seen.workspace_id, &seen.id).await?;
        let Some(account) = account.filter(|now| now.sealed_token == seen.sealed_token) else {
            return Ok(Outcome::Stale("connected anew meanwhile"));
        };
        let (health, changed) = self.note_failure(context, &mut work, check).await?;
        let now = db::read_clock(&mut work).await?;
        let before = Before {
            since: account.check_refused_since,
            words: account.check_refused_as.as_deref(),
        };
        let signature = self.refusal.signature();
        let judgement = judge(
            self.class,
            &signature,
            before,
            &health,
            JudgedAt { now, confirm: context.refusal_confirm },
        );
        let dies = judgement.as_ref().is_some_and(|judgement| judgement.dies);
        if dies {
            self.end(&mut work, &account).await?;
            health::note_death(&mut work, &check.health.key()).await?;
        } else {
            self.put_off(&mut work, &account, judgement.as_ref(), now).await?;
        }
        let key = check.health.key();
        let pause = match self.asked {
            Some(wait) => {
                pause_app(&mut work, &key, &account.workspace_id, wait, &self.refusal.code).await?
            }
            None => None,
        };
        work.commit().await?;
        if let Some(changed) = &changed {
            health::tell(context, changed).await;
        }
        if let Some(pause) = &pause {
            pause.tell();
        }
        let error = &self.refusal.code;
        if dies {
            tracing::warn!(account.id = %account.id, error, "token expired: the person must connect again");
        } else {
            tracing::debug!(account.id = %account.id, error, "a check is put off");
        }
        Ok(Outcome::Done)
    }

    async fn note_failure(
        &self,
        context: &Context,
        work: &mut Work,
        check: &Check,
    ) -> Result<(AppHealth, Option<health::Changed>), DbError> {
        let Some(cause) = self.cause else { return Ok((check.health.clone(), None)) };
        let failed = Failed {
            cause,
            reason: &self.refusal.code,
            subject: check.account.id.as_str(),
            refused_since: check.account.check_refused_since,
            in_doubt: false,
        };
        health::note_failure(
            context,
            work,
            &check.health.key(),
            &check.account.workspace_id,
            &failed,
        )
        .await
    }

    async fn put_off(
        &self,
        work: &mut Work,
        account: &Account,
        judgement: Option<&Judgement>,
        now: DateTime<Utc>,
    ) -> Result<(), DbError> {
        let failures = account.check_failures.saturating_add(1);
        let delay = RETRY.delay(u32::try_from(failures).unwrap_or(u32::MAX));
        let wait = self.asked.unwrap_or_default().max(delay);
        let later = now + TimeDelta::from_std(wait).unwrap_or(TimeDelta::hours(6));
        let again_at = judgement.and_then(|judgement| judgement.again_at);
        let refused = judgement
            .map(|judgement| Refused { since: judgement.since, words: &judgement.words })
            .or(refused_before(account));
        let at = Some(again_at.unwrap_or(later));
        let next = NextCheck { at, failures, refused };
        account_checks::reschedule(work, account, &next).await?;
        if self.class == FailureClass::Checkpoint
            && account_checks::note_action_needed(work, account, Some(now)).await?
        {
            let needed = AccountActionNeeded::new(account.about(), &self.refusal.to_json());
            let needed = EventData::AccountActionNeeded(needed);
            work.emit(NewEvent::of_workspace(&account.workspace_id, needed)).await?;
        }
        Ok(())
    }

    /// The token does not work any more: this account ends, and no other.
    async fn end(&self, work: &mut Work, account: &Account) -> Result<(), DbError> {
        let reason = match self.class {
            FailureClass::NeedsConsent => "consent_required",
            _ => "refused_by_platform",
        };
        let said = self.refusal.to_json();
        expire_account(work, account, reason, &said).await
    }
}

/// It works: so it is until the next day. What the person granted is known from here alone, where the
/// exchange does not say it.
async fn confirm(
    context: &Context,
    inspection: &Inspection,
    account: &Account,
    reauth_at: Option<DateTime<Utc>>,
    scopes: Option<Vec<String>>,
) -> Result<Outcome, Failure> {
    let mut work = context.store.begin().await?;
    let now = db::read_now(&mut work).await?;
    let next = schedule::check_at(&account.id, now, inspection.every);
    let next = NextCheck { at: Some(next), failures: 0, refused: None };
    account_checks::note_action_needed(&mut work, account, None).await?;
    if !account_checks::reschedule(&mut work, account, &next).await? {
        return Ok(Outcome::Stale("connected anew, or checked meanwhile"));
    }
    if let Some(grant) = &account.grant_id {
        let grant = GrantKey { workspace_id: &account.workspace_id, id: grant };
        let known = grants::find(&mut work, grant.workspace_id, grant.id).await?;
        if known.is_some_and(|known| known.reauth_at != reauth_at) {
            let reauth = reauth_at.map(|at| Reauth::new(at, now));
            grants::set_reauth(&mut work, grant, reauth).await?;
        }
        if let Some(scopes) = scopes.filter(|scopes| *scopes != account.scopes) {
            change_scopes(&mut work, grant, &scopes).await?;
        }
    }
    work.commit().await?;
    Ok(Outcome::Done)
}
