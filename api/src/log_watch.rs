//! Requests that wait for an event of the log. However many wait, one task of the process reads what is new,
//! and wakes those that want it.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use latchkey_shared::db::DbError;
use latchkey_shared::db::events::{self, EventHead, LogPosition};
use latchkey_shared::ids::{AccountId, OrganisationId, WorkspaceId};
use latchkey_shared::shares::{Share, Shares};
use latchkey_shared::work::Store;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::auth::Caller;
use crate::code::Code;
use crate::problem::Problem;

const READ_EVERY: Duration = Duration::from_millis(250);
/// From this many new events of an organisation on all are woken, whatever they want.
const MOST_HEADS: i64 = 200;
/// How many requests of one API key may wait.
const PER_KEY: usize = 20;
/// And of all keys of one organisation.
const PER_ORGANISATION: usize = 100;
/// How many of those that were woken read at once: the other connections to the database are not for them.
const TURNS: usize = 2;

/// Which events a request waits for.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) organisation: OrganisationId,
    pub(crate) workspace: Option<WorkspaceId>,
    pub(crate) account: Option<AccountId>,
    /// Empty: all.
    pub(crate) types: Vec<String>,
}

impl Wanted {
    fn includes(&self, event: &EventHead) -> bool {
        self.organisation == event.organisation_id
            && self.workspace.as_ref().is_none_or(|own| event.workspace_id.as_ref() == Some(own))
            && self.account.as_ref().is_none_or(|own| event.account_id.as_ref() == Some(own))
            && (self.types.is_empty() || self.types.contains(&event.kind))
    }
}

type Waiting = BTreeMap<u64, (Wanted, Arc<Notify>)>;

/// The requests that wait.
#[derive(Clone, Debug)]
pub(crate) struct LogWatch {
    waiting: Arc<Mutex<Waiting>>,
    /// Somebody waits again.
    begun: Arc<Notify>,
    keys: Shares,
    organisations: Shares,
    turns: Arc<Semaphore>,
}

/// One that waits.
pub(crate) struct Watcher {
    number: u64,
    watch: LogWatch,
    woken: Arc<Notify>,
    _shares: (Share, Share),
}

impl LogWatch {
    pub(crate) fn new() -> Self {
        Self {
            waiting: Arc::default(),
            begun: Arc::default(),
            keys: Shares::new(PER_KEY),
            organisations: Shares::new(PER_ORGANISATION),
            turns: Arc::new(Semaphore::new(TURNS)),
        }
    }

    /// Waits from now on: for what a reading that begins later does not find yet.
    ///
    /// # Errors
    /// `RATE_LIMITED` while too many requests of the key, or of the organisation, wait.
    pub(crate) fn enter(&self, caller: &Caller, wanted: Wanted) -> Result<Watcher, Problem> {
        let too_many = |whose: &str, most: usize| {
            let detail = format!(
                "{most} requests of {whose} wait for events already: let one end, or ask without `wait`."
            );
            Problem::new(Code::RateLimited, detail).retry_after(1)
        };
        let key = self.keys.try_take(caller.key_id.as_str());
        let key = key.ok_or_else(|| too_many("this key", PER_KEY))?;
        let all = self.organisations.try_take(wanted.organisation.as_str());
        let all = all.ok_or_else(|| too_many("this organisation", PER_ORGANISATION))?;
        let woken = Arc::new(Notify::new());
        let mut waiting = self.waiting();
        let number = waiting.last_key_value().map_or(0, |(last, _)| last + 1);
        waiting.insert(number, (wanted, woken.clone()));
        drop(waiting);
        self.begun.notify_one();
        Ok(Watcher { number, watch: self.clone(), woken, _shares: (key, all) })
    }

    fn organisations(&self) -> HashSet<String> {
        self.waiting().values().map(|(wanted, _)| wanted.organisation.to_string()).collect()
    }

    fn wake(&self, is_due: impl Fn(&Wanted) -> bool) {
        for (_, woken) in self.waiting().values().filter(|(wanted, _)| is_due(wanted)) {
            woken.notify_one();
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher {
    /// Returns when there may be something since the last call, with the turn to read it.
    pub(crate) async fn woken(&self) -> impl Drop + use<> {
        self.woken.notified().await;
        self.watch.turns.clone().acquire_owned().await.expect("nothing closes it")
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.watch.waiting().remove(&self.number);
    }
}

/// Reads what is new until `stop`, while anybody waits.
pub(crate) async fn run(store: Store, watch: LogWatch, stop: CancellationToken) {
    let reading = async {
        let mut read_to = None;
        loop {
            if watch.waiting().is_empty() {
                watch.begun.notified().await;
                read_to = None;
            }
            match read(&store, &watch, read_to.as_ref()).await {
                Ok(horizon) => read_to = Some(horizon),
                Err(error) => tracing::debug!("the log is read again in a moment: {error}"),
            }
            tokio::time::sleep(READ_EVERY).await;
        }
    };
    stop.run_until_cancelled(reading).await;
}

/// Wakes those that want what is behind `from`, and answers how far that was.
async fn read(
    store: &Store,
    watch: &LogWatch,
    from: Option<&LogPosition>,
) -> Result<LogPosition, DbError> {
    let mut conn = store.conn().await?;
    let horizon = events::horizon(&mut conn).await?;
    let Some(from) = from else {
        // Each of them has read up to a place of its own.
        watch.wake(|_| true);
        return Ok(horizon);
    };
    if *from < horizon {
        let organisations = watch.organisations();
        let organisations: Vec<&str> = organisations.iter().map(String::as_str).collect();
        let new = events::heads(&mut conn, &organisations, from, &horizon, MOST_HEADS).await?;
        let full = i64::try_from(new.len()).is_ok_and(|new| new >= MOST_HEADS);
        watch.wake(|wanted| full || new.iter().any(|event| wanted.includes(event)));
    }
    Ok(horizon)
}

#[cfg(test)]
mod tests {
    use latchkey_shared::clock::Clock;

    use super::*;

    #[test]
    fn a_request_is_woken_by_what_it_wants_alone() {
        let clock = Clock::system();
        let (own, other) = (OrganisationId::new(&clock), OrganisationId::new(&clock));
        let (workspace, account) = (WorkspaceId::new(&clock), AccountId::new(&clock));
        let event = EventHead {
            organisation_id: own.clone(),
            workspace_id: Some(workspace.clone()),
            account_id: Some(account.clone()),
            kind: "account.connected".to_owned(),
        };
        let all = Wanted { organisation: own, workspace: None, account: None, types: Vec::new() };
        let cases = [
            (all.clone(), true),
            (Wanted { organisation: other, ..all.clone() }, false),
            (Wanted { workspace: Some(workspace), ..all.clone() }, true),
            (Wanted { workspace: Some(WorkspaceId::new(&clock)), ..all.clone() }, false),
            (Wanted { account: Some(account), ..all.clone() }, true),
            (Wanted { account: Some(AccountId::new(&clock)), ..all.clone() }, false),
            (Wanted { types: vec!["account.connected".to_owned()], ..all.clone() }, true),
            (Wanted { types: vec!["connect.failed".to_owned()], ..all }, false),
        ];
        for (wanted, woken) in cases {
            assert_eq!(wanted.includes(&event), woken, "{wanted:?}");
        }
    }
}
