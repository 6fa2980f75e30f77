//! An account that lives by a token of its own: does that still work? The platform is asked, and an
//! account is ended by its clear no alone.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use latchkey_shared::backoff::Policy;
use latchkey_shared::credentials::{self, Credentials};
use latchkey_shared::db;
use latchkey_shared::db::account_checks::{self, token_place};
use latchkey_shared::db::accounts::{self, Account, AccountStatus};
use latchkey_shared::db::grants::{self, Reauth};
use latchkey_shared::keyring::{Owner, SealError};
use latchkey_shared::messages::CheckDue;
use latchkey_shared::platforms::Platform;
use latchkey_shared::platforms::quirks::{Accounts, Inspection};
use secrecy::SecretString;
use url::Url;

use super::changes::change_scopes;
use super::expiry::expire_account;
use super::{OUR_FAULT_PAUSE, pause_app};
use crate::context::Context;
use crate::oauth::inspect::{Inspected, inspect};
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
const RETRY: Policy = Policy::new(Duration::from_secs(60), Duration::from_secs(6 * 3600));

struct Check {
    account: Account,
    client: Credentials,
    token: SecretString,
}

/// Checks one account.
///
/// # Errors
/// [`Failure`].
pub async fn handle(context: &Context, message: &CheckDue) -> Result<Outcome, Failure> {
    let Some(_turn) = context.turn_to_call().await else {
        return Ok(Outcome::Stale("no turn to call: it comes due again"));
    };
    let Some(account) = load(context, message).await? else {
        return Ok(Outcome::Stale("not connected, or without a token of its own"));
    };
    let platform = context.platform(&account.platform)?;
    let endpoints = context.endpoints(platform).await?;
    let (Some(inspection), Some(url)) = (inspection(platform), &endpoints.inspect_url) else {
        return Ok(Outcome::Stale("its platform cannot be asked"));
    };
    let check = prepare(context, platform, account).await?;
    let asked = ask(context, platform, (url, inspection), &check).await;
    settle(context, platform, (inspection, &check.account), asked).await
}

async fn load(context: &Context, message: &CheckDue) -> Result<Option<Account>, Failure> {
    let mut conn = context.store.conn().await?;
    let account = accounts::find(&mut conn, &message.workspace_id, &message.account_id).await?;
    let due = |account: &Account| {
        account.status == AccountStatus::Connected && account.sealed_token.is_some()
    };
    Ok(account.filter(due))
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
) -> Result<Check, Failure> {
    let (vault, workspace) = (context.store.vault(), &account.workspace_id);
    let mut conn = context.store.conn().await?;
    let sealed = account.sealed_token.as_deref().unwrap_or_default();
    let key = vault.opening_key(&mut conn, Owner::workspace(workspace), sealed).await?;
    let plain = key.open(token_place(workspace, &account.id), sealed)?;
    let token = std::str::from_utf8(&plain).map_err(|_| SealError::UnknownFormat)?.into();
    let app = (workspace, account.app_id.as_ref());
    let client = credentials::resolve(&mut conn, vault, platform, app).await?;
    Ok(Check { account, client, token })
}

/// Asks once, and once more with the client's older secret where the newest seems to be refused.
async fn ask(
    context: &Context,
    platform: &Platform,
    at: (&Url, &Inspection),
    check: &Check,
) -> Result<Inspected, AskError> {
    let asked = inspect(&context.http, platform, at, (&check.client, &check.token)).await;
    match check.client.older().filter(|_| matches!(asked, Err(AskError::Said(_)))) {
        Some(older) => inspect(&context.http, platform, at, (&older, &check.token)).await,
        None => asked,
    }
}

async fn settle(
    context: &Context,
    platform: &Platform,
    (inspection, account): (&Inspection, &Account),
    asked: Result<Inspected, AskError>,
) -> Result<Outcome, Failure> {
    let refusal = match asked {
        Ok(Inspected::Valid { reauth_at, scopes }) => {
            return confirm(context, (inspection, account), (reauth_at, scopes)).await;
        }
        Ok(Inspected::Invalid(refusal)) => refusal,
        Err(error) => return put_off(context, platform, account, &error).await,
    };
    match refusal.class(platform) {
        FailureClass::Transient if refusal.will_pass(platform) => {
            put_off(context, platform, account, &AskError::Said(refusal)).await
        }
        class => end(context, account, (&refusal, class)).await,
    }
}

/// It works: so it is until the next day. What the person granted is known from here alone, where the
/// exchange does not say it.
async fn confirm(
    context: &Context,
    (inspection, account): (&Inspection, &Account),
    (reauth_at, scopes): (Option<DateTime<Utc>>, Option<Vec<String>>),
) -> Result<Outcome, Failure> {
    let mut work = context.store.begin().await?;
    let now = db::read_now(&mut work, context.clock()).await?;
    let next = schedule::check_at(&account.id, now, inspection.every);
    if !account_checks::reschedule(&mut work, account, next, 0).await? {
        return Ok(Outcome::Stale("connected anew, or checked meanwhile"));
    }
    if let Some(grant) = &account.grant_id {
        let grant = (&account.workspace_id, grant);
        let known = grants::find(&mut work, grant.0, grant.1).await?;
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

async fn put_off(
    context: &Context,
    platform: &Platform,
    account: &Account,
    error: &AskError,
) -> Result<Outcome, Failure> {
    let failures = account.check_failures.saturating_add(1);
    let delay = RETRY.delay(u32::try_from(failures).unwrap_or(u32::MAX));
    let asked = error.patience(platform);
    let wait = asked.unwrap_or_default().max(delay);
    let mut work = context.store.begin().await?;
    let now = db::read_now(&mut work, context.clock()).await?;
    let next = now + TimeDelta::from_std(wait).unwrap_or(TimeDelta::hours(6));
    account_checks::reschedule(&mut work, account, next, failures).await?;
    let pause = match error {
        // Asked with our client's own token: whatever is refused here is ours.
        AskError::Said(_) | AskError::Refused(_) => {
            tracing::error!(
                platform.id = platform.id,
                "a check is refused: look at the client's credentials: {error}"
            );
            Some(OUR_FAULT_PAUSE)
        }
        AskError::Call(_) | AskError::Lacks(_) => asked,
    };
    if let Some(pause) = pause {
        let app = (platform, account.app_id.as_ref());
        pause_app(&mut work, context.clock(), app, (pause, "check_refused")).await?;
    }
    work.commit().await?;
    tracing::info!(account.id = %account.id, "a check is put off: {error}");
    Ok(Outcome::Done)
}

/// The token does not work any more: this account ends, and no other.
async fn end(
    context: &Context,
    seen: &Account,
    (refusal, class): (&Refusal, FailureClass),
) -> Result<Outcome, Failure> {
    let reason = match class {
        FailureClass::NeedsConsent => "consent_required",
        _ => "refused_by_platform",
    };
    let mut work = context.store.begin().await?;
    let account = accounts::lock(&mut work, &seen.workspace_id, &seen.id).await?;
    let Some(account) = account.filter(|now| now.sealed_token == seen.sealed_token) else {
        return Ok(Outcome::Stale("connected anew meanwhile"));
    };
    expire_account(&mut work, context.clock(), &account, (reason, &refusal.to_json())).await?;
    work.commit().await?;
    tracing::warn!(account.id = %account.id, error = refusal.code, "token expired: the person must connect again");
    Ok(Outcome::Done)
}
