//! Publishes, and knows whether the broker took it.
//!
//! A few lanes, each a channel that carries one message at a time and waits for its confirm: a
//! returned message then always belongs to the publish in flight, which the client library does
//! not guarantee otherwise. After a nack, a return or a time-out the channel is thrown away: a
//! channel opened while a queue's leader was lost may refuse for as long as it lives.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation};
use tokio::sync::Semaphore;

use super::connection::CALL_TIMEOUT;
use super::{BrokerState, Supervisor, topology};

const LANES: usize = 4;
/// How long a message may wait for a free lane; what waits longer is left to the relay.
const LANE_WAIT: Duration = Duration::from_secs(10);
const PERSISTENT: u8 = 2;
/// So long the broker takes at most to tell consumers that their queue is gone. One that was declared again sooner
/// was seen to keep them (RabbitMQ 3.10): their channels took the new queue's messages for old ones and dropped them.
const AFTER_DELETION: Duration = Duration::from_secs(1);

/// Why a message is not known to be with the broker. It may be: a repetition must be harmless.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// No connection, or one that takes no messages.
    #[error("the broker is {0}")]
    Unavailable(&'static str),
    /// The broker did not confirm in time.
    #[error("the broker did not confirm within {} s", CALL_TIMEOUT.as_secs())]
    Unconfirmed,
    /// The broker refused the message: the queue is full, or its leader is away.
    #[error("the broker refused the message")]
    Refused,
    /// No queue takes messages of this routing key.
    #[error("no queue is bound for `{0}`")]
    Unroutable(String),
    /// The channel or the connection broke.
    #[error("publishing failed")]
    Broken(#[from] lapin::Error),
}

/// What to publish.
#[derive(Clone, Debug)]
pub struct Message {
    /// Short name of the exchange.
    pub exchange: &'static str,
    /// Routing key.
    pub routing_key: String,
    /// AMQP `message_id`.
    pub id: String,
    /// AMQP `type`.
    pub kind: String,
    /// AMQP `correlation_id`: what it answers, if it answers something.
    pub correlation_id: Option<String>,
    /// JSON.
    pub body: Vec<u8>,
    /// AMQP `timestamp`, seconds.
    pub timestamp: u64,
    /// Whether it is an error when no queue takes it.
    pub mandatory: bool,
}

/// Publishes over one supervised connection.
#[derive(Clone, Debug)]
pub struct Publisher {
    supervisor: Supervisor,
    free: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Channel>>>,
    /// Who declares all again, while somebody does.
    restoring: Arc<Semaphore>,
}

impl Publisher {
    /// A publisher over this connection.
    #[must_use]
    pub fn new(supervisor: Supervisor) -> Self {
        let (free, restoring) = (Arc::new(Semaphore::new(LANES)), Arc::new(Semaphore::new(1)));
        Self { supervisor, free, idle: Arc::default(), restoring }
    }

    /// How the connection is.
    #[must_use]
    pub fn state(&self) -> BrokerState {
        self.supervisor.state()
    }

    /// Publishes and waits for the broker's word.
    ///
    /// # Errors
    /// [`PublishError`]: the message may or may not be with the broker.
    pub async fn publish(&self, message: &Message) -> Result<(), PublishError> {
        let lane = tokio::time::timeout(LANE_WAIT, self.free.acquire()).await;
        let _lane = lane.map_err(|_| PublishError::Unavailable("too slow"))?;
        let outcome = tokio::time::timeout(CALL_TIMEOUT, self.publish_on_lane(message)).await;
        let outcome = outcome.unwrap_or(Err(PublishError::Unconfirmed));
        if let Err(PublishError::Unroutable(key)) = &outcome {
            self.restore_soon(key);
        }
        let result = if outcome.is_ok() { "confirmed" } else { "failed" };
        let exchange =
            if message.exchange == topology::DEFAULT { "default" } else { message.exchange };
        metrics::counter!("latchkey_messages_published_total", "exchange" => exchange, "result" => result)
            .increment(1);
        outcome
    }

    async fn publish_on_lane(&self, message: &Message) -> Result<(), PublishError> {
        let channel = self.channel().await?;
        let confirmation = channel
            .basic_publish(
                self.supervisor.topology().exchange(message.exchange).into(),
                message.routing_key.as_str().into(),
                BasicPublishOptions { mandatory: message.mandatory, immediate: false },
                &message.body,
                properties(message),
            )
            .await?
            .await?;
        match confirmation {
            Confirmation::Ack(None) => {
                self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(channel);
                Ok(())
            }
            Confirmation::Ack(Some(_)) => {
                Err(PublishError::Unroutable(message.routing_key.clone()))
            }
            Confirmation::Nack(_) | Confirmation::NotRequested => Err(PublishError::Refused),
        }
    }

    /// A queue or a binding was removed under us, and is declared again. The message is published again by the relay.
    fn restore_soon(&self, routing_key: &str) {
        let Ok(turn) = Arc::clone(&self.restoring).try_acquire_owned() else { return };
        tracing::error!(routing_key, "no queue is bound: declaring all again");
        let publisher = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(AFTER_DELETION).await;
            drop(tokio::time::timeout(CALL_TIMEOUT * 2, publisher.restore()).await);
            drop(turn);
        });
    }

    async fn restore(&self) -> Result<(), PublishError> {
        let channel = self.channel().await?;
        Ok(self.supervisor.topology().declare(&channel).await?)
    }

    async fn channel(&self) -> Result<Channel, PublishError> {
        let BrokerState::Up(connection) = self.supervisor.state() else {
            return Err(PublishError::Unavailable(self.supervisor.state().as_str()));
        };
        while let Some(channel) = self.pop_idle() {
            if channel.status().connected() {
                return Ok(channel);
            }
        }
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(channel)
    }

    fn pop_idle(&self) -> Option<Channel> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

fn properties(message: &Message) -> BasicProperties {
    let properties = BasicProperties::default()
        .with_message_id(message.id.as_str().into())
        .with_type(message.kind.as_str().into())
        .with_timestamp(message.timestamp)
        .with_content_type("application/json".into())
        .with_delivery_mode(PERSISTENT);
    match &message.correlation_id {
        Some(id) => properties.with_correlation_id(id.as_str().into()),
        None => properties,
    }
}
