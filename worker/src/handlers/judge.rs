//! Whether a refusal ends a grant. One refusal alone never does: platforms have refused everybody for half a
//! minute, and meant nobody.

use chrono::{DateTime, TimeDelta, Utc};
use latchkey_shared::db::app_health::AppHealth;

use crate::brake;
use crate::oauth::refusal::FailureClass;

/// How far apart two refusals are that living grants have been seen to get, too.
const REPEATED_AFTER: TimeDelta = TimeDelta::hours(3);
/// How long a refusal in words that no rule knows must repeat unchanged.
const UNCLEAR_AFTER: TimeDelta = TimeDelta::hours(6);

/// What was refused before.
#[derive(Clone, Copy, Debug, Default)]
pub struct Before<'a> {
    /// Since when.
    pub since: Option<DateTime<Utc>>,
    /// In which words.
    pub words: Option<&'a str>,
}

/// When a refusal is judged, and by which rule.
#[derive(Clone, Copy, Debug)]
pub struct JudgedAt {
    /// The database's time.
    pub now: DateTime<Utc>,
    /// How far apart two clear refusals must be.
    pub confirm: TimeDelta,
}

/// A refusal, judged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Judgement {
    /// Whether it ends the grant.
    pub dies: bool,
    /// Since when the platform refuses in this way.
    pub since: DateTime<Utc>,
    /// How it is compared with the next.
    pub words: String,
    /// When it is tested again at the latest, if the refusal itself says when.
    pub again_at: Option<DateTime<Utc>>,
}

/// Judges a refusal; `None` when the class is none of a refusal. While the app's brake is on, or more are refused
/// than die in truth, nobody dies.
#[must_use]
pub fn judge(
    class: FailureClass,
    signature: &str,
    before: Before<'_>,
    health: &AppHealth,
    at: JudgedAt,
) -> Option<Judgement> {
    let JudgedAt { now, confirm } = at;
    let clear = matches!(class, FailureClass::Dead | FailureClass::NeedsConsent);
    // What is clear is compared by its meaning: words may name a request or a time.
    let words = if clear { "clear".to_owned() } else { gist(signature) };
    let same = before.words == Some(words.as_str());
    let since = before.since.filter(|_| same).unwrap_or(now);
    let lasted = now - since;
    let others_live = health.succeeded_at.is_some_and(|success| success > since);
    let (dies, again_at) = match class {
        FailureClass::Dead | FailureClass::NeedsConsent => {
            (lasted >= confirm, Some(since.max(now - confirm) + confirm))
        }
        FailureClass::DeadIfRepeated => (lasted >= REPEATED_AFTER, Some(now + REPEATED_AFTER)),
        FailureClass::Unclear => (lasted >= UNCLEAR_AFTER && others_live, None),
        // Whose fault it is, is found out by when it was refused first.
        FailureClass::OurFault => (false, None),
        _ => return None,
    };
    let dies = dies && health.braked_since.is_none() && !brake::is_suspicious(health);
    Some(Judgement { dies, since, words, again_at })
}

/// Words without what changes from answer to answer.
fn gist(signature: &str) -> String {
    signature.chars().filter(|char| !char.is_ascii_digit()).collect()
}

#[cfg(test)]
mod tests {
    use latchkey_shared::clock::Clock;
    use latchkey_shared::db::app_health::AppKey;

    use super::*;

    const CONFIRM: TimeDelta = TimeDelta::seconds(60);

    struct Case {
        now: DateTime<Utc>,
        health: AppHealth,
    }

    impl Case {
        fn new() -> Self {
            let health = AppHealth::good(&AppKey::new("X", None));
            Self { now: Clock::system().now(), health }
        }

        /// Refused now, and before by so long.
        fn dies(&self, class: FailureClass, words: &str, ago: TimeDelta) -> bool {
            let first = judge(
                class,
                words,
                Before::default(),
                &self.health,
                JudgedAt { now: self.now - ago, confirm: CONFIRM },
            );
            let first = first.unwrap();
            assert!(!first.dies, "one refusal alone");
            let before = Before { since: Some(first.since), words: Some(&first.words) };
            judge(class, words, before, &self.health, JudgedAt { now: self.now, confirm: CONFIRM })
                .unwrap()
                .dies
        }
    }

    #[test]
    fn a_clear_refusal_is_believed_when_it_is_repeated_a_minute_later() {
        let case = Case::new();
        for class in [FailureClass::Dead, FailureClass::NeedsConsent] {
            assert!(case.dies(class, "invalid_grant//", TimeDelta::seconds(60)));
            assert!(!case.dies(class, "invalid_grant//", TimeDelta::seconds(59)));
        }
        let before = Before { since: Some(case.now - CONFIRM), words: Some("clear") };
        let other_words = "invalid_grant//trace 4711";
        let judged = judge(
            FailureClass::Dead,
            other_words,
            before,
            &case.health,
            JudgedAt { now: case.now, confirm: CONFIRM },
        );
        assert!(judged.unwrap().dies, "the same meaning in other words");
    }

    #[test]
    fn nobody_dies_while_the_brake_is_on() {
        let mut case = Case::new();
        case.health.braked_since = Some(case.now);
        assert!(!case.dies(FailureClass::Dead, "invalid_grant//", TimeDelta::hours(9)));
        assert!(!case.dies(FailureClass::DeadIfRepeated, "100/33/", TimeDelta::hours(9)));
    }

    #[test]
    fn what_living_grants_get_too_must_repeat_hours_later() {
        let case = Case::new();
        assert!(case.dies(FailureClass::DeadIfRepeated, "100/33/", TimeDelta::hours(3)));
        assert!(!case.dies(FailureClass::DeadIfRepeated, "100/33/", TimeDelta::hours(2)));
    }

    #[test]
    fn unknown_words_end_a_grant_whose_neighbours_live() {
        let mut case = Case::new();
        let dies = |case: &Case, ago| case.dies(FailureClass::Unclear, "E42//no such seat", ago);
        assert!(!dies(&case, TimeDelta::hours(7)), "nobody is refreshed: it may be the app");
        case.health.succeeded_at = Some(case.now - TimeDelta::minutes(1));
        assert!(dies(&case, TimeDelta::hours(7)));
        assert!(!dies(&case, TimeDelta::hours(5)));
        let before =
            Before { since: Some(case.now - TimeDelta::hours(7)), words: Some("E//other") };
        let judged = judge(
            FailureClass::Unclear,
            "E42//no such seat",
            before,
            &case.health,
            JudgedAt { now: case.now, confirm: CONFIRM },
        );
        assert!(!judged.unwrap().dies, "other words than before");
    }

    #[test]
    fn what_is_no_refusal_is_not_judged() {
        let case = Case::new();
        for class in [FailureClass::Transient, FailureClass::Checkpoint] {
            let judged = judge(
                class,
                "",
                Before::default(),
                &case.health,
                JudgedAt { now: case.now, confirm: CONFIRM },
            );
            assert_eq!(judged, None);
        }
    }
}
