//! Wakes callbacks that wait for their connect to end, or for the person's turn to choose.
//!
//! A queue of this process alone hears the events after which a browser goes on. It may miss some (it dies with
//! its connection): whoever waits reads the row as well.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Connection, Consumer};
use latchkey_shared::broker::{Supervisor, Topology, topology};
use latchkey_shared::clock::Clock;
use latchkey_shared::events::EventType;
use latchkey_shared::ids::{ConnectId, MessageId};
use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The events after which nothing happens to a connect any more, or not without the person.
const ENDINGS: [EventType; 5] = [
    EventType::ConnectSelecting,
    EventType::AccountConnected,
    EventType::ConnectFailed,
    EventType::ConnectExpired,
    EventType::ConnectCancelled,
];
const SETUP_TIMEOUT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(500);

/// Who waits for which connect.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waiters(Arc<Mutex<HashMap<String, Arc<Notify>>>>);

impl Waiters {
    /// Waits for a connect from now on. Only one can: a callback is taken once, and so is a claim.
    pub(crate) fn wait_for(&self, connect: &ConnectId) -> Waiter {
        let woken = Arc::new(Notify::new());
        self.with(|waiters| waiters.insert(connect.to_string(), woken.clone()));
        Waiter { waiters: self.clone(), connect: connect.to_string(), woken }
    }

    fn wake(&self, connect: &str) {
        if let Some(woken) = self.with(|waiters| waiters.get(connect).cloned()) {
            woken.notify_one();
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<String, Arc<Notify>>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One that waits.
#[derive(Debug)]
pub(crate) struct Waiter {
    waiters: Waiters,
    connect: String,
    woken: Arc<Notify>,
}

impl Waiter {
    /// Returns when something for the browser happened since the last call, or since the beginning.
    pub(crate) async fn woken(&self) {
        self.woken.notified().await;
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.waiters.with(|waiters| waiters.remove(&self.connect));
    }
}

/// Listens until `stop`, over whatever connection there is.
pub(crate) async fn listen(
    supervisor: Supervisor,
    clock: Clock,
    waiters: Waiters,
    stop: CancellationToken,
) {
    let sessions = async {
        while let Some(connection) = supervisor.connected().await {
            if let Err(error) = session(&connection, supervisor.topology(), &clock, &waiters).await
            {
                tracing::debug!("not hearing of ended connects, trying again: {error:#}");
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    stop.run_until_cancelled(sessions).await;
}

async fn session(
    connection: &Connection,
    topology: &Topology,
    clock: &Clock,
    waiters: &Waiters,
) -> anyhow::Result<()> {
    let mut consumer =
        tokio::time::timeout(SETUP_TIMEOUT, open(connection, topology, clock)).await??;
    while let Some(delivery) = consumer.next().await {
        if let Some(connect) = connect_of(&delivery?.data) {
            waiters.wake(&connect);
        }
    }
    anyhow::bail!("the stream of deliveries ended")
}

/// A queue with a new name: the broker may not have noticed yet that the last one's owner is gone.
async fn open(
    connection: &Connection,
    topology: &Topology,
    clock: &Clock,
) -> lapin::Result<Consumer> {
    let channel = connection.create_channel().await?;
    let id = MessageId::new(clock).to_string();
    let queue = topology.name(&format!("nudge.{}", id.trim_start_matches("msg_")));
    let options = QueueDeclareOptions {
        exclusive: true,
        auto_delete: true,
        ..QueueDeclareOptions::default()
    };
    channel.queue_declare(queue.as_str().into(), options, FieldTable::default()).await?;
    for kind in ENDINGS {
        channel
            .queue_bind(
                queue.as_str().into(),
                topology.name(topology::EVENTS).into(),
                format!("*.{kind}").into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await?;
    }
    let options =
        BasicConsumeOptions { no_ack: true, exclusive: true, ..BasicConsumeOptions::default() };
    channel.basic_consume(queue.as_str().into(), "".into(), options, FieldTable::default()).await
}

fn connect_of(body: &[u8]) -> Option<String> {
    let event: Value = serde_json::from_slice(body).ok()?;
    event["data"]["connectId"].as_str().map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_waiter_hears_of_its_connect_even_before_it_listens() {
        let waiters = Waiters::default();
        let connect = ConnectId::new(&Clock::system());
        let waiter = waiters.wait_for(&connect);
        let body = format!(r#"{{"type":"x","data":{{"connectId":"{connect}"}}}}"#);
        waiters.wake(&connect_of(body.as_bytes()).unwrap());
        tokio::time::timeout(Duration::from_secs(1), waiter.woken()).await.unwrap();
    }

    #[tokio::test]
    async fn nothing_is_left_of_a_waiter_that_went() {
        let waiters = Waiters::default();
        drop(waiters.wait_for(&ConnectId::new(&Clock::system())));
        assert!(waiters.with(|waiters| waiters.is_empty()));
        waiters.wake("con_1");
        assert_eq!(connect_of(b"no json"), None);
    }
}
