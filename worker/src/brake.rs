//! The brake of a platform app: when its calls fail in a row, or its platform refuses our client, only probes
//! call, and no account expires. The first good answer takes it off.
//!
//! Where organisations share an app, the accounts of one alone put no brake on it: what befalls them may be of its
//! own making.
//!
//! A brake that was on for hours while probes were refused in clear words is taken off as well: then the
//! refusals are true.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use latchkey_shared::db::app_health::{Announcement, AppHealth, Cause};
use latchkey_shared::ids::OrganisationId;
use serde_json::{Map, Value};

/// Between the organisation and the grant in the name of a failing one.
const OF: char = '/';
/// How many failing grants a row remembers: enough to brake.
const MAX_FAILING: usize = 32;
/// Refusals in clear words for so long are true.
const BELIEVED_AFTER: TimeDelta = TimeDelta::hours(6);
/// While the platform refuses our client, asking more often helps nobody.
const CLIENT_PROBE: TimeDelta = TimeDelta::minutes(5);
const HALF_LIFE: TimeDelta = TimeDelta::minutes(10);
/// So many refused grants, and this share of all calls, are more than die in truth.
const LEAST_SUSPICIOUS: f64 = 4.0;
const SUSPICIOUS_SHARE: f64 = 0.2;
const FIRST_PROBE: TimeDelta = TimeDelta::seconds(2);
const LAST_PROBE: TimeDelta = TimeDelta::seconds(30);

/// A call that brought no tokens.
#[derive(Clone, Copy, Debug)]
pub struct Failed<'a> {
    /// What that says about the app.
    pub cause: Cause,
    /// Its code.
    pub reason: &'a str,
    /// The grant, or the account, that it was made for.
    pub subject: &'a str,
    /// Since when that one has been refused before.
    pub refused_since: Option<DateTime<Utc>>,
    /// Whether its token may have been spent before: then it is refused with reason.
    pub in_doubt: bool,
}

/// Calls that brought tokens.
#[derive(Clone, Copy, Debug)]
pub struct Succeeded {
    /// When the newest was begun.
    pub called_at: DateTime<Utc>,
    /// How many there were since the last note.
    pub count: usize,
    /// Whether its grant had been refused before: that refusal was wrong.
    pub was_refused: bool,
}

/// What became of the brake.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Change {
    /// It is on from now on.
    Braked,
    /// It is off: the platform answers again.
    Recovered {
        /// Since when it was on.
        since: DateTime<Utc>,
    },
    /// It is off: the refusals are true.
    Believed {
        /// Since when it was on.
        since: DateTime<Utc>,
    },
}

/// How long after one probe the next may call: a tenth of the time that the trouble has lasted, within bounds.
#[must_use]
pub fn probe_interval(health: &AppHealth, now: DateTime<Utc>) -> TimeDelta {
    if health.cause == Some(Cause::Client) {
        return CLIENT_PROBE;
    }
    let lasted = health.braked_since.map_or(TimeDelta::zero(), |since| now - since);
    (lasted / 10).clamp(FIRST_PROBE, LAST_PROBE)
}

/// Notes a failure; `brake_after` grants that fail in a row put the brake on. `organisation`: the grant's, if
/// others have accounts through the app, too.
pub fn after_failure(
    health: &mut AppHealth,
    failed: &Failed<'_>,
    brake_after: usize,
    organisation: Option<&OrganisationId>,
    now: DateTime<Utc>,
) -> Option<Change> {
    let name = organisation.map(|own| format!("{own}{OF}{}", failed.subject));
    let failed = &Failed { subject: name.as_deref().unwrap_or(failed.subject), ..*failed };
    count_recent(health, now);
    // Refused before, while others were refreshed since, or spent unread: that is this grant's own affair.
    let own_affair =
        failed.cause == Cause::Refusals && (failed.in_doubt || was_passed_over(health, failed));
    if failed.cause == Cause::Refusals && failed.refused_since.is_none() && !failed.in_doubt {
        health.recent_refusals += 1.0;
    }
    if own_affair && health.braked_since.is_none() {
        return None;
    }
    let clients_fault = failed.cause == Cause::Client && is_clients_fault(health, failed);
    remember(health, failed, now);
    health.refused_since = match failed.cause {
        Cause::Refusals => health.refused_since.or(Some(now)),
        Cause::Failures | Cause::Client => None,
    };
    if let Some(since) = health.braked_since {
        if clients_fault {
            health.cause = Some(Cause::Client);
        }
        if health.refused_since.is_some_and(|refused| now - refused >= BELIEVED_AFTER) {
            health.refusals_believed = true;
            open(health, since, now);
            return Some(Change::Believed { since });
        }
        health.probe_at = Some(now + probe_interval(health, now));
        return None;
    }
    let in_a_row = failing(health).len() >= brake_after && failed.cause != Cause::Client;
    let doubted = failed.cause != Cause::Refusals || !health.refusals_believed;
    let widespread = organisation.is_none() || organisations(health).len() > 1;
    if !(widespread && (clients_fault || (in_a_row && doubted))) {
        return None;
    }
    health.braked_since = Some(now);
    health.probe_at = Some(now + probe_interval(health, now));
    health.announce = Some(Announcement::Degraded);
    health.announce_since = Some(now);
    Some(Change::Braked)
}

/// Notes a call that brought tokens. One that was begun before the brake was on does not take it off.
pub fn after_success(
    health: &mut AppHealth,
    succeeded: Succeeded,
    now: DateTime<Utc>,
) -> Option<Change> {
    let called_at = succeeded.called_at;
    count_recent(health, now);
    health.recent_successes += succeeded.count as f64;
    if succeeded.was_refused {
        forget_refusal(health);
    }
    health.succeeded_at = Some(health.succeeded_at.map_or(called_at, |last| last.max(called_at)));
    if health.braked_since.is_some_and(|since| called_at < since) {
        return None;
    }
    health.failing = Value::Object(Map::new());
    (health.failing_since, health.refused_since) = (None, None);
    health.refusals_believed = false;
    let since = health.braked_since?;
    open(health, since, now);
    Some(Change::Recovered { since })
}

/// Whether more are refused lately than die: then nobody is judged by a refusal, even if others are refreshed.
#[must_use]
pub fn is_suspicious(health: &AppHealth) -> bool {
    let all = health.recent_refusals + health.recent_successes;
    health.recent_refusals >= LEAST_SUSPICIOUS && health.recent_refusals > SUSPICIOUS_SHARE * all
}

/// A refusal is explained: the grant was refreshed, or it has ended.
pub fn forget_refusal(health: &mut AppHealth) {
    health.recent_refusals = (health.recent_refusals - 1.0).max(0.0);
}

/// Lets what is long ago count less.
fn count_recent(health: &mut AppHealth, now: DateTime<Utc>) {
    let passed = health.recent_at.map_or(TimeDelta::zero(), |at| now - at).max(TimeDelta::zero());
    let left = 0.5_f64.powf(passed.as_seconds_f64() / HALF_LIFE.as_seconds_f64());
    health.recent_refusals *= left;
    health.recent_successes *= left;
    health.recent_at = Some(now);
}

fn was_passed_over(health: &AppHealth, failed: &Failed<'_>) -> bool {
    let since = failed.refused_since.zip(health.succeeded_at);
    since.is_some_and(|(refused, success)| success > refused)
}

/// Whether the client is at fault: another grant is refused in the same way, or this one was refused before
/// and none was refreshed since.
fn is_clients_fault(health: &AppHealth, failed: &Failed<'_>) -> bool {
    let others = failing(health).iter().any(|(grant, reason)| {
        grant.as_str() != failed.subject && reason.as_str() == Some(failed.reason)
    });
    let alone = |since| health.succeeded_at.is_none_or(|success| success < since);
    others || failed.refused_since.is_some_and(alone)
}

fn remember(health: &mut AppHealth, failed: &Failed<'_>, now: DateTime<Utc>) {
    health.failing_since.get_or_insert(now);
    health.cause = match (health.braked_since, health.cause) {
        // What a braked client's probes bring besides does not make it good.
        (Some(_), Some(Cause::Client)) => Some(Cause::Client),
        _ => Some(failed.cause),
    };
    health.reason = Some(failed.reason.to_owned());
    if let Value::Object(failing) = &mut health.failing
        && (failing.len() < MAX_FAILING || failing.contains_key(failed.subject))
    {
        failing.insert(failed.subject.to_owned(), failed.reason.into());
    }
}

/// Whose grants fail.
fn organisations(health: &AppHealth) -> BTreeSet<&str> {
    failing(health).keys().filter_map(|name| Some(name.split_once(OF)?.0)).collect()
}

fn failing(health: &AppHealth) -> &Map<String, Value> {
    static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    health.failing.as_object().unwrap_or(&NONE)
}

fn open(health: &mut AppHealth, since: DateTime<Utc>, now: DateTime<Utc>) {
    (health.braked_since, health.probe_at) = (None, None);
    health.opened_at = Some(now);
    // Who was never told of the trouble need not hear of its end.
    let untold = health.announce == Some(Announcement::Degraded);
    health.announce = (!untold).then_some(Announcement::Recovered);
    health.announce_since = Some(since);
}

#[cfg(test)]
mod tests {
    use latchkey_shared::clock::Clock;
    use latchkey_shared::db::app_health::AppKey;
    use latchkey_shared::ids::GrantId;

    use super::*;

    const AFTER: usize = 5;

    struct App {
        health: AppHealth,
        now: DateTime<Utc>,
        grants: Vec<GrantId>,
    }

    impl App {
        fn new() -> Self {
            let clock = Clock::system();
            let grants = (0..8).map(|_| GrantId::new(&clock)).collect();
            Self { health: AppHealth::good(&AppKey::new("X", None)), now: clock.now(), grants }
        }

        fn fails(&mut self, grant: usize, cause: Cause, reason: &str) -> Option<Change> {
            let failed = Failed {
                cause,
                reason,
                subject: self.grants[grant].as_str(),
                refused_since: None,
                in_doubt: false,
            };
            after_failure(&mut self.health, &failed, AFTER, None, self.now)
        }

        fn succeeds(&mut self) -> Option<Change> {
            after_success(&mut self.health, succeeded(self.now), self.now)
        }

        fn later(&mut self, by: TimeDelta) {
            self.now += by;
        }
    }

    fn succeeded(called_at: DateTime<Utc>) -> Succeeded {
        Succeeded { called_at, count: 1, was_refused: false }
    }

    #[test]
    fn a_grant_that_is_refused_again_while_others_are_refreshed_says_nothing_of_the_app() {
        let mut app = App::new();
        let first = app.now;
        app.later(TimeDelta::seconds(30));
        app.succeeds();
        app.later(TimeDelta::seconds(30));
        for grant in &app.grants.clone() {
            let refused_since = Some(first);
            let (cause, reason) = (Cause::Refusals, "invalid_grant");
            let subject = grant.as_str();
            let failed = Failed { cause, reason, subject, refused_since, in_doubt: false };
            assert_eq!(after_failure(&mut app.health, &failed, AFTER, None, app.now), None);
        }
    }

    #[test]
    fn refusals_of_many_among_successes_are_not_believed() {
        let mut app = App::new();
        for round in 0..40 {
            app.fails(round % 8, Cause::Refusals, "invalid_grant");
            app.succeeds();
        }
        assert!(is_suspicious(&app.health), "half of all");
        for _ in 0..40 {
            let right = Succeeded { was_refused: true, ..succeeded(app.now) };
            after_success(&mut app.health, right, app.now);
        }
        assert!(!is_suspicious(&app.health), "all of them were refreshed after all");
        for round in 0..200 {
            if round % 33 == 0 {
                app.fails(round % 8, Cause::Refusals, "invalid_grant");
            }
            app.succeeds();
        }
        assert!(!is_suspicious(&app.health), "three of a hundred die in truth");
        for grant in 0..8 {
            app.fails(grant, Cause::Refusals, "invalid_grant");
        }
        let (mut quiet, mut later) = (App::new(), TimeDelta::zero());
        for grant in 0..8 {
            quiet.fails(grant, Cause::Refusals, "invalid_grant");
        }
        while is_suspicious(&quiet.health) {
            later += TimeDelta::minutes(1);
            quiet.later(TimeDelta::minutes(1));
            quiet.succeeds();
        }
        assert!(later <= TimeDelta::minutes(20), "{later}");
    }

    #[test]
    fn one_of_several_organisations_puts_no_brake_on() {
        let clock = Clock::system();
        let (own, other) = (OrganisationId::new(&clock), OrganisationId::new(&clock));
        for (cause, reason) in [
            (Cause::Refusals, "invalid_grant"),
            (Cause::Failures, "http_503"),
            (Cause::Client, "invalid_client"),
        ] {
            let mut app = App::new();
            let refused_since = (cause == Cause::Client).then_some(app.now);
            let fails = |app: &mut App, grant: usize, whose| {
                let subject = app.grants[grant].as_str();
                let failed = Failed { cause, reason, subject, refused_since, in_doubt: false };
                after_failure(&mut app.health, &failed, AFTER, Some(whose), app.now)
            };
            for grant in 0..7 {
                assert_eq!(fails(&mut app, grant, &own), None, "{reason}");
            }
            assert_eq!(fails(&mut app, 7, &other), Some(Change::Braked), "{reason}");
        }
    }

    #[test]
    fn grants_that_fail_in_a_row_put_the_brake_on_and_a_success_takes_it_off() {
        let mut app = App::new();
        for grant in 0..4 {
            assert_eq!(app.fails(grant, Cause::Failures, "http_503"), None);
        }
        assert_eq!(app.fails(3, Cause::Failures, "http_503"), None, "one grant counts once");
        assert_eq!(app.fails(4, Cause::Failures, "http_503"), Some(Change::Braked));
        let since = app.now;
        app.later(TimeDelta::minutes(3));
        assert_eq!(app.fails(5, Cause::Failures, "http_503"), None, "told once");
        assert_eq!(app.health.probe_at, Some(app.now + TimeDelta::seconds(18)));
        let early = succeeded(since - TimeDelta::seconds(1));
        let early = after_success(&mut app.health, early, app.now);
        assert_eq!(early, None, "that call was begun before");
        assert_eq!(app.succeeds(), Some(Change::Recovered { since }));
        assert_eq!(app.health.failing, serde_json::json!({}));
        assert_eq!(app.fails(0, Cause::Failures, "http_503"), None, "it counts anew");
    }

    #[test]
    fn a_success_in_between_begins_the_count_anew() {
        let mut app = App::new();
        for grant in 0..8 {
            assert_eq!(app.fails(grant, Cause::Refusals, "invalid_grant"), None);
            if grant % 3 == 0 {
                assert_eq!(app.succeeds(), None);
            }
        }
    }

    #[test]
    fn tokens_that_were_spent_unread_say_nothing_of_the_app() {
        let mut app = App::new();
        for grant in &app.grants.clone() {
            let (cause, subject) = (Cause::Refusals, grant.as_str());
            let reason = "invalid_grant";
            let failed = Failed { cause, reason, subject, refused_since: None, in_doubt: true };
            assert_eq!(after_failure(&mut app.health, &failed, AFTER, None, app.now), None);
        }
        assert_eq!(app.health.failing, serde_json::json!({}));
        assert!(!is_suspicious(&app.health));
    }

    #[test]
    fn refusals_for_six_hours_are_believed_until_somebody_is_refreshed() {
        let mut app = App::new();
        for grant in 0..5 {
            app.fails(grant, Cause::Refusals, "invalid_grant");
        }
        let since = app.health.braked_since.unwrap();
        app.later(TimeDelta::hours(5));
        assert_eq!(app.fails(5, Cause::Failures, "http_502"), None, "not in clear words");
        app.later(TimeDelta::hours(2));
        assert_eq!(
            app.fails(5, Cause::Refusals, "invalid_grant"),
            None,
            "seven hours, not clear ones"
        );
        app.later(TimeDelta::hours(6));
        let believed = app.fails(6, Cause::Refusals, "invalid_grant");
        assert_eq!(believed, Some(Change::Believed { since }));
        for grant in 0..8 {
            assert_eq!(app.fails(grant, Cause::Refusals, "invalid_grant"), None, "believed");
        }
        assert_eq!(app.fails(0, Cause::Failures, "http_503"), Some(Change::Braked), "that is not");
        app.later(TimeDelta::seconds(1));
        assert!(app.succeeds().is_some());
        assert!(!app.health.refusals_believed);
    }

    #[test]
    fn a_client_is_at_fault_when_two_are_refused_alike_or_one_twice_and_none_was_refreshed() {
        let mut app = App::new();
        assert_eq!(app.fails(0, Cause::Client, "invalid_request"), None);
        assert_eq!(app.fails(1, Cause::Client, "invalid_scope"), None, "another refusal");
        assert_eq!(app.fails(2, Cause::Client, "invalid_request"), Some(Change::Braked));
        assert_eq!(app.health.probe_at, Some(app.now + CLIENT_PROBE));

        let mut app = App::new();
        let first = app.now;
        let grants = app.grants.clone();
        let again = |app: &mut App| {
            let failed = Failed {
                cause: Cause::Client,
                reason: "unauthorized_client",
                subject: grants[0].as_str(),
                refused_since: Some(first),
                in_doubt: false,
            };
            after_failure(&mut app.health, &failed, AFTER, None, app.now)
        };
        app.later(TimeDelta::seconds(5));
        app.succeeds();
        assert_eq!(again(&mut app), None, "its neighbours are refreshed: it is this grant");
        let mut alone = App::new();
        assert_eq!(again(&mut alone), Some(Change::Braked));
    }
}
