//! Leaving a platform app alone for a while, because the platform asks for it.
//!
//! Where organisations share an app, the first that is asked for patience waits alone: it may have asked for more than
//! its part. If another is asked while it waits, all do.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use latchkey_shared::db::app_health::{self, AppKey};
use latchkey_shared::db::{DbError, app_pauses};
use latchkey_shared::ids::WorkspaceId;
use latchkey_shared::work::Work;

/// For one account's sake others are not held back longer; then the next one finds out.
const MAX_APP_PAUSE: Duration = Duration::from_secs(900);

/// A pause that begins.
#[derive(Debug)]
pub struct Pause {
    app: AppKey,
    until: DateTime<Utc>,
    reason: String,
}

impl Pause {
    /// What is left alone: an app, or one organisation's accounts of it.
    #[must_use]
    pub fn app(&self) -> &AppKey {
        &self.app
    }

    /// Says so, once its transaction is committed.
    pub fn tell(&self) {
        let Self { app, until, reason } = self;
        let platform = &app.platform;
        metrics::counter!("latchkey_platform_pauses_total", "platform" => platform.clone(), "app" => app.label().to_owned())
            .increment(1);
        let whose = match app.organisation() {
            Some(organisation) => format!(" for {organisation}"),
            None => String::new(),
        };
        tracing::warn!(
            platform.id = platform,
            app.id = app.label(),
            error = reason,
            "{platform} is left alone{whose} until {} UTC, as it asks: {reason}",
            until.format("%H:%M:%S")
        );
    }
}

/// Leaves a platform app alone, as the platform asked when it was called for a workspace. `None`: it was left alone
/// for as long already.
///
/// # Errors
/// When the database fails.
pub async fn pause_app(
    work: &mut Work,
    app: &AppKey,
    workspace: &WorkspaceId,
    wait: Duration,
    reason: &str,
) -> Result<Option<Pause>, DbError> {
    let app = match app_health::sharer(work, app, workspace).await? {
        Some(own) if !app_pauses::others_wait(work, &app.platform, &own).await? => {
            AppKey::of_organisation(&app.platform, &own)
        }
        _ => app.clone(),
    };
    let paused = app_pauses::of_app(work, &app).await?;
    let wait = TimeDelta::from_std(wait.min(MAX_APP_PAUSE)).unwrap_or(TimeDelta::minutes(15));
    let until = app_pauses::pause(work, &app, wait, reason).await?;
    let begins = until.filter(|_| paused.is_none());
    Ok(begins.map(|until| Pause { app, until, reason: reason.to_owned() }))
}
