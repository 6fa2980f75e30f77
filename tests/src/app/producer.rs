//! An application that asks over the broker, as nothing but an AMQP client.

use anyhow::{Context as _, ensure};
use futures_util::StreamExt as _;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
    QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer};
use latchkey_shared::boot;
use latchkey_shared::broker::{Server, Topology};
use latchkey_shared::db::producers;
use latchkey_shared::random;
use latchkey_shared::tls::Trust;
use secrecy::ExposeSecret as _;
use serde_json::Value;
use url::Url;

use super::{PATIENCE, TestApp, broker, told};

/// RabbitMQ's word for "answer me on this very channel".
pub const DIRECT_REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// A connection that publishes requests and hears the answers.
pub struct Producer {
    /// The user of the broker that it is.
    pub user: String,
    /// Where its answers come, as it names it in `reply_to`.
    pub reply_to: String,
    exchange: String,
    channel: Channel,
    answers: Consumer,
    _connection: Connection,
}

/// A request about to be published.
#[derive(Clone, Debug)]
pub struct Ask {
    /// AMQP `type`; `None`: left out.
    pub kind: Option<String>,
    /// Routing key.
    pub routing_key: String,
    /// As it is sent.
    pub body: Vec<u8>,
    /// AMQP `message_id`; `None`: left out.
    pub message_id: Option<String>,
    /// AMQP `correlation_id`; `None`: left out.
    pub correlation_id: Option<String>,
    /// AMQP `reply_to`; `None`: nobody waits for an answer.
    pub reply_to: Option<String>,
    /// AMQP `user_id`; `None`: left out.
    pub user_id: Option<String>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Told {
    /// AMQP `type`.
    pub kind: String,
    /// AMQP `correlation_id`.
    pub correlation_id: Option<String>,
    /// AMQP `message_id`.
    pub message_id: Option<String>,
    /// AMQP `content_type`.
    pub content_type: Option<String>,
    /// AMQP `timestamp`.
    pub timestamp: Option<u64>,
    /// The body.
    pub body: Value,
}

impl Producer {
    /// Connects to a broker at an address, which names the user, for an installation of this prefix.
    /// Its answers come by direct reply-to.
    ///
    /// # Errors
    /// When the broker does not let it.
    pub async fn connect(amqp_url: &str, prefix: &str) -> anyhow::Result<Self> {
        Self::connect_to(amqp_url, prefix, None).await
    }

    /// The same, with a queue for its answers: of this name, or if it is empty of one that RabbitMQ gives.
    ///
    /// # Errors
    /// When the broker does not let it.
    pub async fn connect_with_queue(
        amqp_url: &str,
        prefix: &str,
        queue: &str,
    ) -> anyhow::Result<Self> {
        Self::connect_to(amqp_url, prefix, Some(queue)).await
    }

    async fn connect_to(amqp_url: &str, prefix: &str, queue: Option<&str>) -> anyhow::Result<Self> {
        let trust = Trust::read(None).map_err(anyhow::Error::msg)?;
        let server = Server::new(amqp_url, &trust).map_err(anyhow::Error::msg)?;
        let connection = server.connect(ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let reply_to = match queue {
            None => DIRECT_REPLY_TO.to_owned(),
            Some(name) => {
                // One with a name outlives the connection and the broker.
                let options = QueueDeclareOptions {
                    durable: !name.is_empty(),
                    exclusive: name.is_empty(),
                    ..QueueDeclareOptions::default()
                };
                let queue = channel.queue_declare(name.into(), options, FieldTable::default());
                queue.await?.name().to_string()
            }
        };
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let answers = channel
            .basic_consume(reply_to.as_str().into(), "".into(), options, FieldTable::default())
            .await?;
        let exchange = Topology::new(prefix).name("requests");
        let user = user_of(amqp_url)?;
        Ok(Self { user, reply_to, exchange, channel, answers, _connection: connection })
    }

    /// A request with all the properties that it should have.
    #[must_use]
    pub fn request(&self, kind: &str, body: &Value) -> Ask {
        Ask {
            kind: Some(kind.to_owned()),
            routing_key: kind.to_owned(),
            body: body.to_string().into_bytes(),
            message_id: Some(format!("m-{}", random::token())),
            correlation_id: None,
            reply_to: Some(self.reply_to.clone()),
            user_id: Some(self.user.clone()),
        }
    }

    /// Publishes a request, and waits for the broker's word that it has it.
    ///
    /// # Errors
    /// When the broker does not take it.
    pub async fn publish(&self, ask: &Ask) -> anyhow::Result<()> {
        let mut properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_delivery_mode(2);
        let text = |text: &Option<String>| text.as_deref().map(Into::into);
        if let Some(kind) = text(&ask.kind) {
            properties = properties.with_type(kind);
        }
        if let Some(id) = text(&ask.message_id) {
            properties = properties.with_message_id(id);
        }
        if let Some(id) = text(&ask.correlation_id) {
            properties = properties.with_correlation_id(id);
        }
        if let Some(queue) = text(&ask.reply_to) {
            properties = properties.with_reply_to(queue);
        }
        if let Some(user) = text(&ask.user_id) {
            properties = properties.with_user_id(user);
        }
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let (exchange, key) = (self.exchange.as_str().into(), ask.routing_key.as_str().into());
        let confirm = self
            .channel
            .basic_publish(exchange, key, options, &ask.body, properties)
            .await?
            .await?;
        ensure!(confirm.is_ack() && confirm.take_message().is_none(), "the broker did not take it");
        Ok(())
    }

    /// The next answer.
    ///
    /// # Errors
    /// When none comes in time.
    pub async fn told(&mut self) -> anyhow::Result<Told> {
        let next = tokio::time::timeout(PATIENCE, self.answers.next()).await;
        let next = next.map_err(|_| told(anyhow::anyhow!("no answer came")))?;
        let delivery = next.context("the broker closed the channel")??;
        let properties = &delivery.properties;
        Ok(Told {
            kind: properties.kind().as_ref().map(ToString::to_string).unwrap_or_default(),
            correlation_id: properties.correlation_id().as_ref().map(ToString::to_string),
            message_id: properties.message_id().as_ref().map(ToString::to_string),
            content_type: properties.content_type().as_ref().map(ToString::to_string),
            timestamp: *properties.timestamp(),
            body: serde_json::from_slice(&delivery.data)?,
        })
    }

    /// Deletes the queue that it made for its answers.
    ///
    /// # Errors
    /// When the broker does not let it.
    pub async fn delete_queue(self) -> anyhow::Result<()> {
        let queue = self.reply_to.as_str().into();
        self.channel.queue_delete(queue, QueueDeleteOptions::default()).await?;
        Ok(())
    }

    /// Publishes a request and waits for the next answer.
    ///
    /// # Errors
    /// When either fails.
    pub async fn ask(&mut self, ask: &Ask) -> anyhow::Result<Told> {
        self.publish(ask).await?;
        self.told().await
    }
}

fn user_of(amqp_url: &str) -> anyhow::Result<String> {
    let url: Url = amqp_url.parse()?;
    Ok(if url.username().is_empty() { "guest".to_owned() } else { url.username().to_owned() })
}

impl TestApp {
    /// A producer of this app's broker; no key stands behind it yet.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn producer(&self) -> anyhow::Result<Producer> {
        self.declare().await?;
        Producer::connect(self.amqp_url(), &self.common.broker_prefix).await
    }

    /// The same, with a queue for its answers.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn producer_with_queue(&self, queue: &str) -> anyhow::Result<Producer> {
        self.declare().await?;
        Producer::connect_with_queue(self.amqp_url(), &self.common.broker_prefix, queue).await
    }

    /// Ties the user of the broker that this app and its producers are to an API key.
    ///
    /// # Errors
    /// When there is no such key.
    pub async fn link_producer(&self, key_id: &str) -> anyhow::Result<()> {
        let user = user_of(self.amqp_url())?;
        let db = self.db()?;
        let mut conn = db.conn().await?;
        Ok(producers::link(&mut conn, &user, &key_id.parse()?).await?)
    }

    /// The full name of an exchange or a queue of this app.
    #[must_use]
    pub fn broker_name(&self, short: &str) -> String {
        Topology::new(&self.common.broker_prefix).name(short)
    }

    /// This app's queues in which something waits, with how much.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn waiting(&self) -> anyhow::Result<Vec<String>> {
        let server = boot::servers(&self.common)?.1;
        broker::Look::at(&server, &self.common.broker_prefix).await?.waiting().await
    }

    /// Throws away what waits in a queue of this app.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn purge(&self, queue: &str) -> anyhow::Result<()> {
        let connection =
            boot::servers(&self.common)?.1.connect(ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let queue = self.broker_name(queue);
        channel.queue_purge(queue.as_str().into(), QueuePurgeOptions::default()).await?;
        Ok(())
    }

    /// The address of this app's broker, with the user in it.
    #[must_use]
    pub fn amqp_url(&self) -> &str {
        self.common.amqp_url.expose_secret()
    }

    async fn declare(&self) -> anyhow::Result<()> {
        let connection =
            boot::servers(&self.common)?.1.connect(ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        Ok(Topology::new(&self.common.broker_prefix).declare(&channel).await?)
    }
}
