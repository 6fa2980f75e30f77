//! What handlers and sweeps work with.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use latchkey_shared::clock::Clock;
use latchkey_shared::db::app_health::AppKey;
use latchkey_shared::net_guard::NetGuard;
use latchkey_shared::platforms::{DiscoveryError, Endpoints, Platform, Platforms};
use latchkey_shared::random;
use latchkey_shared::work::Store;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::atproto::Directory;
use crate::handlers::Receivers;
use crate::held::HeldAnswers;
use crate::lanes::Lanes;
use crate::liveness::Liveness;
use crate::oauth::PlatformHttp;
use crate::outcome::Failure;
use crate::permits::{Permit, Permits};

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
    pub webhooks: Receivers,
    /// Which addresses webhooks may go to.
    pub guard: NetGuard,
    /// How many webhooks are under way to whom.
    pub lanes: Lanes,
    /// How long before the access token's end a token in doubt is tried again.
    pub in_doubt_lead: TimeDelta,
    /// How far apart two clear refusals are that end an account.
    pub refusal_confirm: TimeDelta,
    /// How many grants that fail in a row put an app's brake on.
    pub brake_after: usize,
    /// Whether every refresh is told.
    pub refreshed_events: bool,
    /// For how many days events are kept.
    pub event_days: u16,
    /// Who may call at the same time.
    pub permits: Permits,
    /// What platforms answered and the database has not taken yet.
    pub held: HeldAnswers,
    /// The same database, through connections that are kept for answers.
    pub answers: Store,
    /// This process among the workers.
    pub liveness: Liveness,
    /// What must end before the process does.
    pub tasks: TaskTracker,
    /// Says that no new call may begin.
    pub stop: CancellationToken,
}

/// How long work waits for its permit to call. After that it comes due again: a message must not be held for a
/// platform that is slow.
const PERMIT_PATIENCE: Duration = Duration::from_secs(2);
/// The same where the platform has a small share, which one host that never answers can fill.
const SMALL_PATIENCE: Duration = Duration::from_millis(100);

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

    /// The permit to call for a message about a single row. Not waited for where the platform has a small share:
    /// those who wait for it would hold the turns that all share. `None`: not now.
    pub async fn permit_for_one(&self, app: &AppKey) -> Option<Permit> {
        if self.permits.is_small(app) { self.permits.try_take(app) } else { self.permit(app).await }
    }

    /// Waits for the permit to call. `None`: not now, because of shutdown or too much other work.
    pub async fn permit(&self, app: &AppKey) -> Option<Permit> {
        let patience = if self.permits.is_small(app) { SMALL_PATIENCE } else { PERMIT_PATIENCE };
        self.stop.run_until_cancelled(self.permits.take(app, patience)).await?
    }

    /// A name for the holder of one lease, which also names this process.
    #[must_use]
    pub fn lease_holder(&self) -> String {
        format!("{}.{}", self.liveness.id(), random::token())
    }
}
