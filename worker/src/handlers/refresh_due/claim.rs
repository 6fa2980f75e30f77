//! Who may call for a grant, and whether anybody should.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use latchkey_shared::credentials::{self, Credentials};
use latchkey_shared::db::app_health::{self, AppHealth, AppKey};
use latchkey_shared::db::grants::{self, FailedCall, Grant, GrantStatus, Lease};
use latchkey_shared::db::{self, DbError, app_pauses, workers};
use latchkey_shared::keyring::{DataKey, KeyOwner};
use latchkey_shared::messages::GrantRef;
use latchkey_shared::platforms::Platform;
use latchkey_shared::random;
use latchkey_shared::tokens::TokenSet;
use latchkey_shared::work::Work;
use secrecy::SecretString;
use tokio::time::Instant;

use crate::context::Context;
use crate::health;
use crate::liveness;
use crate::oauth::refusal::Doubt;
use crate::oauth::{refresh, schedule};
use crate::outcome::Failure;

/// Over how long the calls of an organisation are spread after a pause of its own.
const AFTER_OWN_PAUSE: Duration = Duration::from_secs(10);

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
    /// The platform app that the call counts for.
    pub app: AppKey,
    /// How that app's calls went before.
    pub health: AppHealth,
    /// Encrypts the answer.
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
    let lease_ends = Instant::now() + context.http.timeouts().refresh_lease(platform.refresh);
    let mut work = context.store.begin().await?;
    let Some(grant) = grants::lock(&mut work, &grant.workspace_id, &grant.grant_id).await? else {
        return Ok(Claim::Stale("no such grant"));
    };
    let now = db::read_now(&mut work).await?;
    if let Some(why) = not_now(context, &mut work, platform, &grant, now).await? {
        work.commit().await?;
        return Ok(Claim::Stale(why));
    }
    let Some(tokens) = decrypt(&mut work, &grant).await? else {
        work.commit().await?;
        return Ok(Claim::Stale("its tokens cannot be decrypted"));
    };
    let app = app_called(platform, &grant, &tokens);
    let health = app_health::find(&mut work, &app).await?;
    let health = health.unwrap_or_else(|| AppHealth::good(&app));
    if let Some(why) = app_waits(context, &mut work, &grant, &health).await? {
        work.commit().await?;
        return Ok(Claim::Stale(why));
    }
    let Some(token) = refresh::presented(platform, &tokens).cloned() else {
        return Ok(Claim::Stale("nothing to present"));
    };
    let client =
        credentials::resolve(&mut work, platform, &grant.workspace_id, grant.app_id.as_ref())
            .await?;
    let key = work.encryption_key(KeyOwner::workspace(&grant.workspace_id)).await?;
    let holder = context.lease_holder();
    let grant = mark_doubt(grant, platform, now);
    begin_call(context, &mut work, platform, &grant, &holder).await?;
    work.commit().await?;
    let called_at = now;
    let claimed =
        Claimed { grant, app, health, key, client, tokens, token, called_at, holder, lease_ends };
    Ok(Claim::Taken(Box::new(claimed)))
}

async fn begin_call(
    context: &Context,
    work: &mut Work,
    platform: &Platform,
    grant: &Grant,
    holder: &str,
) -> Result<(), DbError> {
    let delta = |length| TimeDelta::from_std(length).unwrap_or(TimeDelta::minutes(3));
    let length = delta(context.http.timeouts().refresh_lease(platform.refresh));
    let look_after = liveness::look_after(platform.refresh).map_or(length, delta);
    let lease = Lease { holder, length, look_after };
    grants::begin_call(work, grant, &lease).await
}

/// Why nobody calls for a grant now; its row says then when somebody looks again.
async fn not_now(
    context: &Context,
    work: &mut Work,
    platform: &Platform,
    grant: &Grant,
    now: DateTime<Utc>,
) -> Result<Option<&'static str>, DbError> {
    if grant.status != GrantStatus::Active {
        return Ok(Some("not in use"));
    }
    if grant.lease_until.is_some_and(|until| until > now) {
        if !holder_is_gone(context, work, platform, grant).await? {
            let look_after = liveness::look_after(platform.refresh);
            let look_after = look_after.and_then(|wait| TimeDelta::from_std(wait).ok());
            grants::wait_for_lease(work, grant, look_after).await?;
            return Ok(Some("somebody else is calling"));
        }
    } else if grant.refresh_at.is_none_or(|at| at > now) {
        put_back(work, grant, None).await?;
        return Ok(Some("not due"));
    }
    let earliest = platform.refresh.earliest(grant.issued_at);
    let earliest =
        earliest.max(platform.next_refresh_after(grant.issued_at, grant.access_expires_at));
    if earliest.is_some_and(|earliest| earliest > now) {
        put_back(work, grant, earliest).await?;
        return Ok(Some("too young to be refreshed"));
    }
    if let Some(second) = must_wait(context, platform, grant, now) {
        let failed = FailedCall {
            error_code: "call_interrupted",
            retry_at: second.at,
            wake_at: second.wake_at,
            in_doubt: true,
            refused: None,
        };
        grants::put_off(work, grant, &failed).await?;
        if grant.in_doubt_since.is_none() {
            count_in_doubt(grant);
        }
        return Ok(Some("in doubt: nobody read the last answer"));
    }
    Ok(None)
}

/// Whether the process that holds the lease is gone, where a token may be presented again before the lease has
/// ended: within a grace window. Elsewhere a process that is frozen or cut off may still have its call open.
async fn holder_is_gone(
    context: &Context,
    work: &mut Work,
    platform: &Platform,
    grant: &Grant,
) -> Result<bool, DbError> {
    let judged = liveness::look_after(platform.refresh)
        .and_then(|_| context.liveness.judges_after(platform.refresh));
    match (judged, &grant.lease_holder) {
        (Some(silence), Some(holder)) => workers::is_gone(work, holder, silence).await,
        _ => Ok(false),
    }
}

/// Why the grant's app is not called now; nothing is counted against the grant.
async fn app_waits(
    context: &Context,
    work: &mut Work,
    grant: &Grant,
    health: &AppHealth,
) -> Result<Option<&'static str>, DbError> {
    let key = health.key();
    if let Some(until) = app_pauses::until(work, &key, &grant.workspace_id).await? {
        if app_pauses::of_app(work, &key).await?.is_some() {
            slow_down(context, grant, &key);
            put_back(work, grant, Some(until)).await?;
            return Ok(Some("its app is left alone for a while"));
        }
        // Others go on meanwhile, as fast as before: its own calls do not come all at once.
        let spread = AFTER_OWN_PAUSE.mul_f64(random::unit());
        let later = until + TimeDelta::from_std(spread).unwrap_or_default();
        put_back(work, grant, Some(later)).await?;
        return Ok(Some("its app is left alone for its organisation"));
    }
    if health::may_call(work, health).await? {
        return Ok(None);
    }
    slow_down(context, grant, &key);
    // Of a person's own host the planner knows nothing.
    let own_host = key != grant.app_key();
    put_back(work, grant, health.probe_at.filter(|_| own_host)).await?;
    Ok(Some("its app fails: the next probe finds out"))
}

async fn put_back(
    work: &mut Work,
    grant: &Grant,
    not_before: Option<DateTime<Utc>>,
) -> Result<(), DbError> {
    grants::put_back(work, grant.key(), not_before).await
}

/// When the app is called again, one call goes first. Of a person's own host the permits know nothing.
pub(super) fn slow_down(context: &Context, grant: &Grant, app: &AppKey) {
    if *app == grant.app_key() {
        context.permits.slow_down(app);
    }
}

/// The platform app that a call counts for. Where persons have hosts of their own, that is the host.
#[must_use]
pub fn app_called(platform: &Platform, grant: &Grant, tokens: &TokenSet) -> AppKey {
    match tokens.host.as_ref().and_then(|host| host.host_str()) {
        Some(host) if platform.quirks.own_host => AppKey::of_host(&platform.id, host),
        _ => grant.app_key(),
    }
}

/// Somebody must look at a row that cannot be decrypted; meanwhile it is not tried every second.
const UNREADABLE_PAUSE: TimeDelta = TimeDelta::hours(1);

/// The tokens of a grant. `None`: they cannot be decrypted, which is noted.
async fn decrypt(work: &mut Work, grant: &Grant) -> Result<Option<TokenSet>, Failure> {
    let sealed = grant.sealed_tokens.as_deref().unwrap_or_default();
    let decrypted = TokenSet::decrypt(work, grant.tokens_aad(), sealed).await;
    let decrypted = decrypted.map_err(Failure::from);
    let Err(Failure::Never(error)) = decrypted else { return decrypted.map(Some) };
    tracing::error!(grant.id = %grant.id, "its tokens cannot be decrypted: {error:#}");
    let retry_at = db::read_now(work).await? + UNREADABLE_PAUSE;
    let failed = FailedCall {
        error_code: "seal_broken",
        retry_at,
        wake_at: None,
        in_doubt: false,
        refused: None,
    };
    grants::put_off(work, grant, &failed).await?;
    Ok(None)
}

/// How long after a lease has ended a worker waits before it presents the token again. The process that called
/// may hold the answer because the database was away: it needs a new session, and a retry, to store it.
const HOLDER_FIRST: TimeDelta = TimeDelta::seconds(15);

/// When a token that may have been spent is tried again, if that is not now.
fn must_wait(
    context: &Context,
    platform: &Platform,
    grant: &Grant,
    now: DateTime<Utc>,
) -> Option<schedule::Retry> {
    if !grant.is_unanswered() || !platform.refresh.rotates() {
        return None;
    }
    let lead = context.in_doubt_lead;
    let second = schedule::second_try(platform.refresh, grant, now, Doubt::Silent, lead);
    if grant.lease_until.is_some_and(|until| until <= now) {
        return Some(schedule::Retry { at: second.at.max(now + HOLDER_FIRST), ..second });
    }
    let ended = grant.access_expires_at.is_none_or(|end| end <= now);
    (grant.in_doubt_since.is_none() && !ended && second.at > now).then_some(second)
}

/// A call that was interrupted leaves its mark even if the second try comes at once: should that be
/// refused, the interruption was the cause.
fn mark_doubt(mut grant: Grant, platform: &Platform, now: DateTime<Utc>) -> Grant {
    if grant.is_unanswered() && platform.refresh.rotates() && grant.in_doubt_since.is_none() {
        grant.in_doubt_since = Some(now);
        count_in_doubt(&grant);
    }
    grant
}

/// Counts a grant whose token is in doubt from now on.
pub(super) fn count_in_doubt(grant: &Grant) {
    let app = grant.app_key().label().to_owned();
    metrics::counter!("latchkey_refresh_in_doubt_total", "platform" => grant.platform.clone(), "app" => app)
        .increment(1);
    tracing::debug!(grant.id = %grant.id, grant.generation, "in doubt: a token was presented and no answer was read");
}
