//! Whether too many messages wait to take on more work.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::db::{DbError, outbox};
use crate::work::Store;

/// For how long an answer is good: looking at every request would add to the load.
const FRESH: Duration = Duration::from_secs(1);

/// The outbox, seen from its far end.
#[derive(Debug)]
pub struct Backlog {
    max: i64,
    seen: Mutex<Option<(Instant, bool)>>,
}

impl Backlog {
    /// Beyond `max` open messages it is too long.
    #[must_use]
    pub fn new(max: i64) -> Self {
        Self { max, seen: Mutex::default() }
    }

    /// Whether it was too long within the last second.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_too_long(&self, store: &Store) -> Result<bool, DbError> {
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, too_long)) = seen.filter(|(at, _)| at.elapsed() < FRESH) {
            return Ok(too_long);
        }
        let too_long = outbox::is_beyond(&mut *store.conn().await?, self.max).await?;
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((Instant::now(), too_long));
        Ok(too_long)
    }
}
