//! What handlers share.

use std::net::IpAddr;
use std::time::Duration;

use chrono::TimeDelta;
use ipnet::IpNet;
use latchkey_shared::backlog::Backlog;
use latchkey_shared::clock::Clock;
use latchkey_shared::db::{DbError, Session};
use latchkey_shared::net_guard::NetGuard;
use latchkey_shared::operations::{Means, address};
use latchkey_shared::ops::CheckReadiness;
use latchkey_shared::platforms::Platforms;
use latchkey_shared::work::Store;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::budget::Budget;
use crate::log_watch::LogWatch;
use crate::nudge::Waiters;

/// What handlers share.
pub(crate) struct App {
    /// Where units of work begin.
    pub(crate) store: Store,
    /// The platforms that this installation can connect.
    pub(crate) platforms: Platforms,
    /// Where webhooks may go.
    pub(crate) net_guard: NetGuard,
    /// Makes every URL.
    pub(crate) public_url: Url,
    /// Named settings.
    pub(crate) limits: Limits,
    /// How often callers may call.
    pub(crate) budgets: Budgets,
    /// Whether too many messages wait.
    pub(crate) backlog: Backlog,
    /// Callbacks that wait for their connect to end.
    pub(crate) waiters: Waiters,
    /// Requests that wait for events of the log.
    pub(crate) log_watch: LogWatch,
    /// Whether this process should get work.
    pub(crate) check_readiness: CheckReadiness,
    /// Requests and publishing under way.
    pub(crate) tasks: TaskTracker,
    /// Cancelled when the process is to end: nobody waits for anything new.
    pub(crate) stopping: CancellationToken,
}

/// Settings that handlers keep to.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// How long a callback waits for its connect to end.
    pub(crate) callback_wait: Duration,
    /// How long a person has to finish a connect.
    pub(crate) connect_lifetime: TimeDelta,
    /// How many connects a workspace may have open.
    pub(crate) max_open_connects: i64,
    /// Whose word on where a request came from is believed.
    pub(crate) trusted_proxies: Vec<IpNet>,
}

/// How often callers may call this process.
pub(crate) struct Budgets {
    /// By the hash of an API key that was found valid.
    pub(crate) keys: Budget<Vec<u8>>,
    /// Requests without a valid key, by address.
    pub(crate) failures: Budget<IpAddr>,
    /// Turns to look up a key that comes from an address without a budget.
    pub(crate) late_looks: Semaphore,
}

/// So that a flood of wrong keys leaves the database's connections to others.
pub(crate) const LATE_LOOKS: usize = 2;

impl App {
    /// A connection for reading, or for a single statement.
    pub(crate) async fn conn(&self) -> Result<Session, DbError> {
        self.store.conn().await
    }

    /// The clock.
    pub(crate) fn clock(&self) -> &Clock {
        self.store.clock()
    }

    /// The address of a path of ours, as browsers and platforms reach it.
    pub(crate) fn url(&self, path: &str) -> String {
        address(&self.public_url, path)
    }

    /// What operations work with.
    pub(crate) fn means(&self) -> Means<'_> {
        Means {
            store: &self.store,
            platforms: &self.platforms,
            public_url: &self.public_url,
            connect_lifetime: self.limits.connect_lifetime,
            max_open_connects: self.limits.max_open_connects,
        }
    }
}
