//! Starts the API and stops it: everything that runs is named here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use chrono::TimeDelta;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use latchkey_shared::backlog::Backlog;
use latchkey_shared::broker::{Publisher, Supervisor, Topology};
use latchkey_shared::clock::Clock;
use latchkey_shared::db::Db;
use latchkey_shared::keyring::KeyStore;
use latchkey_shared::platforms::Platforms;
use latchkey_shared::work::Store;
use latchkey_shared::{boot, ops, telemetry};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::budget::Budget;
use crate::horizon_watch::HorizonWatch;
use crate::listener::{self, Bounds};
use crate::log_watch::{self, LogWatch};
use crate::nudge::{self, Waiters};
use crate::settings::ServeConfig;
use crate::state::{App, Budgets, LATE_LOOKS, Limits};
use crate::{readiness, router};

/// Requests end within this, however slow their clients are; what they began in the database and
/// publish after it does too.
const DRAIN: Duration = Duration::from_secs(20);

/// An API that serves. Dropping it stops it without waiting for what is under way.
pub struct Running {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Where operators find metrics and health, if it was asked for.
    pub metrics_addr: Option<SocketAddr>,
    /// What its URLs begin with.
    pub public_url: Url,
    servers: Vec<JoinHandle<()>>,
    tasks: TaskTracker,
    stopping: CancellationToken,
    broker: CancellationToken,
}

/// Starts an API. Listens only once the keyring is proven to be the database's.
///
/// # Errors
/// When a setting is wrong, the keyring does not fit the database, the database stays away, or an
/// address is taken.
// Boxed, so that it is compiled here and not again in each program that starts one.
pub fn start(config: ServeConfig, clock: Clock) -> BoxFuture<'static, anyhow::Result<Running>> {
    begin(config, clock).boxed()
}

async fn begin(config: ServeConfig, clock: Clock) -> anyhow::Result<Running> {
    telemetry::metrics();
    let net_guard = boot::guard(&config.common).await?;
    let platforms = Platforms::load(&config.common.platforms_file, net_guard.outbound())?;
    let (database, broker_server) = boot::servers(&config.common)?;
    let keys = KeyStore::new(config.common.read_keyring()?);
    let db = Db::new(&database, config.db_connections, clock.clone()).with_keys(keys);
    boot::verify(&db).await?;

    let listener = boot::listen("LATCHKEY_LISTEN", config.listen).await?;
    let addr = listener.local_addr()?;
    let public_url = match config.common.public_url.clone() {
        Some(url) => url,
        None => Url::parse(&format!("http://{addr}"))?,
    };
    let broker = CancellationToken::new();
    let stopping = CancellationToken::new();
    let tasks = TaskTracker::new();
    let topology = Topology::new(&config.common.broker_prefix);
    let supervise =
        |name| Supervisor::start(&broker_server, topology.clone(), name, broker.clone());
    let publisher = Publisher::new(supervise("latchkey-api publishing"));
    let consuming = supervise("latchkey-api consuming");
    let health_db = Db::new(&database, 1, clock.clone());
    let horizon = HorizonWatch::default();
    tokio::spawn(horizon.clone().run(health_db.clone(), stopping.clone()));
    let app = Arc::new(App {
        store: Store::new(db, publisher.clone(), tasks.clone()),
        platforms,
        net_guard,
        public_url: public_url.clone(),
        limits: Limits {
            callback_wait: config.callback_wait,
            connect_lifetime: TimeDelta::from_std(config.common.connect_lifetime)?,
            max_open_connects: config.common.max_open_connects,
            trusted_proxies: config.trusted_proxies.clone(),
        },
        budgets: Budgets {
            keys: Budget::new(config.rate_limit, clock.clone()),
            failures: Budget::new(config.failure_limit, clock.clone()),
            late_looks: Semaphore::new(LATE_LOOKS),
        },
        backlog: Backlog::new(config.common.outbox_max),
        waiters: Waiters::default(),
        log_watch: LogWatch::new(),
        check_readiness: readiness::check(health_db, publisher, config.common.outbox_max, horizon),
        tasks: tasks.clone(),
        stopping: stopping.clone(),
    });
    let mut running = Running {
        addr,
        metrics_addr: None,
        public_url,
        servers: Vec::new(),
        tasks,
        stopping,
        broker,
    };
    if let Some(address) = config.metrics_listen {
        let listener = boot::listen("LATCHKEY_METRICS_LISTEN", address).await?;
        running.serve_operators(listener, &app)?;
    }
    running.listen_for_nudges(consuming, &app);
    running.watch_log(&app);
    running.serve(listener, router::router(app), bounds(config));
    tracing::info!(address = %running.addr, public_url = %running.public_url, "serving");
    Ok(running)
}

fn bounds(config: ServeConfig) -> Bounds {
    Bounds {
        connections: config.max_connections,
        per_address: config.max_connections_per_address,
        trusted_proxies: config.trusted_proxies,
        idle: config.idle_timeout,
        stall: config.stall_timeout,
    }
}

impl Running {
    fn serve(&mut self, listener: TcpListener, router: Router, bounds: Bounds) {
        let stop = self.stopping.clone();
        self.servers.push(tokio::spawn(listener::serve(listener, router, bounds, stop)));
    }

    fn serve_operators(&mut self, listener: TcpListener, app: &App) -> anyhow::Result<()> {
        self.metrics_addr = Some(listener.local_addr()?);
        let serving = ops::serve(listener, app.check_readiness.clone(), self.stopping.clone());
        self.servers.push(tokio::spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!("the listener for operators failed: {error}");
            }
        }));
        Ok(())
    }

    fn listen_for_nudges(&mut self, supervisor: Supervisor, app: &App) {
        let (clock, waiters) = (app.clock().clone(), app.waiters.clone());
        let listening = nudge::listen(supervisor, clock, waiters, self.broker.clone());
        tokio::spawn(listening);
    }

    fn watch_log(&self, app: &App) {
        let stop = self.stopping.clone();
        tokio::spawn(log_watch::run(app.store.clone(), app.log_watch.clone(), stop));
    }

    /// Takes no new connections, lets requests under way end, and waits until what they committed
    /// was offered to the broker. False when some of it did not end in time.
    pub async fn stop(mut self) -> bool {
        self.stopping.cancel();
        let servers = join_all(self.servers.drain(..));
        let ended = tokio::time::timeout(DRAIN, async {
            servers.await;
            self.tasks.close();
            self.tasks.wait().await;
        });
        let ended = ended.await.is_ok();
        self.broker.cancel();
        ended
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stopping.cancel();
        self.broker.cancel();
    }
}
