//! A test's own look at the broker.

use std::time::Duration;

use anyhow::ensure;
use futures_util::StreamExt as _;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeleteOptions,
    QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use latchkey_shared::broker::{Server, Topology};
use latchkey_shared::messages::CommandKind;
use serde_json::Value;

/// Sees every message of an exchange.
pub struct Tap {
    consumer: lapin::Consumer,
    _connection: Connection,
}

impl Tap {
    pub(super) async fn on(server: &Server, prefix: &str, exchange: &str) -> anyhow::Result<Self> {
        let connection = connect(server).await?;
        let channel = connection.create_channel().await?;
        // The processes under test declare alike; the test may be first.
        Topology::new(prefix).declare(&channel).await?;
        let options = QueueDeclareOptions {
            exclusive: true,
            auto_delete: true,
            ..QueueDeclareOptions::default()
        };
        let queue = channel.queue_declare("".into(), options, FieldTable::default()).await?;
        let exchange = format!("{prefix}.{exchange}");
        // A direct exchange matches keys to the letter: one binding for each kind of command.
        let kinds = CommandKind::ALL.iter().map(|kind| kind.as_str());
        for key in kinds.chain(["#"]) {
            let none = FieldTable::default();
            let options = QueueBindOptions::default();
            channel
                .queue_bind(
                    queue.name().clone(),
                    exchange.as_str().into(),
                    key.into(),
                    options,
                    none,
                )
                .await?;
        }
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let consumer = channel
            .basic_consume(queue.name().clone(), "".into(), options, FieldTable::default())
            .await?;
        Ok(Self { consumer, _connection: connection })
    }

    /// The next message: its type, and its body as text.
    ///
    /// # Errors
    /// When none comes in time.
    pub async fn next(&mut self) -> anyhow::Result<(String, String)> {
        let next = tokio::time::timeout(super::PATIENCE, self.consumer.next()).await;
        let next = next.map_err(|_| super::told(anyhow::anyhow!("no message came")))?;
        let delivery = next.ok_or_else(|| anyhow::anyhow!("the broker closed the tap"))??;
        let kind = delivery.properties.kind().as_ref().map(ToString::to_string).unwrap_or_default();
        Ok((kind, String::from_utf8_lossy(&delivery.data).into_owned()))
    }

    /// The next message of each of these types, in whatever order they come, as JSON.
    ///
    /// # Errors
    /// When one does not come in time.
    pub async fn next_of_each(&mut self, kinds: &[&str]) -> anyhow::Result<Vec<Value>> {
        let mut found: Vec<Option<Value>> = vec![None; kinds.len()];
        while found.iter().any(Option::is_none) {
            let (kind, body) = self.next().await?;
            if let Some(at) = kinds.iter().position(|wanted| *wanted == kind) {
                found[at] = Some(serde_json::from_str(&body)?);
            }
        }
        Ok(found.into_iter().flatten().collect())
    }

    /// Everything that came and was not looked at.
    pub async fn rest(&mut self) -> Vec<String> {
        let mut rest = Vec::new();
        while let Ok(Some(Ok(delivery))) =
            tokio::time::timeout(Duration::from_millis(200), self.consumer.next()).await
        {
            rest.push(String::from_utf8_lossy(&delivery.data).into_owned());
        }
        rest
    }
}

pub(super) async fn publish(
    server: &Server,
    exchange: &str,
    (kind, key): (&str, &str),
    body: &[u8],
) -> anyhow::Result<()> {
    let connection = connect(server).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let properties = BasicProperties::default()
        .with_type(kind.into())
        .with_message_id("raw".into())
        .with_delivery_mode(2);
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let confirm = channel
        .basic_publish(exchange.into(), key.into(), options, body, properties)
        .await?
        .await?;
    ensure!(
        confirm.is_ack() && confirm.take_message().is_none(),
        "the broker did not take the message"
    );
    Ok(())
}

/// A look at all that bears a prefix.
pub(super) struct Look {
    topology: Topology,
    channel: Channel,
    _connection: Connection,
}

impl Look {
    pub(super) async fn at(server: &Server, prefix: &str) -> anyhow::Result<Self> {
        let connection = connect(server).await?;
        let (topology, channel) = (Topology::new(prefix), connection.create_channel().await?);
        // A test may be over before any process of its own has declared it.
        topology.declare(&channel).await?;
        Ok(Self { topology, channel, _connection: connection })
    }

    /// The queues in which something waits.
    pub(super) async fn waiting(&self) -> anyhow::Result<Vec<String>> {
        let mut waiting = Vec::new();
        for queue in self.topology.queues() {
            let left = count(&self.channel, &queue).await?;
            if left > 0 {
                waiting.push(format!("{queue}: {left}"));
            }
        }
        Ok(waiting)
    }

    /// Removes it all.
    pub(super) async fn delete_all(self) -> anyhow::Result<()> {
        let Self { topology, channel, .. } = &self;
        for queue in topology.queues() {
            channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await?;
        }
        for exchange in topology.exchanges() {
            let options = ExchangeDeleteOptions::default();
            channel.exchange_delete(exchange.as_str().into(), options).await?;
        }
        Ok(())
    }
}

async fn count(channel: &Channel, queue: &str) -> anyhow::Result<u32> {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    Ok(channel.queue_declare(queue.into(), options, FieldTable::default()).await?.message_count())
}

async fn connect(server: &Server) -> anyhow::Result<Connection> {
    Ok(server.connect(ConnectionProperties::default()).await?)
}
