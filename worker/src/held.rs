//! What platforms answered and no database has taken yet. A process keeps it for as long as it lives: new
//! tokens cannot be had a second time. There are never more than calls can be open, since no call begins
//! without the database.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use latchkey_shared::backoff::Policy;
use latchkey_shared::db::DbError;

/// Between tries to store an answer.
const RETRY: Policy = Policy::new(Duration::from_millis(200), Duration::from_secs(2));

/// How often in a row a database that is there may refuse it: a lock or a full disk passes within an hour.
const MAX_REFUSALS: u32 = 1800;

/// The answers that this process holds.
#[derive(Clone, Debug, Default)]
pub struct HeldAnswers(Arc<Mutex<BTreeMap<u64, String>>>);

/// One of them, for as long as this lives.
struct Held {
    number: u64,
    answers: HeldAnswers,
}

impl HeldAnswers {
    /// Repeats a unit of work until the database has taken it, for as long as the process lives. It must guard
    /// itself against having been committed by an earlier try. `what` names the row in logs.
    ///
    /// # Errors
    /// When the database is there and refuses the work for good, or again and again: repeating it helps nobody.
    pub async fn until_stored<T, F, Fut>(&self, what: &str, work: F) -> Result<T, DbError>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<T, DbError>>,
    {
        let (mut held, mut failures, mut refusals) = (None, 0, 0);
        loop {
            let error = match work().await {
                Ok(stored) => return Ok(stored),
                Err(error) => error,
            };
            failures += 1;
            refusals = if error.is_unavailable() { 0 } else { refusals + 1 };
            if error.is_permanent() || refusals > MAX_REFUSALS {
                tracing::error!(row = what, "the database refuses an answer for good: {error}");
                return Err(error);
            }
            held.get_or_insert_with(|| self.hold(what, &error));
            tracing::debug!(row = what, "an answer is not stored yet: {error}");
            tokio::time::sleep(RETRY.ceiling(failures)).await;
        }
    }

    /// How many answers are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.locked().len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.locked().is_empty()
    }

    /// Says which answers end with the process.
    pub fn report_lost(&self) {
        let lost: Vec<String> = self.locked().values().cloned().collect();
        if !lost.is_empty() {
            let rows = lost.join(", ");
            tracing::error!(
                count = lost.len(),
                rows,
                "answers of platforms end with this process: the database did not take them"
            );
        }
    }

    fn hold(&self, what: &str, error: &DbError) -> Held {
        let mut locked = self.locked();
        let number = locked.last_key_value().map_or(0, |(last, _)| last + 1);
        locked.insert(number, what.to_owned());
        let count = locked.len();
        drop(locked);
        // One line for each doubling, not one for each answer.
        if count.is_power_of_two() {
            tracing::warn!(
                count,
                "answers of platforms are held until the database takes them: {error}"
            );
        }
        metrics::gauge!("latchkey_answers_held").set(count as f64);
        Held { number, answers: self.clone() }
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<u64, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut locked = self.answers.locked();
        locked.remove(&self.number);
        let left = locked.len();
        drop(locked);
        if left == 0 {
            tracing::info!("the database took every answer that was held");
        }
        metrics::gauge!("latchkey_answers_held").set(left as f64);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn an_answer_is_held_for_as_long_as_it_takes() {
        let (answers, tries) = (HeldAnswers::default(), AtomicUsize::new(0));
        let stored = answers.until_stored("grt_1", || async {
            assert!(tries.load(Ordering::SeqCst) == 0 || answers.len() == 1);
            match tries.fetch_add(1, Ordering::SeqCst) {
                0..3 => Err(DbError::Unavailable("away".to_owned())),
                last => Ok(last),
            }
        });
        assert_eq!(stored.await.unwrap(), 3);
        assert!(answers.is_empty());
    }
}
