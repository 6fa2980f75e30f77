//! What handlers and sweeps work with.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use latchkey_shared::clock::Clock;
use latchkey_shared::net_guard::NetGuard;
use latchkey_shared::platforms::{DiscoveryError, Endpoints, Platform, Platforms};
use latchkey_shared::random;
use latchkey_shared::work::Store;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::atproto::Directory;
use crate::lanes::Lanes;
use crate::oauth::PlatformHttp;
use crate::outcome::Failure;

/// The parts of one pool of workers.
#[derive(Clone, Debug)]
pub struct Context {
    /// The database, through this pool's own connections.
    pub store: Store,
    /// What can be connected.
    pub platforms: Arc<Platforms>,
    /// To platforms.
    pub http: PlatformHttp,
    /// Where persons' own hosts are found, if a platform has such.
    pub directory: Option<Directory>,
    /// To webhook receivers.
    pub webhooks: reqwest::Client,
    /// Which addresses webhooks may go to.
    pub guard: NetGuard,
    /// How many webhooks are under way to whom.
    pub lanes: Lanes,
    /// How long before the access token's end a token in doubt is tried again.
    pub in_doubt_lead: TimeDelta,
    /// Whether every refresh is told.
    pub refreshed_events: bool,
    /// For how many days events are kept.
    pub event_days: u16,
    /// One permit for each call that may be open at once.
    pub calls: Arc<Semaphore>,
    /// Says that no new call may begin.
    pub stop: CancellationToken,
}

/// How long work waits for its turn to call; after that it is left to come due again.
const TURN_PATIENCE: Duration = Duration::from_secs(40);

impl Context {
    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        self.store.clock()
    }

    /// The platform that a row names.
    ///
    /// # Errors
    /// When it is not configured (any more): the work waits until it is.
    pub fn platform(&self, id: &str) -> Result<&Platform, Failure> {
        let platform = self.platforms.get(id);
        platform.ok_or_else(|| {
            Failure::Later(anyhow::anyhow!("platform {id} is not in the platforms file"))
        })
    }

    /// Where a platform's endpoints are. May ask the platform: never in a transaction, nor with a
    /// connection in hand.
    ///
    /// # Errors
    /// [`DiscoveryError`] while it does not say: nothing can be sent to it.
    pub async fn endpoints(&self, platform: &Platform) -> Result<Arc<Endpoints>, DiscoveryError> {
        self.platforms.endpoints(platform, self.clock()).await
    }

    /// Waits for the turn to call. `None`: not now, because of shutdown or too much other work.
    pub async fn turn_to_call(&self) -> Option<OwnedSemaphorePermit> {
        let turn = tokio::time::timeout(TURN_PATIENCE, self.calls.clone().acquire_owned());
        let turn = self.stop.run_until_cancelled(turn).await?;
        turn.ok()?.ok()
    }

    /// A name for the holder of one lease.
    #[must_use]
    pub fn lease_holder(&self) -> String {
        random::token()
    }
}
