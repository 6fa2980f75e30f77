//! When a delivery is tried again.

use std::time::Duration;

use chrono::TimeDelta;
use latchkey_shared::random;

/// Between one attempt and the next; after the last the delivery has failed.
const SCHEDULE: [u64; 9] = [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400];

/// From now to the next attempt, after so many in this round: the schedule's delay, more or less a tenth,
/// or what the endpoint asked for if that is longer. `None` after the last.
pub(super) fn next_attempt(made: i32, asked: Option<Duration>) -> Option<TimeDelta> {
    let made = usize::try_from(made).unwrap_or(1).max(1);
    let planned = SCHEDULE
        .get(made - 1)
        .map(|seconds| Duration::from_secs(*seconds).mul_f64(0.9 + 0.2 * random::unit()))?;
    TimeDelta::from_std(planned.max(asked.unwrap_or_default())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_is_followed_within_a_tenth_and_ends() {
        for (made, seconds) in SCHEDULE.iter().enumerate() {
            let next =
                next_attempt(i32::try_from(made).unwrap() + 1, None).unwrap().as_seconds_f64();
            let planned = *seconds as f64;
            assert!((planned * 0.9..=planned * 1.1).contains(&next), "{made}: {next}");
        }
        assert!(next_attempt(10, None).is_none());
    }

    #[test]
    fn an_endpoint_may_ask_for_more_patience_but_not_less() {
        let asked = |seconds| Some(Duration::from_secs(seconds));
        assert!(next_attempt(1, asked(600)).unwrap() == TimeDelta::seconds(600));
        assert!(next_attempt(2, asked(1)).unwrap() >= TimeDelta::seconds(270));
    }
}
