//! Leaving a platform app alone for a while, because the platform asks for it.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use latchkey_shared::clock::Clock;
use latchkey_shared::db::app_health::AppKey;
use latchkey_shared::db::{DbError, app_pauses};
use latchkey_shared::work::Work;

/// For one account's sake others are not held back longer; then the next one finds out.
const MAX_APP_PAUSE: Duration = Duration::from_secs(900);

/// A pause that begins.
#[derive(Debug)]
pub struct Pause {
    until: DateTime<Utc>,
    reason: String,
}

impl Pause {
    /// Says so, once its transaction is committed.
    pub fn tell(&self, app: &AppKey) {
        let (platform, until, reason) = (&app.platform, self.until, &self.reason);
        metrics::counter!("latchkey_platform_pauses_total", "platform" => platform.clone(), "app" => app.label().to_owned())
            .increment(1);
        tracing::warn!(
            platform.id = platform,
            app.id = app.label(),
            error = reason,
            "{platform} is left alone until {} UTC, as it asks: {reason}",
            until.format("%H:%M:%S")
        );
    }
}

/// Leaves a platform app alone, as the platform asks. `None`: it was left alone for as long already.
///
/// # Errors
/// When the database fails.
pub async fn pause_app(
    work: &mut Work,
    clock: &Clock,
    app: &AppKey,
    (wait, reason): (Duration, &str),
) -> Result<Option<Pause>, DbError> {
    let paused = app_pauses::until(work, clock, app).await?;
    let wait = TimeDelta::from_std(wait.min(MAX_APP_PAUSE)).unwrap_or(TimeDelta::minutes(15));
    let until = app_pauses::pause(work, clock, app, (wait, reason)).await?;
    let begins = until.filter(|_| paused.is_none());
    Ok(begins.map(|until| Pause { until, reason: reason.to_owned() }))
}
