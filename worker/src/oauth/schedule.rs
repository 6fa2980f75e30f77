//! When a token is refreshed.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use latchkey_shared::backoff::Policy;
use latchkey_shared::db::grants::Grant;
use latchkey_shared::ids::{AccountId, GrantId};
use latchkey_shared::platforms::{Platform, RefreshModel};
use latchkey_shared::random;
use sha2::{Digest as _, Sha256};

use super::refusal::Doubt;

/// While the access token lives, and for a day after it has ended.
const RETRY: Policy = Policy::new(Duration::from_secs(1), Duration::from_secs(300));
/// After that.
const RETRY_WHEN_LAPSED: TimeDelta = TimeDelta::hours(1);
/// A token that extends itself is extended so often at least: that shows early that the person has removed us.
const EXTENDED_EVERY: Duration = Duration::from_secs(7 * 86_400);
/// How long before its end the longest-lived token is refreshed at least, if it lives that long twice.
pub const LEAST_MARGIN: Duration = Duration::from_secs(1800);
/// A platform's wish is kept to by this much, so that those who heard it together do not come together.
const MAX_WISH_JITTER: Duration = Duration::from_secs(5);

/// Expiry minus a margin, the margin being the larger of a tenth of the lifetime and 30 min but never
/// more than half the lifetime; then earlier by up to a fifth of the margin, the same for one grant
/// every time, so that grants which began together do not stay together. A token that extends itself
/// is extended once a week, when it is old enough, and no grant is refreshed more often than its platform is to be asked.
#[must_use]
pub fn refresh_at(
    platform: &Platform,
    grant: &GrantId,
    issued_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> DateTime<Utc> {
    let lifetime = (expires_at - issued_at).max(TimeDelta::zero());
    let least = TimeDelta::from_std(LEAST_MARGIN).unwrap_or_default();
    let margin = (lifetime / 10).max(least).min(lifetime / 2);
    let jitter = (margin / 5).as_seconds_f64() * share(grant.as_str());
    let at = expires_at - margin - TimeDelta::milliseconds((jitter * 1000.0) as i64);
    let at = match platform.refresh {
        RefreshModel::SelfExtending { .. } => {
            at.min(issued_at + spread(EXTENDED_EVERY, grant.as_str()))
        }
        _ => at,
    };
    let spaced = platform.next_refresh_after(issued_at, Some(expires_at));
    [platform.refresh.earliest(issued_at), spaced].into_iter().flatten().fold(at, Ord::max)
}

/// When to try again, and from when on another call's success may bring that forward.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Retry {
    /// At the latest.
    pub at: DateTime<Utc>,
    /// `None`: no success does.
    pub wake_at: Option<DateTime<Utc>>,
}

/// When to try again after a failure that did not spend the token. A wish of the platform comes before our
/// own patience.
#[must_use]
pub fn retry(grant: &Grant, now: DateTime<Utc>, asked: Option<Duration>) -> Retry {
    let failures = failures(grant);
    let lapsed_long = grant.access_expires_at.is_some_and(|end| end + TimeDelta::days(1) <= now);
    let delay = match asked {
        Some(asked) => {
            let least = RETRY.ceiling(failures.min(4));
            let jitter = (asked / 10).min(MAX_WISH_JITTER).mul_f64(random::unit());
            delta(asked.max(least) + jitter)
        }
        None if lapsed_long => RETRY_WHEN_LAPSED,
        None => delta(RETRY.delay(failures)),
    };
    let wakes = asked.is_none();
    Retry { at: now + delay, wake_at: wakes.then(|| now + delta(RETRY.ceiling(failures))) }
}

/// When a token is presented once more that may have been spent. `lead` before the access token's end is the
/// last time for it: what can still be had comes in until then.
///
/// - A platform that forgives a lost answer for a while gets it at once, and then as after any failure.
/// - After an answer such as a gateway's 502 no other can follow, and most such answers had no effect: when
///   half of what is left of the access token's life has passed, or once another call of the app has
///   succeeded.
/// - After silence the answer may still come, and an early second try can only end the consent: `lead`
///   before the end, whatever succeeds.
#[must_use]
pub fn second_try(
    model: RefreshModel,
    grant: &Grant,
    now: DateTime<Utc>,
    doubt: Doubt,
    lead: TimeDelta,
) -> Retry {
    if matches!(model, RefreshModel::Rotating { grace: Some(_) }) {
        let first = grant.in_doubt_since.is_none();
        return if first { Retry { at: now, wake_at: None } } else { retry(grant, now, None) };
    }
    let end = grant.access_expires_at.unwrap_or(now);
    let last = end - lead;
    match doubt {
        _ if end <= now => retry(grant, now, None),
        Doubt::Silent if now < last => Retry { at: last, wake_at: None },
        Doubt::Silent => Retry { wake_at: None, ..retry(grant, now, None) },
        Doubt::Answered => {
            let half = now + (end - now) / 2;
            let at = if half > last && now < last { last } else { half };
            let wake_at = Some(now + delta(RETRY.ceiling(failures(grant))));
            Retry { at: at.max(now + TimeDelta::seconds(1)), wake_at }
        }
    }
}

/// When a person's act at the platform is awaited: minutes at first, hours later.
#[must_use]
pub fn retry_when_person_acts(grant: &Grant, now: DateTime<Utc>) -> Retry {
    const ACT: Policy = Policy::new(Duration::from_secs(300), Duration::from_secs(6 * 3600));
    Retry { at: now + delta(ACT.ceiling(failures(grant))), wake_at: None }
}

fn failures(grant: &Grant) -> u32 {
    u32::try_from(grant.attempts).unwrap_or(0) + 1
}

fn delta(wait: Duration) -> TimeDelta {
    TimeDelta::from_std(wait).unwrap_or(TimeDelta::hours(1))
}

/// When an account's own token is looked at next: `every` so often, earlier by up to a tenth, the same
/// for one account every time.
#[must_use]
pub fn check_at(account: &AccountId, now: DateTime<Utc>, every: Duration) -> DateTime<Utc> {
    now + spread(every, account.as_str())
}

/// So long, less up to a tenth, the same for one id every time.
fn spread(every: Duration, id: &str) -> TimeDelta {
    let early = every.as_secs_f64() / 10.0 * share(id);
    let wait = every.saturating_sub(Duration::from_secs_f64(early));
    TimeDelta::from_std(wait).unwrap_or(TimeDelta::days(1))
}

/// Between 0 and 1, from the id alone.
fn share(id: &str) -> f64 {
    let digest = Sha256::digest(id.as_bytes());
    f64::from(u16::from_be_bytes([digest[0], digest[1]])) / f64::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use latchkey_shared::clock::Clock;
    use latchkey_shared::db::grants::GrantStatus;
    use latchkey_shared::ids::WorkspaceId;

    use super::super::refusal::tests::platforms;
    use super::*;

    const STRICT: RefreshModel = RefreshModel::Rotating { grace: None };

    fn margin_of(lifetime: TimeDelta) -> TimeDelta {
        let (clock, platforms) = (Clock::system(), platforms());
        let (issued, sandbox) = (clock.now(), platforms.get("SANDBOX").unwrap());
        let expires = issued + lifetime;
        expires - refresh_at(sandbox, &GrantId::new(&clock), issued, expires)
    }

    /// A grant whose access token lives for `left` more.
    fn grant(left: TimeDelta, attempts: i32) -> (Grant, DateTime<Utc>) {
        let clock = Clock::system();
        let now = clock.now();
        let grant = Grant {
            id: GrantId::new(&clock),
            workspace_id: WorkspaceId::new(&clock),
            platform: "X".to_owned(),
            app_id: None,
            status: GrantStatus::Active,
            generation: 1,
            sealed_tokens: None,
            renewable: true,
            scopes: Vec::new(),
            holder_hash: None,
            issued_at: now,
            access_expires_at: Some(now + left),
            refresh_expires_at: None,
            refresh_at: None,
            attempts,
            lease_until: None,
            calling_generation: None,
            in_doubt_since: None,
            overdue_since: None,
            last_refreshed_at: None,
            last_error_code: None,
            last_error_at: None,
            released_at: None,
            reauth_at: None,
            lease_holder: None,
            refused_since: None,
            refused_as: None,
            action_needed_since: None,
        };
        (grant, now)
    }

    #[test]
    fn the_margin_fits_the_lifetime() {
        for (lifetime, least) in [
            (TimeDelta::days(60), TimeDelta::days(6)),
            (TimeDelta::hours(2), TimeDelta::minutes(30)),
            (TimeDelta::minutes(20), TimeDelta::minutes(10)),
            (TimeDelta::seconds(6), TimeDelta::seconds(3)),
        ] {
            let margin = margin_of(lifetime);
            assert!(
                margin >= least && margin <= least + least / 5 + TimeDelta::milliseconds(1),
                "{lifetime}: {margin}"
            );
        }
    }

    #[test]
    fn one_grant_is_refreshed_once_a_minute_unless_its_token_would_lapse() {
        let (clock, platforms) = (Clock::system(), platforms());
        let (issued, x) = (clock.now(), platforms.get("X").unwrap());
        let age = |life: i64| {
            let end = issued + TimeDelta::seconds(life);
            (refresh_at(x, &GrantId::new(&clock), issued, end) - issued).num_seconds()
        };
        assert_eq!((age(1), age(30)), (60, 60), "whatever the platform says");
        assert_eq!((age(60), age(90)), (30, 45));
        assert_eq!(age(120), 60);
    }

    #[test]
    fn jitter_is_the_same_for_one_grant_and_differs_between_grants() {
        let clock = Clock::system();
        let (issued, grants) =
            (clock.now(), [GrantId::new(&clock), GrantId::new(&clock), GrantId::new(&clock)]);
        let end = issued + TimeDelta::hours(1);
        let platforms = platforms();
        let at = |grant| refresh_at(platforms.get("X").unwrap(), grant, issued, end);
        assert_eq!(at(&grants[0]), at(&grants[0]));
        assert!(grants.iter().any(|grant| at(grant) != at(&grants[0])));
    }

    #[test]
    fn backoff_goes_on_after_the_end_for_a_day_and_then_hourly() {
        let wait = |left, attempts| {
            let (grant, now) = grant(left, attempts);
            retry(&grant, now, None).at - now
        };
        for _ in 0..50 {
            assert!(wait(TimeDelta::hours(1), 0) <= TimeDelta::seconds(1));
            assert!(wait(TimeDelta::minutes(-1), 4) <= TimeDelta::seconds(16));
            assert!(wait(TimeDelta::hours(-23), 40) <= TimeDelta::minutes(5));
        }
        assert_eq!(wait(TimeDelta::hours(-25), 40), TimeDelta::hours(1));
    }

    #[test]
    fn a_wish_of_the_platform_comes_before_our_own_patience() {
        for (left, attempts) in [(TimeDelta::hours(1), 0), (TimeDelta::days(-2), 40)] {
            let (grant, now) = grant(left, attempts);
            let wished = retry(&grant, now, Some(Duration::from_secs(20)));
            let wait = wished.at - now;
            assert!(wait >= TimeDelta::seconds(20) && wait <= TimeDelta::seconds(22), "{wait}");
            assert_eq!(wished.wake_at, None, "the pause ends by itself");
            let hasty = retry(&grant, now, Some(Duration::ZERO)).at - now;
            assert!(hasty >= TimeDelta::seconds(1), "{hasty}");
        }
    }

    #[test]
    fn after_an_answer_the_second_try_comes_at_half_of_what_is_left_and_last_before_the_end() {
        let lead = TimeDelta::seconds(30);
        let at = |left, doubt| {
            let (grant, now) = grant(TimeDelta::seconds(left), 0);
            let second = second_try(STRICT, &grant, now, doubt, lead);
            ((second.at - now).num_seconds(), second.wake_at.is_some())
        };
        assert_eq!(at(3600, Doubt::Answered), (1800, true));
        assert_eq!(at(50, Doubt::Answered), (20, true), "30 s before the end");
        assert_eq!(at(20, Doubt::Answered), (10, true), "no account waits for its last seconds");
        assert_eq!(at(3600, Doubt::Silent), (3570, false), "an answer may still come");
        assert!(at(-5, Doubt::Answered).0 <= 1, "then as after any failure");
    }

    #[test]
    fn a_grace_window_gets_the_second_try_at_once() {
        let grace = RefreshModel::Rotating { grace: Some(Duration::from_secs(60)) };
        let (grant, now) = grant(TimeDelta::hours(1), 0);
        let second = second_try(grace, &grant, now, Doubt::Silent, TimeDelta::seconds(30));
        assert_eq!(second.at, now);
    }
}
