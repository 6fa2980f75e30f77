//! Starts the API and stops it: everything that runs is named here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use latchkey_shared::broker::{Publisher, Supervisor, Topology};
use latchkey_shared::clock::Clock;
use latchkey_shared::db::{Db, DbError};
use latchkey_shared::keyring::{SealError, Vault};
use latchkey_shared::net_guard::NetGuard;
use latchkey_shared::platforms::Platforms;
use latchkey_shared::work::Store;
use latchkey_shared::{ops, telemetry};
use secrecy::ExposeSecret as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::backlog::Backlog;
use crate::budget::Budget;
use crate::listener::{self, Bounds};
use crate::nudge::{self, Waiters};
use crate::settings::ServeConfig;
use crate::state::{App, Budgets, Limits};
use crate::{readiness, router};

/// How long a start waits for PostgreSQL: services are often started together.
const DATABASE_PATIENCE: Duration = Duration::from_secs(30);
const DATABASE_RETRY: Duration = Duration::from_millis(500);
/// Requests end within this, however slow their clients are; what they began in the database does too.
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
pub async fn start(config: ServeConfig, clock: Clock) -> anyhow::Result<Running> {
    telemetry::metrics();
    let platforms = Platforms::load(&config.common.platforms_file)?;
    let database_url = config.common.database_url.expose_secret();
    let db = Db::new(database_url, config.db_connections, clock.clone())?;
    let vault = Vault::new(config.common.read_keyring()?);
    prove(&vault, &db).await?;

    let listener = bind(config.listen).await?;
    let addr = listener.local_addr()?;
    let public_url = match config.public_url.clone() {
        Some(url) => url,
        None => Url::parse(&format!("http://{addr}"))?,
    };
    let broker = CancellationToken::new();
    let stopping = CancellationToken::new();
    let tasks = TaskTracker::new();
    let publisher = Publisher::new(supervise(&config, "latchkey-api publishing", &broker));
    let health_db = Db::new(database_url, 1, clock.clone())?;
    let app = Arc::new(App {
        store: Store::new(db, vault, publisher.clone(), tasks.clone()),
        platforms,
        net_guard: NetGuard::new(&config.common.outbound_allow),
        public_url: public_url.clone(),
        limits: Limits {
            callback_wait: config.callback_wait,
            connect_lifetime: config.connect_lifetime,
            max_open_connects: config.max_open_connects,
            trusted_proxies: config.trusted_proxies.clone(),
        },
        budgets: Budgets {
            keys: Budget::new(config.rate_limit, clock.clone()),
            failures: Budget::new(config.failure_limit, clock.clone()),
        },
        backlog: Backlog::new(config.outbox_max),
        waiters: Waiters::default(),
        check_readiness: readiness::check(health_db, publisher, config.outbox_max),
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
        running.serve_operators(bind(address).await?, &app)?;
    }
    running.listen_for_nudges(&config, &app);
    let bounds = Bounds { connections: config.max_connections, idle: config.idle_timeout };
    running.serve(listener, router::router(app), bounds);
    tracing::info!(address = %running.addr, public_url = %running.public_url, "serving");
    Ok(running)
}

/// Refuses to start on a keyring that is not this database's.
async fn prove(vault: &Vault, db: &Db) -> anyhow::Result<()> {
    let deadline = tokio::time::Instant::now() + DATABASE_PATIENCE;
    loop {
        let checking = async {
            let mut conn = db.conn().await?;
            vault.check(&mut conn, db.clock()).await
        };
        match checking.await {
            Ok(()) => return Ok(()),
            Err(SealError::Db(error)) if error.is_unavailable() => {
                if tokio::time::Instant::now() > deadline {
                    return Err(error.into());
                }
                tracing::warn!("waiting for the database: {error}");
                tokio::time::sleep(DATABASE_RETRY).await;
            }
            Err(SealError::Db(error @ DbError::Query(_))) => {
                return Err(error).context(
                    "the database is not as this build expects: run `latchkey-api migrate` first",
                );
            }
            Err(error) => return Err(error.into()),
        }
    }
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

fn supervise(config: &ServeConfig, name: &str, stop: &CancellationToken) -> Supervisor {
    let url = config.common.amqp_url.expose_secret();
    let topology = Topology::new(&config.common.broker_prefix);
    Supervisor::start(url, topology, name, stop.clone())
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

    fn listen_for_nudges(&mut self, config: &ServeConfig, app: &App) {
        let supervisor = supervise(config, "latchkey-api consuming", &self.broker);
        let (clock, waiters) = (app.clock().clone(), app.waiters.clone());
        let listening = nudge::listen(supervisor, clock, waiters, self.broker.clone());
        tokio::spawn(listening);
    }

    /// Takes no new requests, lets those under way end, and waits until what they committed was
    /// offered to the broker.
    pub async fn stop(mut self) {
        self.stopping.cancel();
        let servers = futures_util::future::join_all(self.servers.drain(..));
        if tokio::time::timeout(DRAIN, servers).await.is_err() {
            tracing::warn!("some clients did not finish their requests in time");
        }
        self.tasks.close();
        self.tasks.wait().await;
        self.broker.cancel();
        tracing::info!("stopped");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stopping.cancel();
        self.broker.cancel();
    }
}
