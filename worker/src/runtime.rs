//! Puts a worker together, and takes it apart again without losing anything.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use latchkey_shared::broker::consumer::consume;
use latchkey_shared::broker::{BrokerState, Publisher, Supervisor, Topology, topology};
use latchkey_shared::clock::Clock;
use latchkey_shared::db::{Db, Server, workers};
use latchkey_shared::ids::WorkerId;
use latchkey_shared::keyring::KeyStore;
use latchkey_shared::ops::{self, CheckReadiness, Readiness};
use latchkey_shared::platforms::{BUILT_IN, Platforms};
use latchkey_shared::work::Store;
use latchkey_shared::{boot, telemetry};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::atproto::Directory;
use crate::context::Context;
use crate::executor::Executor;
use crate::handlers::Receivers;
use crate::held::HeldAnswers;
use crate::lanes::Lanes;
use crate::liveness::Liveness;
use crate::oauth::{CallTimeouts, PlatformHttp};
use crate::permits::Permits;
use crate::requests::{Desk, Terms};
use crate::settings::{Pool, WorkerSettings};
use crate::sweeps::{self, DeadLetterKeeper};

/// A worker at work.
pub struct Running {
    context: Context,
    /// Pools and sweeps: told to stop, they end what they began.
    work: TaskTracker,
    /// Publishing after commits.
    publishing: TaskTracker,
    /// Connections to the broker: needed until the last delivery is settled.
    connections: CancellationToken,
    /// Of each pool.
    permits: Vec<Permits>,
    drain: Duration,
}

/// Starts the pools of a worker. Refuses without a keyring that fits the database; a broker that is
/// away is waited for.
///
/// # Errors
/// What is wrong with the settings, the keyring or the database.
// Boxed, so that it is compiled here and not again in each program that starts one.
pub fn start(settings: &WorkerSettings, clock: Clock) -> BoxFuture<'_, anyhow::Result<Running>> {
    begin(settings, clock).boxed()
}

async fn begin(settings: &WorkerSettings, clock: Clock) -> anyhow::Result<Running> {
    telemetry::metrics();
    let schedules = sweeps::schedules(&settings.sweeps)
        .map_err(|why| anyhow::anyhow!("LATCHKEY_SWEEPS: {why}"))?;
    let (database, broker_server) = boot::servers(&settings.common)?;
    let listener = boot::listen("LATCHKEY_METRICS_LISTEN", settings.metrics_listen).await?;
    let (publishing, connections) = (TaskTracker::new(), CancellationToken::new());
    let topology = Topology::new(&settings.common.broker_prefix);
    let supervise =
        |name| Supervisor::start(&broker_server, topology.clone(), name, connections.clone());
    let publishers = ["latchkey-worker publish", "latchkey-worker replies"];
    let publishers = publishers.map(|name| Publisher::new(supervise(name)));
    let shared_db = Db::new(&database, 2, clock.clone());
    let context = context(settings, shared_db, publishers, &publishing).await?;
    let consuming = supervise("latchkey-worker consume");
    let work = context.tasks.clone();
    let terms = Terms::new(&settings.common, settings.trust_producers)?;
    workers::renew(&mut *context.store.conn().await?, context.liveness.id()).await?;
    let mut permits = Vec::new();
    for pool in &settings.pools {
        let pool_context = pool_context(*pool, &context, settings, &database);
        permits.push(pool_context.permits.clone());
        // What strangers write may break the connection that it comes by.
        let supervisor = match pool {
            Pool::Requests => supervise("latchkey-worker requests"),
            Pool::Sweeps => supervise("latchkey-worker dead letters"),
            _ => consuming.clone(),
        };
        start_pool(*pool, pool_context, supervisor, &schedules, &terms);
    }
    let (store, renewing) = (context.store.clone(), connections.clone());
    tokio::spawn(context.liveness.clone().keep_renewing(store, renewing));
    work.spawn(ops::serve(listener, readiness(&context, consuming), context.stop.clone()));
    work.close();
    tracing::info!(pools = ?settings.pools, concurrency = settings.concurrency, "worker started");
    Ok(Running { context, work, publishing, connections, permits, drain: settings.drain })
}

/// What one pool works with: its own permits, and its own connections, of which a third is kept for answers
/// where there are as many as three.
fn pool_context(
    pool: Pool,
    context: &Context,
    settings: &WorkerSettings,
    database: &Server,
) -> Context {
    let concurrency = settings.concurrency.into();
    let for_answers = settings.db_connections / 3;
    let own_hosts = BUILT_IN.iter().filter(|spec| spec.quirks.own_host);
    let permits = match pool {
        Pool::Refresh | Pool::Sweeps => Permits::paced(concurrency),
        _ => Permits::new(concurrency),
    };
    let over = |size| {
        let db = Db::new(database, size, context.clock().clone());
        context.store.over(db.with_keys(context.store.keys().clone()))
    };
    let store = over(settings.db_connections - for_answers);
    Context {
        answers: if for_answers > 0 { over(for_answers) } else { store.clone() },
        store,
        permits: permits.with_small_shares(own_hosts.map(|spec| spec.id)),
        ..context.clone()
    }
}

/// What all pools share; each gets its own connections and its own turns to call.
async fn context(
    settings: &WorkerSettings,
    db: Db,
    [publisher, replies]: [Publisher; 2],
    publishing: &TaskTracker,
) -> anyhow::Result<Context> {
    let common = &settings.common;
    let guard = boot::guard(common).await?;
    let platforms = Arc::new(Platforms::load(&common.platforms_file, guard.outbound())?);
    let db = db.with_keys(KeyStore::new(common.read_keyring()?));
    boot::verify(&db).await?;
    let timeouts =
        CallTimeouts { rotating: settings.call_timeout_rotating, other: settings.call_timeout };
    let directory =
        platforms.directory().map(|settings| Directory::new(settings.clone(), guard.clone()));
    let directory = directory.transpose()?;
    let liveness = Liveness::new(WorkerId::new(db.clock()));
    let store = Store::new(db, publisher, publishing.clone()).with_replies(replies);
    Ok(Context {
        answers: store.clone(),
        store,
        platforms,
        http: PlatformHttp::new(timeouts, &guard)?,
        directory,
        webhooks: Receivers::new(&guard)?,
        guard,
        lanes: Lanes::new(settings.webhook_concurrency.into(), settings.concurrency.into()),
        in_doubt_lead: TimeDelta::from_std(settings.in_doubt_lead)?,
        refusal_confirm: TimeDelta::from_std(settings.refusal_confirm)?,
        brake_after: settings.brake_after.into(),
        refreshed_events: settings.refreshed_events,
        event_days: settings.event_days,
        permits: Permits::new(0),
        held: HeldAnswers::default(),
        liveness,
        tasks: TaskTracker::new(),
        stop: CancellationToken::new(),
    })
}

fn start_pool(
    pool: Pool,
    context: Context,
    supervisor: Supervisor,
    schedules: &[(sweeps::Sweep, cron::Schedule)],
    terms: &Terms,
) {
    let (stop, work) = (context.stop.clone(), context.tasks.clone());
    let prefetch = u16::try_from(context.permits.total()).unwrap_or(u16::MAX);
    if pool == Pool::Requests {
        let desk = Desk::new(context, terms.clone());
        let prefetch = desk.prefetch();
        work.spawn(async move { consume(supervisor, pool.as_str(), prefetch, desk, stop).await });
        return;
    }
    if pool != Pool::Sweeps {
        let executor = Executor::new(context);
        work.spawn(
            async move { consume(supervisor, pool.as_str(), prefetch, executor, stop).await },
        );
        return;
    }
    for (sweep, schedule) in schedules {
        work.spawn(sweeps::keep_running(context.clone(), *sweep, schedule.clone()));
    }
    let keeper = DeadLetterKeeper::new(context);
    work.spawn(async move { consume(supervisor, topology::DEAD_LETTERS, 10, keeper, stop).await });
}

/// Ready with a database and a broker to work with.
fn readiness(context: &Context, consuming: Supervisor) -> CheckReadiness {
    let store = context.store.clone();
    Arc::new(move || {
        let (store, consuming) = (store.clone(), consuming.clone());
        async move {
            let database = tokio::spawn(async move { store.conn().await.is_ok() });
            let database = tokio::time::timeout(Duration::from_secs(2), database).await;
            let database = matches!(database, Ok(Ok(true)));
            let broker = consuming.state();
            Readiness {
                ready: database && !matches!(broker, BrokerState::Down),
                parts: json!({ "database": if database { "up" } else { "down" }, "broker": broker.as_str() }),
            }
        }
        .boxed()
    })
}

impl Running {
    /// What its handlers and sweeps work with, so that one can be run by hand.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Takes no new work and begins no new call, lets started calls end within their own deadlines,
    /// and returns. False when some did not end in time.
    pub async fn stop(self) -> bool {
        self.context.stop.cancel();
        let open: usize = self.permits.iter().map(Permits::used).sum();
        let (held, drain) = (self.context.held.len(), self.drain.as_secs());
        tracing::info!(open, held, "{open} calls are open, and may end within {drain} s");
        let ended = tokio::time::timeout(self.drain, async {
            self.work.wait().await;
            self.publishing.close();
            self.publishing.wait().await;
        });
        let ended = ended.await.is_ok();
        self.context.held.report_lost();
        self.connections.cancel();
        ended
    }
}
