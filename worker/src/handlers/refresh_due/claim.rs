//! Who may call for a grant, and whether anybody should.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use latchkey_shared::credentials::{self, Credentials};
use latchkey_shared::db::grants::{self, FailedCall, Grant, GrantStatus};
use latchkey_shared::db::{self, DbError, app_pauses};
use latchkey_shared::keyring::{DataKey, Owner};
use latchkey_shared::messages::GrantRef;
use latchkey_shared::platforms::Platform;
use latchkey_shared::tokens::TokenSet;
use latchkey_shared::work::Work;
use secrecy::SecretString;
use std::sync::Arc;
use tokio::time::Instant;

use crate::context::Context;
use crate::oauth::{refresh, schedule};
use crate::outcome::Failure;

/// Whether this worker may call.
pub enum Claim {
    /// It holds the lease, and the intent is committed.
    Taken(Box<Claimed>),
    /// There is nothing to call for.
    Stale(&'static str),
}

/// A grant that this worker alone may call for.
pub struct Claimed {
    /// As it was when it was taken.
    pub grant: Grant,
    /// Seals the answer.
    pub key: Arc<DataKey>,
    /// Who calls.
    pub client: Credentials,
    /// What it holds.
    pub tokens: TokenSet,
    /// What is presented of that.
    pub token: SecretString,
    /// The database's time before the call: lifetimes count from it.
    pub called_at: DateTime<Utc>,
    holder: String,
    lease_ends: Instant,
}

impl Claimed {
    /// Whether a call with this deadline ends within the lease. A process that was frozen finds out here.
    #[must_use]
    pub fn has_time_for(&self, deadline: Duration) -> bool {
        Instant::now() + deadline <= self.lease_ends
    }

    /// Gives the grant back: nothing was presented.
    ///
    /// # Errors
    /// When the database fails; then the lease runs out by itself.
    pub async fn give_back(&self, context: &Context) -> Result<(), DbError> {
        let mut conn = context.store.conn().await?;
        grants::give_back(&mut conn, &self.grant, &self.holder).await
    }
}

/// Takes the lease and commits the intent, if the row says that a refresh is due.
///
/// # Errors
/// [`Failure`].
pub async fn claim(
    context: &Context,
    platform: &Platform,
    grant: &GrantRef,
) -> Result<Claim, Failure> {
    let clock = context.clock();
    let lease = context.http.timeouts().refresh_lease(platform.refresh);
    let lease_ends = Instant::now() + lease;
    let mut work = context.store.begin().await?;
    let Some(grant) = grants::lock(&mut work, &grant.workspace_id, &grant.grant_id).await? else {
        return Ok(Claim::Stale("no such grant"));
    };
    let now = db::read_now(&mut work, clock).await?;
    if let Some(why) = not_due(platform, &grant, now) {
        return Ok(Claim::Stale(why));
    }
    let app = (platform.id.as_str(), grant.app_id.as_ref());
    if app_pauses::until(&mut work, clock, app).await?.is_some() {
        return Ok(Claim::Stale("its app is left alone for a while"));
    }
    if let Some(second_try_at) = must_wait(context, platform, &grant, now) {
        let failed =
            FailedCall { error_code: "call_interrupted", retry_at: second_try_at, in_doubt: true };
        grants::put_off(&mut work, clock, &grant, &failed).await?;
        work.commit().await?;
        count_in_doubt(&grant);
        return Ok(Claim::Stale("in doubt: nobody read the last answer"));
    }
    let tokens = match open(&mut work, context, &grant).await {
        Ok(tokens) => tokens,
        Err(Failure::Never(error)) => {
            tracing::error!(grant.id = %grant.id, "its tokens cannot be opened: {error:#}");
            let retry_at = now + SEAL_BROKEN_PAUSE;
            let failed = FailedCall { error_code: "seal_broken", retry_at, in_doubt: false };
            grants::put_off(&mut work, clock, &grant, &failed).await?;
            work.commit().await?;
            return Ok(Claim::Stale("its tokens cannot be opened"));
        }
        Err(failure) => return Err(failure),
    };
    let Some(token) = refresh::presented(platform, &tokens).cloned() else {
        return Ok(Claim::Stale("nothing to present"));
    };
    let (vault, app) = (context.store.vault(), (&grant.workspace_id, grant.app_id.as_ref()));
    let client = credentials::resolve(&mut work, vault, platform, app).await?;
    let key = vault.sealing_key(&mut work, Owner::workspace(&grant.workspace_id)).await?;
    let holder = context.lease_holder();
    let grant = mark_doubt(grant, platform, now);
    let lease = TimeDelta::from_std(lease).unwrap_or(TimeDelta::minutes(3));
    grants::begin_call(&mut work, clock, &grant, (&holder, lease)).await?;
    work.commit().await?;
    let called_at = now;
    let claimed = Claimed { grant, key, client, tokens, token, called_at, holder, lease_ends };
    Ok(Claim::Taken(Box::new(claimed)))
}

/// Somebody must look at a row whose seal is broken; meanwhile it is not looked at every second.
const SEAL_BROKEN_PAUSE: TimeDelta = TimeDelta::hours(1);

async fn open(work: &mut Work, context: &Context, grant: &Grant) -> Result<TokenSet, Failure> {
    let sealed = grant.sealed_tokens.as_deref().unwrap_or_default();
    let owner = Owner::workspace(&grant.workspace_id);
    let key = context.store.vault().opening_key(work, owner, sealed).await?;
    Ok(TokenSet::open(&key, grant.tokens_place(), sealed)?)
}

fn not_due(platform: &Platform, grant: &Grant, now: DateTime<Utc>) -> Option<&'static str> {
    if grant.status != GrantStatus::Active {
        Some("not in use")
    } else if grant.lease_until.is_some_and(|until| until > now) {
        Some("somebody else is calling")
    } else if grant.refresh_at.is_none_or(|at| at > now) {
        Some("not due")
    } else if platform.refresh.earliest(grant.issued_at).is_some_and(|earliest| earliest > now) {
        Some("too young to be extended")
    } else {
        None
    }
}

/// When a token that may have been spent is tried again, if that is not now.
fn must_wait(
    context: &Context,
    platform: &Platform,
    grant: &Grant,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let newly_in_doubt =
        grant.is_unanswered() && grant.in_doubt_since.is_none() && platform.refresh.rotates();
    let at = schedule::second_try_at(platform.refresh, grant, now, context.in_doubt_lead);
    (newly_in_doubt && at > now).then_some(at)
}

/// A call that was interrupted leaves its mark even if the second try comes at once: should that be
/// refused, the interruption was the cause.
fn mark_doubt(mut grant: Grant, platform: &Platform, now: DateTime<Utc>) -> Grant {
    if grant.is_unanswered() && platform.refresh.rotates() {
        grant.in_doubt_since.get_or_insert(now);
    }
    grant
}

pub(super) fn count_in_doubt(grant: &Grant) {
    metrics::counter!("latchkey_refresh_in_doubt_total", "platform" => grant.platform.clone())
        .increment(1);
    tracing::warn!(grant.id = %grant.id, grant.generation, "in doubt: a token was presented and no answer was read");
}
