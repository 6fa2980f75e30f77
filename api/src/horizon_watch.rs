//! Watches what holds the event log back: any transaction on the server that writes and does not end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use latchkey_shared::db::events::{self, OpenWriter};
use latchkey_shared::db::{Db, DbError};
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_secs(15);
/// No transaction of ours is open for so long.
const TOO_OLD: TimeDelta = TimeDelta::seconds(60);

/// The oldest transaction, and for how long it has been that.
#[derive(Clone, Debug, Default)]
pub(crate) struct HorizonWatch(Arc<Mutex<Option<Seen>>>);

#[derive(Clone, Debug)]
struct Seen {
    writer: OpenWriter,
    first: DateTime<Utc>,
    last: DateTime<Utc>,
    was_told: bool,
}

impl Seen {
    fn age(&self) -> TimeDelta {
        self.last - self.first
    }

    fn is_too_old(&self) -> bool {
        self.age() >= TOO_OLD
    }
}

impl HorizonWatch {
    /// Looks until `stop`.
    pub(crate) async fn run(self, db: Db, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(EVERY);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            if let Err(error) = self.look(&db).await {
                tracing::debug!("the event log's horizon was not seen: {error}");
            }
        }
    }

    pub(crate) async fn look(&self, db: &Db) -> Result<(), DbError> {
        let mut conn = db.conn().await?;
        let found = events::oldest_writer(&mut conn).await?;
        drop(conn);
        self.note_found(found, db.clock().now());
        Ok(())
    }

    /// For operators: `up`, or what the log waits for.
    pub(crate) fn note(&self) -> String {
        match self.locked().as_ref().filter(|seen| seen.is_too_old()) {
            None => "up".to_owned(),
            Some(Seen { writer, first, .. }) => format!(
                "waits for {} of database {} since {}",
                writer.name,
                writer.database,
                first.format("%FT%TZ")
            ),
        }
    }

    fn note_found(&self, found: Option<OpenWriter>, now: DateTime<Utc>) {
        let mut locked = self.locked();
        let before = locked.take();
        let same = before.clone().filter(|seen| Some(&seen.writer) == found.as_ref());
        if same.is_none() && before.is_some_and(|seen| seen.was_told) {
            tracing::info!("the event log goes on");
        }
        let mut seen = match (same, found) {
            (Some(seen), _) => Seen { last: now, ..seen },
            (None, Some(writer)) => Seen { writer, first: now, last: now, was_told: false },
            (None, None) => {
                metrics::gauge!("latchkey_event_log_wait_seconds").set(0.0);
                return;
            }
        };
        metrics::gauge!("latchkey_event_log_wait_seconds").set(seen.age().as_seconds_f64());
        if seen.is_too_old() && !seen.was_told {
            seen.was_told = true;
            tracing::warn!(
                database = seen.writer.database,
                seconds = seen.age().num_seconds(),
                "the event log waits: {} has a transaction open that writes; until it ends no later event is shown",
                seen.writer.name
            );
        }
        *locked = Some(seen);
    }

    fn locked(&self) -> MutexGuard<'_, Option<Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
