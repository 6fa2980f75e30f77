//! What a platform's answer becomes in a row: which ends are known, and when to do something about them.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use latchkey_shared::db::grants::{NewTokens, Reauth};
use latchkey_shared::ids::GrantId;
use latchkey_shared::platforms::{Platform, RefreshModel};

use crate::oauth::refresh::presented;
use crate::oauth::{Answer, schedule};

/// Where an answer comes from.
#[derive(Debug)]
pub struct Origin<'a> {
    /// The database's time before the call: lifetimes count from it.
    pub called_at: DateTime<Utc>,
    /// What holds if the platform does not say what it granted (RFC 6749 §5.1).
    pub scopes: &'a [String],
    /// The end of the refresh token that was presented, if there was one.
    pub refresh_end: Option<DateTime<Utc>>,
}

/// The row of an answer whose tokens are sealed.
#[must_use]
pub fn new_tokens(
    platform: &Platform,
    id: &GrantId,
    answer: &Answer,
    sealed: Vec<u8>,
    origin: &Origin<'_>,
) -> NewTokens {
    let called_at = origin.called_at;
    let after = |lifetime: Option<Duration>| {
        called_at.checked_add_signed(TimeDelta::from_std(lifetime?).ok()?)
    };
    let renewable = presented(platform, &answer.tokens).is_some();
    // What the platform does not say is never the end of an account, only time for a refresh.
    let usual_lifetime = renewable.then(|| usual_lifetime(platform, answer));
    let told_end = after(answer.access_lifetime);
    // Where accounts have tokens of their own, the end of this one is nobody's.
    let access_expires_at =
        told_end.or(after(usual_lifetime)).filter(|_| !platform.accounts_have_tokens());
    let refresh_expires_at = match platform.refresh {
        RefreshModel::SelfExtending { .. } => told_end,
        // A refresh token that stays the same keeps its own end, too.
        _ => after(answer.refresh_lifetime).or_else(|| {
            let kept = answer.refresh_token_stayed || platform.quirks.refresh_ends;
            origin.refresh_end.filter(|_| kept)
        }),
    };
    let refresh_at = access_expires_at
        .filter(|_| renewable)
        .map(|end| schedule::refresh_at(platform, id, called_at, end));
    let last = match platform.refresh {
        _ if platform.accounts_have_tokens() => None,
        _ if !renewable => access_expires_at,
        RefreshModel::SelfExtending { .. } => None,
        RefreshModel::Rotating { .. } if !platform.quirks.refresh_ends => None,
        _ => refresh_expires_at,
    };
    NewTokens {
        sealed,
        renewable,
        scopes: answer.scopes.clone().unwrap_or_else(|| origin.scopes.to_vec()),
        issued_at: called_at,
        access_expires_at,
        refresh_expires_at,
        refresh_at,
        reauth: last.map(|end| Reauth::new(end, called_at)),
    }
}

/// How long an access token is taken to live where its platform does not say. An hour is cautious where nobody
/// knows.
fn usual_lifetime(platform: &Platform, answer: &Answer) -> Duration {
    const CAUTIOUS: Duration = Duration::from_secs(3600);
    platform.token_lifetime.unwrap_or_else(|| {
        if answer.access_lifetime.is_none() {
            warn_once(platform);
        }
        CAUTIOUS
    })
}

/// One line for each platform, not one for each refresh.
fn warn_once(platform: &Platform) {
    static WARNED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut warned = WARNED.lock().unwrap_or_else(PoisonError::into_inner);
    if warned.insert(platform.id.clone()) {
        tracing::warn!(
            platform.id = platform.id,
            "{} does not say how long its tokens live: they are refreshed every half hour. \
             Set token_lifetime_seconds in the platforms file",
            platform.id
        );
    }
}

#[cfg(test)]
mod tests {
    use latchkey_shared::clock::Clock;
    use latchkey_shared::platforms::Platforms;
    use latchkey_shared::tokens::TokenSet;

    use super::*;

    const DAY: u64 = 86_400;

    fn stored(id: &str, lifetimes: (Option<u64>, Option<u64>), refresh: Option<&str>) -> NewTokens {
        let text = format!(
            "[platforms.{id}]\nbase_url = \"http://127.0.0.1:9\"\nclient_id = \"c\"\n\
             client_secret = {{ value = \"s\" }}"
        );
        let (platforms, clock) = (Platforms::parse(&text).unwrap(), Clock::system());
        let answer = Answer {
            tokens: TokenSet {
                access_token: "a".into(),
                refresh_token: refresh.map(Into::into),
                subject: None,
                host: None,
            },
            access_lifetime: lifetimes.0.map(Duration::from_secs),
            refresh_lifetime: lifetimes.1.map(Duration::from_secs),
            refresh_token_stayed: false,
            scopes: None,
            unfit: None,
        };
        let origin = Origin { called_at: clock.now(), scopes: &[], refresh_end: None };
        let platform = platforms.get(id).unwrap();
        new_tokens(platform, &GrantId::new(&clock), &answer, Vec::new(), &origin)
    }

    fn lives(tokens: &NewTokens) -> Option<TimeDelta> {
        tokens.access_expires_at.map(|end| end - tokens.issued_at)
    }

    #[test]
    fn the_usual_lifetime_brings_a_refresh_and_never_an_end() {
        let told = stored("X", (Some(60), None), Some("r"));
        assert_eq!(lives(&told), Some(TimeDelta::minutes(1)), "what the platform says counts");
        let usual = stored("X", (None, None), Some("r"));
        assert_eq!(lives(&usual), Some(TimeDelta::hours(2)));
        assert!(usual.refresh_at.is_some());
        let unknown_end = stored("X", (None, None), None);
        assert_eq!(lives(&unknown_end), None, "nothing can renew it, and nobody said when it ends");
        assert_eq!(unknown_end.refresh_at, None);
    }

    #[test]
    fn a_token_that_extends_itself_is_left_alone_for_a_day_and_ends_with_itself() {
        let tokens = stored("THREADS", (Some(60 * DAY), None), None);
        assert!(tokens.renewable);
        assert_eq!(tokens.refresh_expires_at, tokens.access_expires_at);
        assert_eq!(tokens.reauth, None, "a refresh moves its end");
        let short = stored("THREADS", (Some(2 * DAY), None), None);
        let age = short.refresh_at.unwrap() - short.issued_at;
        assert!(age >= TimeDelta::days(1), "{age}");
        assert_eq!(stored("THREADS", (None, None), None).refresh_expires_at, None);
    }

    #[test]
    fn what_no_refresh_moves_is_told_in_time() {
        let reauth = |id, lifetimes, refresh| {
            let tokens = stored(id, lifetimes, refresh);
            tokens.reauth.map(|reauth| {
                let days = |at: DateTime<Utc>| (at - tokens.issued_at).num_days();
                (days(reauth.at), reauth.notice_at.map(days))
            })
        };
        let year = (Some(60 * DAY), Some(365 * DAY));
        assert_eq!(reauth("LINKEDIN_PERSON", year, Some("r")), Some((365, Some(351))));
        assert_eq!(reauth("LINKEDIN_PERSON", year, None), Some((60, Some(46))), "not approved");
        let testing = (Some(3600), Some(7 * DAY));
        assert_eq!(
            reauth("YOUTUBE", testing, Some("r")),
            Some((7, Some(6))),
            "a project in Testing"
        );
        assert_eq!(reauth("PINTEREST", year, Some("r")), None, "each refresh moves it");
        assert_eq!(reauth("FACEBOOK_PAGE", (Some(60 * DAY), None), None), None, "pages live on");
    }

    #[test]
    fn the_ends_of_pages_are_not_their_person_s() {
        let tokens = stored("FACEBOOK_PAGE", (Some(60 * DAY), None), None);
        assert_eq!((tokens.access_expires_at, tokens.refresh_at), (None, None));
    }
}
