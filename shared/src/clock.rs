//! The one place that reads the time.
//!
//! Instants that decide anything are taken from the database as `now() + offset`; the offset is zero
//! in production. A test moves one [`Clock`] shared by the API, the workers and the sandbox, so that
//! hours pass for all of them at once and nobody sleeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};

/// Wall-clock time plus an offset in milliseconds that all clones share.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    offset_ms: Arc<AtomicI64>,
}

impl Clock {
    /// A clock that tells the machine's time.
    #[must_use]
    pub fn system() -> Self {
        Self::default()
    }

    /// The present instant, UTC.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the home of time")]
    pub fn now(&self) -> DateTime<Utc> {
        Utc::now() + self.offset()
    }

    /// How far this clock is ahead of the machine's.
    #[must_use]
    pub fn offset(&self) -> TimeDelta {
        TimeDelta::milliseconds(self.offset_ms.load(Ordering::SeqCst))
    }

    /// Moves this clock and all its clones forward.
    pub fn advance(&self, by: TimeDelta) {
        self.offset_ms.fetch_add(by.num_milliseconds(), Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_move_together() {
        let clock = Clock::system();
        let clone = clock.clone();
        clone.advance(TimeDelta::hours(2));
        assert_eq!(clock.offset(), TimeDelta::hours(2));
        assert!(clock.now() - Clock::system().now() > TimeDelta::minutes(119));
    }
}
