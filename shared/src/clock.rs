//! The one place that reads the time.
//!
//! Instants that decide anything are taken from the database as `now() + offset`; the offset is zero
//! in production. A test moves one [`Clock`] shared by the API, the workers and the sandbox, so that
//! hours pass for all of them at once and nobody sleeps. In processes built for tests the offset
//! stands in a file, so that a process of its own moves with them.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};

/// Wall-clock time plus an offset in milliseconds that all clones share.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    offset_ms: Arc<AtomicI64>,
    #[cfg(feature = "failpoints")]
    file: Option<Arc<std::path::PathBuf>>,
}

impl Clock {
    /// A clock that tells the machine's time.
    #[must_use]
    pub fn system() -> Self {
        Self::default()
    }

    /// The clock of a whole process: the machine's, unless a test that started it moves it.
    #[must_use]
    pub fn of_process() -> Self {
        #[cfg(feature = "failpoints")]
        // No setting of the product: tests alone have it.
        if let Some(path) = std::env::var_os("LATCHKEY_TEST_CLOCK") {
            return Self { file: Some(Arc::new(path.into())), ..Self::default() };
        }
        Self::system()
    }

    /// A clock that processes started with `LATCHKEY_TEST_CLOCK` naming this file share.
    #[cfg(feature = "failpoints")]
    #[must_use]
    pub fn in_file(path: std::path::PathBuf) -> Self {
        Self { file: Some(Arc::new(path)), ..Self::default() }
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
        #[cfg(feature = "failpoints")]
        if let Some(path) = &self.file {
            let text = std::fs::read_to_string(&**path).unwrap_or_default();
            return TimeDelta::milliseconds(text.parse().unwrap_or(0));
        }
        TimeDelta::milliseconds(self.offset_ms.load(Ordering::SeqCst))
    }

    /// Moves this clock and all its clones forward.
    pub fn advance(&self, by: TimeDelta) {
        #[cfg(feature = "failpoints")]
        if let Some(path) = &self.file {
            let offset = (self.offset() + by).num_milliseconds().to_string();
            let draft = path.with_extension("draft");
            // Renamed, so that nobody reads half of it.
            std::fs::write(&draft, offset)
                .and_then(|()| std::fs::rename(&draft, &**path))
                .expect("a test can write its own files");
            return;
        }
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
