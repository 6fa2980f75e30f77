//! How many webhooks this process has under way, and to whom: so that endpoints which answer slowly, or
//! never, cannot hold all the turns that there are, and no organisation can with however many endpoints.
//!
//! Nobody waits here. Who is not let in puts the delivery back into its endpoint's queue.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use latchkey_shared::db::webhook_endpoints::{Endpoint, Pace};
use latchkey_shared::ids::{EndpointId, OrganisationId};
use tokio::time::Instant;
use url::Url;

/// An attempt that takes longer than this is slow.
pub const SLOW: Duration = Duration::from_secs(3);
/// What has been open for longer than this is not waited for.
const LINGERS: Duration = Duration::from_millis(500);
/// How long room is waited for at most.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a delivery that waits for room pauses between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The attempts under way in this process.
#[derive(Clone, Debug)]
pub struct Lanes {
    cap: usize,
    turns: usize,
    open: Arc<Mutex<Vec<Attempt>>>,
}

/// To whom an attempt goes.
#[derive(Clone, Debug)]
pub struct Receiver {
    organisation: OrganisationId,
    endpoint: EndpointId,
    host: String,
    pace: Pace,
}

impl From<&Endpoint> for Receiver {
    fn from(endpoint: &Endpoint) -> Self {
        let host = endpoint.url.parse().ok();
        let host = host.as_ref().and_then(Url::host_str).unwrap_or_default();
        Self {
            organisation: endpoint.organisation_id.clone(),
            endpoint: endpoint.id.clone(),
            host: host.to_owned(),
            pace: endpoint.pace,
        }
    }
}

#[derive(Debug)]
struct Attempt {
    number: u64,
    to: Receiver,
    since: Instant,
}

impl Attempt {
    fn hangs(&self) -> bool {
        self.since.elapsed() > SLOW
    }

    fn is_slow(&self) -> bool {
        self.to.pace != Pace::Prompt || self.hangs()
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
    /// Those that are slow have as many open as they may have together, or the organisation has.
    Others,
}

impl Lanes {
    /// At most `cap` for one endpoint, one while it is silent, and half of all `turns` for all that are
    /// slow. Of either an organisation has at most three for every one that it leaves to the others.
    #[must_use]
    pub fn new(cap: usize, turns: usize) -> Self {
        Self { cap, turns, open: Arc::default() }
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
    pub fn enter(&self, to: Receiver) -> Result<Lane, Full> {
        let mut open = locked(&self.open);
        if !has_own_room(&open, &to, self.cap) {
            return Err(Full::Endpoint);
        }
        let to = Receiver { pace: pace(&open, &to), ..to };
        if !self.has_room(&open, &to) {
            return Err(Full::Others);
        }
        let number = open.last().map_or(0, |last| last.number + 1);
        open.push(Attempt { number, to, since: Instant::now() });
        Ok(Lane { number, open: self.open.clone() })
    }

    /// Waits for room among the others of its organisation while one of those may be over in a moment, as in a burst
    /// to prompt receivers. False: all of them linger, or the wait has been long enough.
    pub async fn until_room(&self, to: &Receiver, begun: Instant) -> bool {
        while begun.elapsed() < PATIENCE {
            {
                let open = locked(&self.open);
                if self.has_room(&open, &Receiver { pace: pace(&open, to), ..to.clone() }) {
                    return true;
                }
                let own = |one: &&Attempt| one.to.organisation == to.organisation;
                if open.iter().filter(own).all(|one| one.since.elapsed() > LINGERS) {
                    return false;
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        false
    }

    /// Whether an endpoint that had no room may have some again, within the time for which room is waited for.
    #[must_use]
    pub fn may_enter(&self, to: &Receiver, begun: Instant) -> bool {
        let open = locked(&self.open);
        begun.elapsed() < PATIENCE && has_own_room(&open, to, self.cap)
    }

    fn has_room(&self, open: &[Attempt], to: &Receiver) -> bool {
        let slow = open.iter().filter(|attempt| attempt.is_slow());
        leaves_some(open.iter(), self.turns, &to.organisation)
            && (to.pace == Pace::Prompt || leaves_some(slow, self.turns / 2, &to.organisation))
    }
}

/// Whether the endpoint has fewer attempts open than it may have.
fn has_own_room(open: &[Attempt], to: &Receiver, cap: usize) -> bool {
    let own = || open.iter().filter(|attempt| attempt.to.endpoint == to.endpoint);
    // One of its own that hangs says more than how it was before.
    let cap = if to.pace == Pace::Silent || own().any(Attempt::hangs) { 1 } else { cap };
    own().count() < cap
}

/// How long its last answer took, or, if that is more, how long one of its organisation at the same host takes.
fn pace(open: &[Attempt], to: &Receiver) -> Pace {
    let neighbour =
        |one: &&Attempt| one.to.organisation == to.organisation && one.to.host == to.host;
    let hanging = open.iter().filter(neighbour).any(Attempt::hangs);
    if to.pace == Pace::Prompt && hanging { Pace::Slow } else { to.pace }
}

/// Whether an organisation may have one more of so many turns.
fn leaves_some<'a>(
    open: impl Iterator<Item = &'a Attempt>,
    turns: usize,
    organisation: &OrganisationId,
) -> bool {
    let (mut all, mut own) = (0, 0);
    for attempt in open {
        all += 1;
        own += usize::from(attempt.to.organisation == *organisation);
    }
    let free = turns.max(1).saturating_sub(all);
    free > 0 && (own == 0 || own < 3 * (free - 1))
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

    fn of(organisation: &OrganisationId, pace: Pace) -> Receiver {
        let endpoint = EndpointId::new(&Clock::system());
        let host = format!("{endpoint}.example");
        Receiver { organisation: organisation.clone(), endpoint, host, pace }
    }

    fn endpoint(pace: Pace) -> Receiver {
        of(&OrganisationId::new(&Clock::system()), pace)
    }

    /// As many as get in, of endpoints of their own.
    fn enter_all(lanes: &Lanes, organisation: &OrganisationId, pace: Pace) -> Vec<Lane> {
        std::iter::from_fn(|| lanes.enter(of(organisation, pace)).ok()).collect()
    }

    #[tokio::test]
    async fn an_endpoint_has_its_own_cap() {
        let lanes = Lanes::new(2, 32);
        let (one, other) = (endpoint(Pace::Prompt), endpoint(Pace::Prompt));
        let first = lanes.enter(one.clone()).unwrap();
        let _second = lanes.enter(one.clone()).unwrap();
        assert_eq!(lanes.enter(one.clone()).unwrap_err(), Full::Endpoint);
        let _others = lanes.enter(other).unwrap();
        drop(first);
        assert!(lanes.enter(one).is_ok());
    }

    #[tokio::test]
    async fn a_silent_one_gets_one_attempt() {
        let lanes = Lanes::new(4, 32);
        let silent = endpoint(Pace::Silent);
        let _only = lanes.enter(silent.clone()).unwrap();
        assert_eq!(lanes.enter(silent).unwrap_err(), Full::Endpoint);
    }

    fn age(lanes: &Lanes) {
        for attempt in locked(&lanes.open).iter_mut() {
            attempt.since -= SLOW + Duration::from_millis(1);
        }
    }

    #[tokio::test]
    async fn one_that_hangs_gets_no_more_before_it_has_answered() {
        let lanes = Lanes::new(4, 32);
        let new = endpoint(Pace::Prompt);
        let hanging = lanes.enter(new.clone()).unwrap();
        age(&lanes);
        assert_eq!(lanes.enter(new.clone()).unwrap_err(), Full::Endpoint);
        drop(hanging);
        assert!(lanes.enter(new).is_ok());
    }

    #[tokio::test]
    async fn all_that_are_slow_have_half_of_the_turns() {
        let lanes = Lanes::new(4, 8);
        let slow: Vec<_> = std::iter::from_fn(|| lanes.enter(endpoint(Pace::Slow)).ok()).collect();
        assert_eq!(slow.len(), 4);
        assert_eq!(lanes.enter(endpoint(Pace::Silent)).unwrap_err(), Full::Others);
        assert!(lanes.enter(endpoint(Pace::Prompt)).is_ok());
        drop(slow);
        assert!(lanes.enter(endpoint(Pace::Slow)).is_ok());
    }

    #[tokio::test]
    async fn an_organisation_with_many_endpoints_leaves_turns_to_the_others() {
        for (turns, most, slow_most) in [(1, 1, 1), (8, 6, 3), (32, 24, 12)] {
            let lanes = Lanes::new(4, turns);
            let (loud, quiet) =
                (OrganisationId::new(&Clock::system()), OrganisationId::new(&Clock::system()));
            let held = enter_all(&lanes, &loud, Pace::Prompt);
            assert_eq!(held.len(), most, "of {turns}");
            assert_eq!(enter_all(&lanes, &quiet, Pace::Prompt).is_empty(), turns == 1);
            drop(held);
            let held = enter_all(&lanes, &loud, Pace::Slow);
            assert_eq!(held.len(), slow_most, "slow ones of {turns}");
            assert_eq!(enter_all(&lanes, &quiet, Pace::Slow).is_empty(), turns == 1);
        }
    }

    #[tokio::test]
    async fn what_hangs_at_a_host_makes_its_neighbours_slow() {
        let lanes = Lanes::new(4, 8);
        let first = endpoint(Pace::Prompt);
        let neighbour =
            || Receiver { endpoint: EndpointId::new(&Clock::system()), ..first.clone() };
        let _hanging = lanes.enter(first.clone()).unwrap();
        age(&lanes);
        let let_in: Vec<_> = std::iter::from_fn(|| lanes.enter(neighbour()).ok()).collect();
        assert!(let_in.len() < 4, "{}", let_in.len());
    }
}
