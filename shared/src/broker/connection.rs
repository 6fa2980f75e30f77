//! Keeps one connection to the broker, and says how it is.
//!
//! The client's automatic recovery stays off: it hides errors, and deliveries from before a
//! reconnection would be settled after it. When a connection breaks, everything on it is rebuilt.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::{Connection, ConnectionProperties, Event};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Server, Topology};
use crate::backoff::Policy;

/// Every call to the broker ends within this.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that lives for less says nothing new when it ends.
const EARLY: Duration = Duration::from_secs(5);
/// A connection that was lost may be had again at once.
const FIRST_RETRY: Duration = Duration::from_millis(50);
const RETRY: Policy = Policy::new(Duration::from_millis(200), Duration::from_secs(5));

/// How a connection is.
#[derive(Clone, Debug)]
pub enum BrokerState {
    /// Not connected; being retried.
    Down,
    /// Connected, topology declared.
    Up(Arc<Connection>),
    /// Connected, but the broker takes no messages (memory or disk alarm).
    Blocked(Arc<Connection>),
}

impl BrokerState {
    /// `up`, `blocked` or `down`.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Up(_) => "up",
            Self::Blocked(_) => "blocked",
        }
    }
}

/// Watches over one connection until it is told to stop.
#[derive(Clone, Debug)]
pub struct Supervisor {
    state: watch::Receiver<BrokerState>,
    topology: Topology,
}

impl Supervisor {
    /// Starts supervising. `name` is what the broker's operators see.
    #[must_use]
    pub fn start(server: &Server, topology: Topology, name: &str, stop: CancellationToken) -> Self {
        let (sender, state) = watch::channel(BrokerState::Down);
        let task = Supervise {
            server: server.clone(),
            name: name.to_owned(),
            topology: topology.clone(),
            sender,
        };
        tokio::spawn(async move { stop.run_until_cancelled(task.run()).await });
        Self { state, topology }
    }

    /// How the connection is now.
    #[must_use]
    pub fn state(&self) -> BrokerState {
        self.state.borrow().clone()
    }

    /// Names of exchanges and queues.
    #[must_use]
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Waits for a connection; `None` once the supervisor has ended.
    pub async fn connected(&self) -> Option<Arc<Connection>> {
        let mut state = self.state.clone();
        let state = state.wait_for(|state| !matches!(state, BrokerState::Down)).await.ok()?;
        match &*state {
            BrokerState::Up(connection) | BrokerState::Blocked(connection) => {
                Some(connection.clone())
            }
            BrokerState::Down => None,
        }
    }
}

impl Supervisor {
    /// Waits until the supervisor has noticed that this connection is broken.
    pub(super) async fn lost(&self, broken: &Arc<Connection>) {
        let is_gone = |state: &BrokerState| match state {
            BrokerState::Up(current) | BrokerState::Blocked(current) => {
                !Arc::ptr_eq(current, broken)
            }
            BrokerState::Down => true,
        };
        drop(self.state.clone().wait_for(is_gone).await.map(drop));
    }
}

struct Supervise {
    server: Server,
    name: String,
    topology: Topology,
    sender: watch::Sender<BrokerState>,
}

impl Supervise {
    async fn run(self) {
        let (mut failures, mut broke_early) = (0, false);
        loop {
            match self.connect().await {
                Ok(connection) => {
                    self.say_connected(failures, broke_early);
                    failures = 0;
                    let since = Instant::now();
                    self.watch(connection).await;
                    broke_early = since.elapsed() < EARLY;
                    self.say_lost(broke_early);
                }
                // An outage has one line, and its end says how often it was tried.
                Err(error) if failures == 0 => {
                    failures = 1;
                    tracing::warn!(
                        connection = self.name,
                        "cannot reach the broker: trying again until it is back: {error:#}"
                    );
                }
                Err(error) => {
                    failures += 1;
                    tracing::debug!(
                        connection = self.name,
                        failures,
                        "cannot reach the broker: {error:#}"
                    );
                }
            }
            self.sender.send_replace(BrokerState::Down);
            metrics::gauge!("latchkey_broker_up", "connection" => self.name.clone()).set(0.0);
            let pause = if failures == 0 { FIRST_RETRY } else { RETRY.delay(failures) };
            tokio::time::sleep(pause).await;
        }
    }

    /// A connection that a message breaks again and again has one line, too: its consumer says why.
    fn say_connected(&self, failures: u32, broke_early: bool) {
        if broke_early && failures == 0 {
            tracing::debug!(connection = self.name, "connected to the broker");
        } else {
            tracing::info!(connection = self.name, failures, "connected to the broker");
        }
    }

    fn say_lost(&self, broke_early: bool) {
        if broke_early {
            tracing::debug!(connection = self.name, "lost the broker");
        } else {
            let name = &self.name;
            tracing::warn!(connection = name, "lost the broker: trying again until it is back");
        }
    }

    async fn connect(&self) -> anyhow::Result<Connection> {
        let properties = ConnectionProperties::default()
            .with_connection_name(self.name.clone().into())
            .configure_backoff(|backoff| backoff.with_max_times(0));
        let connecting = self.server.connect(properties);
        let connection = tokio::time::timeout(CALL_TIMEOUT, connecting).await??;
        tokio::time::timeout(CALL_TIMEOUT * 2, self.topology.ensure(&connection)).await??;
        Ok(connection)
    }

    /// Returns when the connection is gone.
    async fn watch(&self, connection: Connection) {
        let mut events = connection.events_listener();
        let connection = Arc::new(connection);
        self.sender.send_replace(BrokerState::Up(connection.clone()));
        metrics::gauge!("latchkey_broker_up", "connection" => self.name.clone()).set(1.0);
        let mut check = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(Event::ConnectionBlocked(reason)) => {
                        tracing::warn!(connection = self.name, reason, "the broker takes no messages");
                        self.sender.send_replace(BrokerState::Blocked(connection.clone()));
                    }
                    Some(Event::ConnectionUnblocked) => {
                        self.sender.send_replace(BrokerState::Up(connection.clone()));
                    }
                    Some(Event::Error(error)) => {
                        tracing::debug!(connection = self.name, "broker connection error: {error}");
                    }
                    Some(_) => {}
                    None => return,
                },
                _ = check.tick() => {}
            }
            if !connection.status().connected() {
                return;
            }
        }
    }
}
