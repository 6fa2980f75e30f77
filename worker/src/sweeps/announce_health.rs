//! Tells the organisations that have accounts through it when a platform app's brake goes on, and when it is
//! taken off.

use latchkey_shared::db::app_health::{self, Announcement, AppHealth};
use latchkey_shared::events::{EventData, NewEvent, PlatformDegraded, PlatformRecovered, Scope};
use latchkey_shared::ids::AppId;

use crate::context::Context;
use crate::outcome::Failure;

const BATCH: i64 = 10;

pub(super) async fn run(context: &Context) -> Result<usize, Failure> {
    let mut work = context.store.begin().await?;
    let waiting = app_health::lock_announcements(&mut work, BATCH).await?;
    let count = waiting.len();
    for mut health in waiting {
        if let Some(event) = event(&health) {
            for organisation in app_health::organisations_of(&mut work, &health.key()).await? {
                let scope = Scope::Organisation(organisation);
                work.emit(NewEvent { scope, data: event.clone() }).await?;
            }
        }
        health.announce = None;
        app_health::save(&mut work, &health).await?;
    }
    work.commit().await?;
    Ok(count)
}

fn event(health: &AppHealth) -> Option<EventData> {
    let since = health.announce_since?.into();
    let platform = health.platform.clone();
    let app_id: Option<AppId> = health.app_id.parse().ok();
    Some(match health.announce? {
        Announcement::Degraded => EventData::PlatformDegraded(PlatformDegraded {
            platform,
            app_id,
            reason: health.reason.clone().unwrap_or_default(),
            since,
        }),
        Announcement::Recovered => EventData::PlatformRecovered(PlatformRecovered {
            platform,
            app_id,
            degraded_since: since,
        }),
    })
}
