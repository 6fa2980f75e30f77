//! Token buckets: how many requests a minute each key, or each address, may send to this process.
//!
//! A bucket holds a minute's worth and fills evenly. It is kept as the one instant at which it will be
//! full again (GCRA), so that a full bucket is as good as none, and memory stays bounded.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use latchkey_shared::clock::Clock;

/// More buckets than this are never kept.
const MAX_BUCKETS: usize = 50_000;
const MINUTE_US: i64 = 60_000_000;

/// A bucket for each `K`.
#[derive(Debug)]
pub(crate) struct Budget<K> {
    per_minute: i64,
    clock: Clock,
    /// When each bucket is full again, in microseconds of the clock.
    full_at: Mutex<HashMap<K, i64>>,
}

/// How a bucket stands after a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Standing {
    /// What the bucket holds when it is full.
    pub(crate) limit: i64,
    /// What it holds now.
    pub(crate) remaining: i64,
    /// In how many seconds it is full again.
    pub(crate) reset: i64,
    /// In how many seconds it holds something again, if the request got nothing.
    pub(crate) retry_after: Option<i64>,
}

impl<K: Eq + Hash> Budget<K> {
    /// A budget of so many requests a minute; 0: no limit.
    pub(crate) fn new(per_minute: u32, clock: Clock) -> Self {
        Self { per_minute: per_minute.into(), clock, full_at: Mutex::default() }
    }

    /// Takes one from the bucket, if there is a limit.
    pub(crate) fn take(&self, key: K) -> Option<Standing> {
        let now = self.now()?;
        let mut buckets = self.buckets();
        make_room(&mut buckets, now);
        let full_at = buckets.entry(key).or_insert(now);
        let (standing, after) = self.standing(*full_at, now);
        *full_at = after;
        Some(standing)
    }

    /// How long a bucket stays empty, if it is.
    pub(crate) fn empty_for(&self, key: &K) -> Option<i64> {
        let now = self.now()?;
        let full_at = *self.buckets().get(key)?;
        self.standing(full_at, now).0.retry_after
    }

    /// Whether something was taken for this key lately. Without a limit everybody is known.
    pub(crate) fn knows(&self, key: &K) -> bool {
        self.per_minute == 0 || self.buckets().contains_key(key)
    }

    /// The present; `None` without a limit.
    fn now(&self) -> Option<i64> {
        (self.per_minute > 0).then(|| self.clock.now().timestamp_micros())
    }

    /// What one more request comes to, and when the bucket is full after it.
    fn standing(&self, full_at: i64, now: i64) -> (Standing, i64) {
        let each = MINUTE_US / self.per_minute;
        // A clock that was set back must not shut anybody out for longer than a minute.
        let before = full_at.clamp(now, now + MINUTE_US);
        let after = before + each;
        let short = after - now - MINUTE_US;
        let granted = short <= 0;
        let full_at = if granted { after } else { before };
        let standing = Standing {
            limit: self.per_minute,
            remaining: (MINUTE_US - (full_at - now)) / each,
            reset: seconds(full_at - now),
            retry_after: (!granted).then(|| seconds(short)),
        };
        (standing, full_at)
    }

    fn buckets(&self) -> MutexGuard<'_, HashMap<K, i64>> {
        self.full_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn seconds(micros: i64) -> i64 {
    (micros + 999_999) / 1_000_000
}

/// Full buckets say nothing. If it is still tight without them, all are forgotten: that many in use
/// at once are no longer worth telling apart, and looking through them each time would cost more.
fn make_room<K: Eq + Hash>(buckets: &mut HashMap<K, i64>, now: i64) {
    if buckets.len() < MAX_BUCKETS {
        return;
    }
    buckets.retain(|_, full_at| *full_at > now);
    if buckets.len() > MAX_BUCKETS / 2 {
        buckets.clear();
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn budget(per_minute: u32) -> (Budget<u32>, Clock) {
        let clock = Clock::system();
        (Budget::new(per_minute, clock.clone()), clock)
    }

    #[test]
    fn a_bucket_holds_a_minutes_worth_and_fills_evenly() {
        let (budget, clock) = budget(6);
        for left in (0..6).rev() {
            let standing = budget.take(1).unwrap();
            assert_eq!((standing.limit, standing.remaining), (6, left));
            assert_eq!(standing.retry_after, None);
        }
        assert_eq!(budget.take(1).unwrap().retry_after, Some(10));
        assert_eq!(budget.empty_for(&1), Some(10));
        assert_eq!(budget.take(2).unwrap().remaining, 5, "another key has a bucket of its own");
        clock.advance(TimeDelta::seconds(10));
        assert_eq!(budget.take(1).unwrap().retry_after, None);
        assert_eq!(budget.take(1).unwrap().retry_after, Some(10), "one every ten seconds");
        clock.advance(TimeDelta::minutes(5));
        assert_eq!(budget.take(1).unwrap().remaining, 5, "never more than a minute's worth");
    }

    #[test]
    fn being_refused_costs_nothing() {
        let (budget, clock) = budget(1);
        budget.take(1);
        for _ in 0..100 {
            assert_eq!(budget.take(1).unwrap().retry_after, Some(60));
        }
        clock.advance(TimeDelta::seconds(60));
        assert_eq!(budget.take(1).unwrap().retry_after, None);
    }

    #[test]
    fn a_limit_that_divides_no_minute_is_kept_too() {
        for limit in [7_u32, 11, 601, 7919] {
            let (budget, _) = budget(limit);
            let refused = |budget: &Budget<u32>| budget.take(1).unwrap().retry_after.is_some();
            let granted = (0..2 * u64::from(limit)).take_while(|_| !refused(&budget)).count();
            // While they are counted the bucket fills a little.
            assert!(granted >= limit as usize, "{granted} of {limit}");
        }
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let (budget, _) = budget(0);
        assert_eq!(budget.take(1), None);
        assert_eq!(budget.empty_for(&1), None);
        assert!(budget.knows(&1));
    }

    #[test]
    fn a_clock_that_is_set_back_shuts_nobody_out_for_long() {
        let (budget, clock) = budget(2);
        clock.advance(TimeDelta::days(1));
        budget.take(1);
        clock.advance(TimeDelta::days(-1));
        let refused = budget.take(1).unwrap();
        assert!(refused.retry_after.is_some_and(|seconds| seconds <= 60), "{refused:?}");
    }

    #[test]
    fn memory_is_bounded() {
        let (budget, _) = budget(1);
        for key in 0..u32::try_from(3 * MAX_BUCKETS).unwrap() {
            budget.take(key);
        }
        assert!(budget.buckets().len() <= MAX_BUCKETS);
    }
}
