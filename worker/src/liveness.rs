//! Says that this process is alive, so that others need not wait for the end of its leases once it is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use latchkey_shared::db::{DbError, workers};
use latchkey_shared::ids::WorkerId;
use latchkey_shared::platforms::RefreshModel;
use latchkey_shared::work::Store;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often the process renews its row.
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// A process that has not renewed its row for so long is gone.
const SILENCE: Duration = Duration::from_secs(15);
/// No shorter silence proves anything: a renewal may be late.
const LEAST_SILENCE: Duration = Duration::from_secs(6);

/// This process among the workers.
#[derive(Clone, Debug)]
pub struct Liveness {
    id: WorkerId,
    /// Whether its own renewals come through: else the others' may be late for the same reason.
    steady: Arc<AtomicBool>,
}

impl Liveness {
    /// A process that was just started.
    #[must_use]
    pub fn new(id: WorkerId) -> Self {
        Self { id, steady: Arc::default() }
    }

    /// The process.
    #[must_use]
    pub fn id(&self) -> &WorkerId {
        &self.id
    }

    /// After which silence another process's leases may be judged; `None` while this process cannot tell.
    /// Within a short grace window there is no time to be sure, and presenting a token again is harmless.
    #[must_use]
    pub fn judges_after(&self, model: RefreshModel) -> Option<Duration> {
        self.steady.load(Ordering::Relaxed).then(|| silence(model))
    }

    /// Renews the row until `stop`, then removes it.
    pub async fn keep_renewing(self, store: Store, stop: CancellationToken) {
        let (mut renewed, mut steady_since) = (None::<Instant>, Instant::now());
        while !stop.is_cancelled() {
            if let Err(error) = renew(&store, &self.id).await {
                tracing::debug!("the worker's row is not renewed: {error}");
                renewed = None;
            } else {
                let late = renewed.is_none_or(|last| last.elapsed() > 2 * RENEW_EVERY);
                if late {
                    steady_since = Instant::now();
                }
                renewed = Some(Instant::now());
            }
            let steady = renewed.is_some() && steady_since.elapsed() > LEAST_SILENCE;
            self.steady.store(steady, Ordering::Relaxed);
            stop.run_until_cancelled(tokio::time::sleep(RENEW_EVERY)).await;
        }
        if let Ok(mut conn) = store.conn().await
            && let Err(error) = workers::remove(&mut conn, &self.id).await
        {
            tracing::debug!("the worker's row stays until it is pruned: {error}");
        }
    }
}

/// How long the silence of a process must last before its calls are taken for cut.
fn silence(model: RefreshModel) -> Duration {
    match model {
        RefreshModel::Rotating { grace: Some(grace) } => (grace / 2).clamp(LEAST_SILENCE, SILENCE),
        _ => SILENCE,
    }
}

/// When somebody looks whether the process that holds a lease is gone, at a platform where that matters: one
/// with a grace window. Elsewhere a token is not presented before the lease has ended.
#[must_use]
pub fn look_after(model: RefreshModel) -> Option<Duration> {
    let grace = matches!(model, RefreshModel::Rotating { grace: Some(_) });
    grace.then(|| silence(model) / 2)
}

async fn renew(store: &Store, id: &WorkerId) -> Result<(), DbError> {
    workers::renew(&mut *store.conn().await?, id).await
}
