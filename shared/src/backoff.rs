//! How long to wait before trying again.
//!
//! The only module that names the unmaintained `backoff` crate: replacing it touches nothing else.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;

use crate::random;

/// Exponential growth from a first delay to a ceiling, with full jitter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Policy {
    /// The ceiling of the first delay.
    pub first: Duration,
    /// The ceiling of every delay.
    pub max: Duration,
}

impl Policy {
    /// Doubling from `first` to `max`.
    #[must_use]
    pub const fn new(first: Duration, max: Duration) -> Self {
        Self { first, max }
    }

    /// The largest delay after `attempts` failures (1 = the first).
    #[must_use]
    pub fn ceiling(&self, attempts: u32) -> Duration {
        let mut steps = self.steps();
        (0..attempts.clamp(1, 64)).filter_map(|_| steps.next_backoff()).last().unwrap_or(self.max)
    }

    /// A delay drawn evenly between nothing and the ceiling, so that those who failed together
    /// do not come back together.
    #[must_use]
    pub fn delay(&self, attempts: u32) -> Duration {
        self.ceiling(attempts).mul_f64(random::unit())
    }

    fn steps(&self) -> ExponentialBackoff {
        ExponentialBackoff {
            current_interval: self.first,
            initial_interval: self.first,
            randomization_factor: 0.0,
            multiplier: 2.0,
            max_interval: self.max,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy::new(Duration::from_secs(1), Duration::from_secs(300));

    #[test]
    fn doubles_up_to_the_ceiling() {
        let seconds: Vec<u64> = (1..=11).map(|n| POLICY.ceiling(n).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    }

    #[test]
    fn jitter_stays_below_the_ceiling_and_varies() {
        let delays: Vec<Duration> = (0..64).map(|_| POLICY.delay(5)).collect();
        assert!(delays.iter().all(|delay| *delay < Duration::from_secs(16)));
        assert!(delays.iter().any(|delay| *delay != delays[0]));
    }
}
