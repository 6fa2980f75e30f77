//! Who may call a platform at the same time: permits, shared by platform app.
//!
//! One app may hold as many permits as the pool's concurrency, and a third more are kept for the others, of
//! which each may hold at most three for every one that stays free. So a platform that never answers
//! cannot hold all of them. An app that was not called for a while begins with a few calls at a time, and
//! after its platform asked for patience with one: a limit is met by few calls, not by a storm. A platform
//! whose hosts persons choose has a quarter of the concurrency: anybody can have a host that never answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use latchkey_shared::db::app_health::AppKey;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How many calls an app that was idle begins with.
const FIRST_WINDOW: usize = 4;
/// After so long without a call an app begins anew.
const IDLE: Duration = Duration::from_secs(60);
/// A platform that is slow and not failing gets twice as many calls so often, answers or not.
const GROWTH: Duration = Duration::from_millis(500);
/// Who waits looks again so often: windows grow by time, too.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The permits of one pool.
#[derive(Clone, Debug)]
pub struct Permits {
    total: usize,
    first_window: usize,
    /// Platforms with a small share.
    small: Arc<[&'static str]>,
    open: Arc<Mutex<Open>>,
    freed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Open {
    used: usize,
    apps: HashMap<AppKey, AppCalls>,
}

/// The calls of one app.
#[derive(Debug)]
struct AppCalls {
    used: usize,
    window: usize,
    /// Whether the window waits for a success before it grows.
    cautious: bool,
    grown_at: Instant,
    /// Calls that succeeded and were not counted elsewhere yet.
    successes: usize,
}

/// The right to one call, for as long as this lives.
#[derive(Debug)]
pub struct Permit {
    permits: Permits,
    app: AppKey,
}

impl Permits {
    /// Permits for `concurrency` calls to one app, as many at once as it likes.
    #[must_use]
    pub fn new(concurrency: usize) -> Self {
        let total = concurrency + concurrency.div_ceil(3);
        Self {
            total,
            first_window: usize::MAX,
            small: Arc::default(),
            open: Arc::default(),
            freed: Arc::default(),
        }
    }

    /// The same, with a small share for each of these platforms.
    #[must_use]
    pub fn with_small_shares(self, platforms: impl Iterator<Item = &'static str>) -> Self {
        Self { small: platforms.collect(), ..self }
    }

    /// Whether the app's platform has a small share.
    #[must_use]
    pub fn is_small(&self, app: &AppKey) -> bool {
        self.small.contains(&app.platform.as_str())
    }

    /// The same for an app that is called by plan: it begins with few calls at once.
    #[must_use]
    pub fn paced(concurrency: usize) -> Self {
        Self { first_window: FIRST_WINDOW, ..Self::new(concurrency) }
    }

    /// How many calls may be open at once, to all apps.
    #[must_use]
    pub fn total(&self) -> usize {
        self.total
    }

    /// How many are open.
    #[must_use]
    pub fn used(&self) -> usize {
        self.locked().used
    }

    /// How many more calls the app may begin now.
    #[must_use]
    pub fn free_for(&self, app: &AppKey) -> usize {
        self.free_in(&mut self.locked(), app)
    }

    fn free_in(&self, open: &mut Open, app: &AppKey) -> usize {
        let (used, total) = (open.used, self.total);
        let calls = open.calls(app, self.first_window);
        let free = total - used;
        let share = (3 * free).saturating_sub(calls.used) / 4;
        let least = usize::from(calls.used == 0 && free > 0);
        let most = if self.is_small(app) { (self.total * 3 / 16).max(1) } else { usize::MAX };
        share.max(least).min(calls.window.min(most).saturating_sub(calls.used))
    }

    /// A permit, if there is one now.
    #[must_use]
    pub fn try_take(&self, app: &AppKey) -> Option<Permit> {
        let mut open = self.locked();
        if self.free_in(&mut open, app) == 0 {
            return None;
        }
        open.used += 1;
        open.calls(app, self.first_window).used += 1;
        Some(Permit { permits: self.clone(), app: app.clone() })
    }

    /// A permit; `None` when there was none within `patience`.
    pub async fn take(&self, app: &AppKey, patience: Duration) -> Option<Permit> {
        let until = Instant::now() + patience;
        loop {
            // Before the look: what is freed after it wakes this.
            let freed = self.freed.notified();
            if let Some(permit) = self.try_take(app) {
                return Some(permit);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            drop(tokio::time::timeout(LOOK_EVERY.min(left), freed).await);
        }
    }

    /// The app's platform wants to be left alone: the next call goes alone, and others follow its success.
    pub fn slow_down(&self, app: &AppKey) {
        let mut open = self.locked();
        let calls = open.calls(app, self.first_window);
        (calls.window, calls.cautious) = (1, true);
    }

    /// How many calls of the app succeeded since this was asked last.
    #[must_use]
    pub fn take_successes(&self, app: &AppKey) -> usize {
        self.locked().apps.get_mut(app).map_or(0, |calls| std::mem::take(&mut calls.successes))
    }

    fn locked(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// The app's calls, with a window for this moment.
    fn calls(&mut self, app: &AppKey, first_window: usize) -> &mut AppCalls {
        let now = Instant::now();
        let begin = || AppCalls {
            used: 0,
            window: first_window,
            cautious: false,
            grown_at: now,
            successes: 0,
        };
        let calls = self.apps.entry(app.clone()).or_insert_with(begin);
        let since = now.duration_since(calls.grown_at);
        if calls.used == 0 && since > IDLE && !calls.cautious {
            *calls = begin();
        } else if !calls.cautious && since >= GROWTH && calls.used >= calls.window {
            calls.window = calls.window.saturating_mul(2);
            calls.grown_at = now;
        }
        calls
    }
}

impl Permit {
    /// The call brought what it was made for: one more may be open.
    pub fn succeeded(&self) {
        let mut open = self.permits.locked();
        let calls = open.calls(&self.app, self.permits.first_window);
        calls.window = calls.window.saturating_add(1);
        calls.successes += 1;
        (calls.cautious, calls.grown_at) = (false, Instant::now());
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut open = self.permits.locked();
        open.used -= 1;
        if let Some(calls) = open.apps.get_mut(&self.app) {
            calls.used -= 1;
        }
        drop(open);
        self.permits.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(name: &str) -> AppKey {
        AppKey::new(name, None)
    }

    /// As many as the app gets.
    fn take_all(permits: &Permits, app: &AppKey) -> Vec<Permit> {
        std::iter::from_fn(|| permits.try_take(app)).collect()
    }

    #[test]
    fn one_app_gets_the_concurrency_and_the_others_what_is_kept_for_them() {
        for concurrency in [1, 2, 8, 32, 64] {
            let permits = Permits::new(concurrency);
            let hung = take_all(&permits, &app("HUNG"));
            assert_eq!(hung.len(), concurrency, "of {}", permits.total());
            let others = take_all(&permits, &app("OTHER"));
            assert!(!others.is_empty(), "{concurrency}");
            drop(hung);
            assert!(!take_all(&permits, &app("HUNG")).is_empty());
        }
    }

    #[test]
    fn those_who_ask_at_the_same_time_do_not_get_the_same_permit() {
        for _ in 0..200 {
            let permits = Permits::new(8);
            let taken = std::thread::scope(|scope| {
                let ask = || take_all(&permits, &app("A"));
                let asking: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
                asking.into_iter().flat_map(|one| one.join().unwrap()).collect::<Vec<_>>()
            });
            assert_eq!(taken.len(), 8);
        }
    }

    #[test]
    fn a_platform_with_hosts_of_persons_gets_a_quarter() {
        for (concurrency, most) in [(1, 1), (2, 1), (8, 2), (32, 8), (64, 16)] {
            let permits = Permits::new(concurrency).with_small_shares(["OWN"].into_iter());
            let own = take_all(&permits, &app("OWN"));
            assert_eq!(own.len(), most, "of {concurrency}");
            let others = take_all(&permits, &app("OTHER"));
            assert!(others.len() >= concurrency / 2, "{} of {concurrency}", others.len());
        }
    }

    #[test]
    fn several_that_hang_leave_one_for_the_next() {
        let permits = Permits::new(32);
        let _hung: Vec<_> =
            ["A", "B", "C"].iter().flat_map(|name| take_all(&permits, &app(name))).collect();
        assert!(permits.try_take(&app("D")).is_some(), "{} of {}", permits.used(), permits.total());
    }

    /// As if so much time had passed.
    fn pass(permits: &Permits, app: &AppKey, time: Duration) {
        let mut open = permits.locked();
        let calls = open.apps.get_mut(app).unwrap();
        calls.grown_at = calls.grown_at.checked_sub(time).unwrap();
    }

    #[test]
    fn an_idle_app_begins_with_a_few_and_grows_with_success_and_with_time() {
        let (permits, app) = (Permits::paced(32), app("A"));
        let begin = || std::iter::from_fn(|| permits.try_take(&app)).collect::<Vec<_>>();
        let mut calls = begin();
        assert_eq!(calls.len(), FIRST_WINDOW);
        calls.iter().for_each(Permit::succeeded);
        calls.extend(begin());
        assert_eq!(calls.len(), 2 * FIRST_WINDOW);
        pass(&permits, &app, GROWTH);
        calls.extend(begin());
        assert_eq!(calls.len(), 4 * FIRST_WINDOW, "slow, and not failing");
    }

    #[test]
    fn after_a_wish_for_patience_one_call_goes_first() {
        let (permits, app) = (Permits::paced(32), app("A"));
        permits.slow_down(&app);
        let first = permits.try_take(&app).unwrap();
        pass(&permits, &app, GROWTH * 10);
        assert!(permits.try_take(&app).is_none(), "time alone opens nothing");
        first.succeeded();
        drop(first);
        let more: Vec<_> = std::iter::from_fn(|| permits.try_take(&app)).collect();
        assert_eq!(more.len(), 2);
    }

    #[tokio::test]
    async fn who_waits_gets_what_is_freed() {
        let (permits, app) = (Permits::new(1), app("A"));
        let held = permits.try_take(&app).unwrap();
        assert!(permits.take(&app, Duration::from_millis(50)).await.is_none());
        let waiting = permits.take(&app, Duration::from_secs(60));
        let freeing = async {
            tokio::task::yield_now().await;
            drop(held);
        };
        let (permit, ()) = tokio::join!(waiting, freeing);
        assert!(permit.is_some());
    }
}
