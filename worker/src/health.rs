//! Notes how calls through a platform app went, and says in one line when that changes.

use chrono::{DateTime, TimeDelta, Utc};
use latchkey_shared::db::app_health::{self, AppHealth, AppKey, Cause};
use latchkey_shared::db::{self, DbError};
use latchkey_shared::ids::WorkspaceId;
use latchkey_shared::work::Work;

use crate::brake::{self, Change, Failed, Succeeded};
use crate::context::Context;

/// A success is noted so often at most, if the app was in no trouble: the row is one of many calls.
const NOTE_EVERY: TimeDelta = TimeDelta::seconds(1);
/// How many waiting grants are counted for a log line.
const COUNTED: i64 = 100_000;

/// A change of an app's brake that is to be told once its transaction is committed.
#[derive(Debug)]
pub struct Changed {
    health: AppHealth,
    change: Change,
}

/// Notes a call that brought no tokens, in the transaction that stores its ending.
///
/// # Errors
/// When the database fails.
pub async fn note_failure(
    context: &Context,
    work: &mut Work,
    key: &AppKey,
    workspace: &WorkspaceId,
    failed: &Failed<'_>,
) -> Result<(AppHealth, Option<Changed>), DbError> {
    let sharer = app_health::sharer(work, key, workspace).await?;
    let mut health = app_health::lock(work, key).await?;
    let now = db::read_clock(work).await?;
    let change =
        brake::after_failure(&mut health, failed, context.brake_after, sharer.as_ref(), now);
    app_health::save(work, &health).await?;
    let changed = change.map(|change| Changed { health: health.clone(), change });
    Ok((health, changed))
}

/// Notes a call that brought tokens. `seen` is the app's row as it was before the call. What cannot be noted
/// is noted with the next success.
pub async fn note_success(context: &Context, seen: &AppHealth, succeeded: Succeeded) {
    let recent = seen.succeeded_at.is_some_and(|last| succeeded.called_at - last < NOTE_EVERY);
    let calm = seen.failing_since.is_none() && seen.braked_since.is_none();
    if recent && calm && !succeeded.was_refused {
        return;
    }
    let count = context.permits.take_successes(&seen.key()).max(succeeded.count);
    let succeeded = Succeeded { count, ..succeeded };
    let noted = async {
        let mut work = context.store.begin().await?;
        let mut health = app_health::lock(&mut work, &seen.key()).await?;
        let now = db::read_clock(&mut work).await?;
        let change = brake::after_success(&mut health, succeeded, now);
        app_health::save(&mut work, &health).await?;
        work.commit().await?;
        Ok::<_, DbError>(change.map(|change| Changed { health, change }))
    };
    match noted.await {
        Ok(Some(changed)) => tell(context, &changed).await,
        Ok(None) => {}
        Err(error) => tracing::debug!("a success is not noted: {error}"),
    }
}

/// A grant has ended: its refusal is explained.
///
/// # Errors
/// When the database fails.
pub async fn note_death(work: &mut Work, key: &AppKey) -> Result<(), DbError> {
    let mut health = app_health::lock(work, key).await?;
    brake::forget_refusal(&mut health);
    app_health::save(work, &health).await
}

/// Notes that an app's platform answered a call for somebody else: a person who has just connected. That says
/// nothing of refusals, and of an outage that it is over.
pub async fn note_answered(context: &Context, key: &AppKey, called_at: DateTime<Utc>) {
    let seen = async {
        let mut conn = context.store.conn().await?;
        app_health::find(&mut conn, key).await
    };
    match seen.await {
        Ok(Some(seen)) if seen.cause == Some(Cause::Failures) => {
            let answered = Succeeded { called_at, count: 0, was_refused: false };
            note_success(context, &seen, answered).await;
        }
        Ok(_) => {}
        Err(error) => tracing::debug!("a success is not noted: {error}"),
    }
}

/// Whether this call may be made: the app's brake is off, or the call is the next probe.
///
/// # Errors
/// When the database fails.
pub async fn may_call(work: &mut Work, health: &AppHealth) -> Result<bool, DbError> {
    if health.braked_since.is_none() {
        return Ok(true);
    }
    let now = db::read_clock(work).await?;
    let interval = brake::probe_interval(health, now);
    app_health::take_probe(work, &health.key(), interval).await
}

/// Says in one line what changed.
pub async fn tell(context: &Context, changed: &Changed) {
    let Changed { health, change } = changed;
    let key = health.key();
    set_state(&key, health.braked_since.is_some(), false);
    let (app, reason) = (key.label(), health.reason.as_deref().unwrap_or_default());
    let platform = &key.platform;
    let now = context.clock().now();
    match change {
        Change::Braked => {
            let since = health.failing_since.unwrap_or(now).format("%H:%M:%S");
            let probe = health.probe_at.map_or(0, |at| (at - now).num_seconds().max(0));
            let waiting = waiting(context, &key, now).await;
            let what = match health.cause {
                Some(Cause::Client) => "refuses our client: check its credentials",
                Some(Cause::Refusals) => "refuses every account, and none expires meanwhile",
                _ => "fails",
            };
            tracing::warn!(
                platform.id = platform,
                app.id = app,
                error = reason,
                "{platform} {what}, since {since} UTC: {reason}; {waiting} accounts wait; next probe in {probe} s"
            );
        }
        Change::Recovered { since } => {
            let lasted = (now - *since).num_seconds();
            let waiting = waiting(context, &key, now).await;
            tracing::info!(
                platform.id = platform,
                app.id = app,
                "{platform} answers again after {lasted} s; {waiting} accounts that waited are refreshed now"
            );
        }
        Change::Believed { since } => {
            let hours = (now - *since).num_hours();
            tracing::warn!(
                platform.id = platform,
                app.id = app,
                error = reason,
                "{platform} has refused every account for {hours} h: the refusals are taken for true, accounts expire"
            );
        }
    }
}

async fn waiting(context: &Context, key: &AppKey, now: DateTime<Utc>) -> i64 {
    let counted = async {
        let mut conn = context.store.conn().await?;
        app_health::count_due(&mut conn, key, now, COUNTED).await
    };
    counted.await.unwrap_or_default()
}

/// The state of an app as a metric: one of its states is 1.
pub fn set_state(key: &AppKey, braked: bool, paused: bool) {
    let paused = paused && !braked;
    for (state, on) in [("open", !braked && !paused), ("paused", paused), ("braked", braked)] {
        let (platform, app) = (key.platform.clone(), key.label().to_owned());
        metrics::gauge!("latchkey_platform_state", "platform" => platform, "app" => app, "state" => state)
            .set(f64::from(u8::from(on)));
    }
}
