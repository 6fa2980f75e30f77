//! When a token is refreshed.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use latchkey_shared::backoff::Policy;
use latchkey_shared::db::grants::Grant;
use latchkey_shared::ids::{AccountId, GrantId};
use latchkey_shared::platforms::RefreshModel;
use sha2::{Digest as _, Sha256};

/// While the access token lives; afterwards every hour.
const RETRY: Policy = Policy::new(Duration::from_secs(1), Duration::from_secs(300));
/// How long before its end the longest-lived token is refreshed at least, if it lives that long twice.
pub const LEAST_MARGIN: Duration = Duration::from_secs(300);
const RETRY_WHEN_LAPSED: Policy = Policy::new(Duration::from_secs(3600), Duration::from_secs(3600));

/// Expiry minus a margin, the margin being the larger of a tenth of the lifetime and 5 min but never
/// more than half the lifetime; then earlier by up to a fifth of the margin, the same for one grant
/// every time, so that grants which began together do not stay together. A token that extends itself
/// waits until it is old enough.
#[must_use]
pub fn refresh_at(
    model: RefreshModel,
    grant: &GrantId,
    issued_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> DateTime<Utc> {
    let lifetime = (expires_at - issued_at).max(TimeDelta::zero());
    let least = TimeDelta::from_std(LEAST_MARGIN).unwrap_or_default();
    let margin = (lifetime / 10).max(least).min(lifetime / 2);
    let jitter = (margin / 5).as_seconds_f64() * share(grant.as_str());
    let at = expires_at - margin - TimeDelta::milliseconds((jitter * 1000.0) as i64);
    model.earliest(issued_at).map_or(at, |earliest| at.max(earliest))
}

/// When to try again after a failure that did not spend the token.
#[must_use]
pub fn retry_at(grant: &Grant, now: DateTime<Utc>, retry_after: Option<Duration>) -> DateTime<Utc> {
    let lapsed = grant.access_expires_at.is_some_and(|end| end <= now);
    let failures = u32::try_from(grant.attempts).unwrap_or(0) + 1;
    let delay = if lapsed { RETRY_WHEN_LAPSED.ceiling(failures) } else { RETRY.delay(failures) };
    now + TimeDelta::from_std(delay.max(retry_after.unwrap_or_default()))
        .unwrap_or(TimeDelta::hours(1))
}

/// When a token that may have been spent is presented once more. A platform that forgives a lost
/// answer for a while gets it at once. Every other gets it `lead` before the access token's end: a
/// slow answer may still come in until then, and an earlier second try can only end the consent.
#[must_use]
pub fn second_try_at(
    model: RefreshModel,
    grant: &Grant,
    now: DateTime<Utc>,
    lead: TimeDelta,
) -> DateTime<Utc> {
    if matches!(model, RefreshModel::Rotating { grace: Some(_) }) {
        return now;
    }
    grant.access_expires_at.map_or(now, |end| (end - lead).max(now))
}

/// When an account's own token is looked at next: `every` so often, earlier by up to a tenth, the same
/// for one account every time.
#[must_use]
pub fn check_at(account: &AccountId, now: DateTime<Utc>, every: Duration) -> DateTime<Utc> {
    let early = every.as_secs_f64() / 10.0 * share(account.as_str());
    let wait = every.saturating_sub(Duration::from_secs_f64(early));
    now + TimeDelta::from_std(wait).unwrap_or(TimeDelta::days(1))
}

/// Between 0 and 1, from the id alone.
fn share(id: &str) -> f64 {
    let digest = Sha256::digest(id.as_bytes());
    f64::from(u16::from_be_bytes([digest[0], digest[1]])) / f64::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use latchkey_shared::clock::Clock;

    use super::*;

    fn margin_of(lifetime: TimeDelta) -> TimeDelta {
        let clock = Clock::system();
        let issued = clock.now();
        let expires = issued + lifetime;
        expires - refresh_at(RefreshModel::Stable, &GrantId::new(&clock), issued, expires)
    }

    #[test]
    fn the_margin_fits_the_lifetime() {
        for (lifetime, least) in [
            (TimeDelta::days(60), TimeDelta::days(6)),
            (TimeDelta::hours(2), TimeDelta::minutes(12)),
            (TimeDelta::minutes(20), TimeDelta::minutes(5)),
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
    fn jitter_is_the_same_for_one_grant_and_differs_between_grants() {
        let clock = Clock::system();
        let (issued, grants) =
            (clock.now(), [GrantId::new(&clock), GrantId::new(&clock), GrantId::new(&clock)]);
        let at =
            |grant| refresh_at(RefreshModel::Stable, grant, issued, issued + TimeDelta::hours(1));
        assert_eq!(at(&grants[0]), at(&grants[0]));
        assert!(grants.iter().any(|grant| at(grant) != at(&grants[0])));
    }
}
