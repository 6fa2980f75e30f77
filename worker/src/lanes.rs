//! How many webhooks this process has under way, and to whom: so that endpoints which answer slowly, or
//! never, cannot hold all the turns that there are.
//!
//! Nobody waits here. Who is not let in puts the delivery back into its endpoint's queue.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use latchkey_shared::db::webhook_endpoints::Pace;
use latchkey_shared::ids::EndpointId;
use tokio::time::Instant;

/// An attempt that takes longer than this is slow.
pub const SLOW: Duration = Duration::from_secs(3);

/// The attempts under way in this process.
#[derive(Clone, Debug)]
pub struct Lanes {
    cap: usize,
    slow_share: usize,
    open: Arc<Mutex<Vec<Attempt>>>,
}

#[derive(Debug)]
struct Attempt {
    number: u64,
    endpoint: EndpointId,
    pace: Pace,
    since: Instant,
}

impl Attempt {
    fn is_slow(&self) -> bool {
        self.pace != Pace::Prompt || self.since.elapsed() > SLOW
    }
}

/// The right to one attempt, for as long as this lives.
#[derive(Debug)]
pub struct Lane {
    number: u64,
    open: Arc<Mutex<Vec<Attempt>>>,
}

/// Why there is no lane.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Full {
    /// The endpoint has as many attempts open as it may. When one ends the next is sent.
    Endpoint,
    /// Those that are slow have as many open as they may have together.
    Slow,
}

impl Lanes {
    /// At most `cap` for one endpoint, one while it is silent, and half of all `turns` for all that are
    /// slow.
    #[must_use]
    pub fn new(cap: usize, turns: usize) -> Self {
        Self { cap, slow_share: (turns / 2).max(1), open: Arc::default() }
    }

    /// How many attempts one endpoint may have open.
    #[must_use]
    pub fn cap(&self) -> i32 {
        i32::try_from(self.cap).unwrap_or(i32::MAX)
    }

    /// Lets in one attempt, if there is room for it.
    ///
    /// # Errors
    /// [`Full`].
    pub fn enter(&self, endpoint: &EndpointId, pace: Pace) -> Result<Lane, Full> {
        let mut open = locked(&self.open);
        let own = || open.iter().filter(|attempt| attempt.endpoint == *endpoint);
        // One of its own that hangs says more than how it was before.
        let hangs = own().any(|attempt| attempt.since.elapsed() > SLOW);
        let cap = if pace == Pace::Silent || hangs { 1 } else { self.cap };
        if own().count() >= cap {
            return Err(Full::Endpoint);
        }
        let slow = open.iter().filter(|attempt| attempt.is_slow()).count();
        if pace != Pace::Prompt && slow >= self.slow_share {
            return Err(Full::Slow);
        }
        let number = open.last().map_or(0, |last| last.number + 1);
        let since = Instant::now();
        open.push(Attempt { number, endpoint: endpoint.clone(), pace, since });
        Ok(Lane { number, open: self.open.clone() })
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        locked(&self.open).retain(|attempt| attempt.number != self.number);
    }
}

fn locked(open: &Mutex<Vec<Attempt>>) -> MutexGuard<'_, Vec<Attempt>> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use latchkey_shared::clock::Clock;

    use super::*;

    fn endpoint() -> EndpointId {
        EndpointId::new(&Clock::system())
    }

    #[tokio::test]
    async fn an_endpoint_has_its_own_cap() {
        let lanes = Lanes::new(2, 32);
        let (one, other) = (endpoint(), endpoint());
        let first = lanes.enter(&one, Pace::Prompt).unwrap();
        let _second = lanes.enter(&one, Pace::Prompt).unwrap();
        assert_eq!(lanes.enter(&one, Pace::Prompt).unwrap_err(), Full::Endpoint);
        let _others = lanes.enter(&other, Pace::Prompt).unwrap();
        drop(first);
        assert!(lanes.enter(&one, Pace::Prompt).is_ok());
    }

    #[tokio::test]
    async fn a_silent_one_gets_one_attempt() {
        let lanes = Lanes::new(4, 32);
        let silent = endpoint();
        let _only = lanes.enter(&silent, Pace::Silent).unwrap();
        assert_eq!(lanes.enter(&silent, Pace::Silent).unwrap_err(), Full::Endpoint);
    }

    #[tokio::test]
    async fn one_that_hangs_gets_no_more_before_it_has_answered() {
        let lanes = Lanes::new(4, 32);
        let new = endpoint();
        let hanging = lanes.enter(&new, Pace::Prompt).unwrap();
        locked(&lanes.open)[0].since -= SLOW + Duration::from_millis(1);
        assert_eq!(lanes.enter(&new, Pace::Prompt).unwrap_err(), Full::Endpoint);
        drop(hanging);
        assert!(lanes.enter(&new, Pace::Prompt).is_ok());
    }

    #[tokio::test]
    async fn all_that_are_slow_have_half_of_the_turns() {
        let lanes = Lanes::new(4, 6);
        let slow: Vec<_> = (0..3).map(|_| lanes.enter(&endpoint(), Pace::Slow).unwrap()).collect();
        assert_eq!(lanes.enter(&endpoint(), Pace::Silent).unwrap_err(), Full::Slow);
        assert!(lanes.enter(&endpoint(), Pace::Prompt).is_ok());
        drop(slow);
        assert!(lanes.enter(&endpoint(), Pace::Slow).is_ok());
    }
}
