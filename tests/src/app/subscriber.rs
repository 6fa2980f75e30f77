//! A subscriber's queue, which keeps every event until it is read.

use lapin::options::{
    BasicAckOptions, BasicGetOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties};
use latchkey_shared::boot;
use serde_json::Value;

use super::TestApp;

impl TestApp {
    /// Binds a queue that outlives the broker's death to every event.
    ///
    /// # Errors
    /// When the broker refuses.
    pub async fn subscribe(&self, name: &str) -> anyhow::Result<()> {
        let (connection, channel) = self.channel().await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let queue = self.queue_of(name);
        channel.queue_declare(queue.as_str().into(), options, arguments).await?;
        let exchange = format!("{}.events", self.common.broker_prefix);
        channel
            .queue_bind(
                queue.as_str().into(),
                exchange.into(),
                "#".into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await?;
        Ok(connection.close(200, "bound".into()).await?)
    }

    /// Makes a queue that refuses whatever comes, for these events of the app or for none.
    ///
    /// # Errors
    /// When the broker refuses.
    pub async fn make_full_queue(&self, name: &str, key: Option<&str>) -> anyhow::Result<()> {
        let (connection, channel) = self.channel().await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-max-length".into(), AMQPValue::LongInt(0));
        arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(name.into(), options, arguments).await?;
        if let Some(key) = key {
            let exchange = format!("{}.events", self.common.broker_prefix);
            let binding = QueueBindOptions::default();
            let nothing = FieldTable::default();
            channel.queue_bind(name.into(), exchange.into(), key.into(), binding, nothing).await?;
        }
        Ok(connection.close(200, "bound".into()).await?)
    }

    /// Deletes a queue.
    ///
    /// # Errors
    /// When the broker refuses.
    pub async fn delete_queue(&self, name: &str) -> anyhow::Result<()> {
        let (connection, channel) = self.channel().await?;
        channel.queue_delete(name.into(), QueueDeleteOptions::default()).await?;
        Ok(connection.close(200, "deleted".into()).await?)
    }

    /// Reads and takes away all that the queue keeps.
    ///
    /// # Errors
    /// When the broker is away.
    pub async fn read_subscription(&self, name: &str) -> anyhow::Result<Vec<Value>> {
        let (connection, channel) = self.channel().await?;
        let queue = self.queue_of(name);
        let mut events = Vec::new();
        while let Some(message) =
            channel.basic_get(queue.as_str().into(), BasicGetOptions::default()).await?
        {
            events.push(serde_json::from_slice(&message.delivery.data)?);
            message.delivery.acker.ack(BasicAckOptions::default()).await?;
        }
        channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
        connection.close(200, "read".into()).await?;
        Ok(events)
    }

    fn queue_of(&self, name: &str) -> String {
        format!("{}.subscribers.{name}", self.common.broker_prefix)
    }

    async fn channel(&self) -> anyhow::Result<(Connection, Channel)> {
        let server = boot::servers(&self.common)?.1;
        let connection = server.connect(ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        Ok((connection, channel))
    }
}
