//! What a user of the broker can try, and whether it is refused for want of permission.

use anyhow::{Context as _, ensure};
use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions,
    ExchangeBindOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions,
    QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ErrorKind, ExchangeKind};

const REFUSED: u16 = 403;

/// One thing to try.
#[derive(Clone, Debug)]
pub(super) enum Try {
    /// Exchange, routing key.
    Publish(&'static str, String),
    /// User.
    PublishAs(&'static str),
    /// Another routing key for a copy.
    PublishCopy(&'static str),
    Consume(String),
    Get(String),
    Purge(String),
    Delete(String),
    Declare(String),
    /// Queue; the exchange for its dead letters.
    DeclareDying(&'static str, &'static str),
    /// Looks without making.
    DeclarePassively(String),
    /// Queue, exchange, binding key.
    Bind(String, &'static str, String),
    Unbind(String, &'static str, String),
    DeclareExchange(&'static str),
    DeleteExchange(&'static str),
    /// Destination, source, binding key.
    BindExchange(&'static str, &'static str, String),
}

/// A user's connection.
pub(super) struct User(pub(super) Connection);

impl User {
    pub(super) async fn at(url: &str) -> anyhow::Result<Self> {
        Ok(Self(Connection::connect(url, ConnectionProperties::default()).await?))
    }

    /// On a channel of its own, since a refusal closes it.
    pub(super) async fn tries(&self, this: &Try) -> lapin::Result<()> {
        let channel = self.0.create_channel().await?;
        match this {
            Try::Publish(..) | Try::PublishAs(_) | Try::PublishCopy(_) => {
                publish(&channel, this).await
            }
            Try::Consume(_) | Try::Get(_) | Try::Purge(_) | Try::Delete(_) => {
                take(&channel, this).await
            }
            Try::DeclareExchange(_) | Try::DeleteExchange(_) | Try::BindExchange(..) => {
                change_exchange(&channel, this).await
            }
            _ => change_queue(&channel, this).await,
        }
    }

    /// All of these are done.
    pub(super) async fn may(&self, these: &[Try]) -> anyhow::Result<()> {
        for this in these {
            self.tries(this).await.with_context(|| format!("{this:?} was refused"))?;
        }
        Ok(())
    }

    /// All of these are refused for want of permission.
    pub(super) async fn may_not(&self, these: &[Try]) -> anyhow::Result<()> {
        for this in these {
            let refusal = self.tries(this).await;
            ensure!(code(&refusal) == Some(REFUSED), "{this:?} was not refused: {refusal:?}");
        }
        Ok(())
    }
}

/// The code that RabbitMQ refused it with.
pub(super) fn code(outcome: &lapin::Result<()>) -> Option<u16> {
    match outcome.as_ref().err()?.kind() {
        ErrorKind::ProtocolError(error) => Some(error.get_id()),
        _ => None,
    }
}

async fn publish(channel: &Channel, this: &Try) -> lapin::Result<()> {
    let properties = BasicProperties::default();
    let (exchange, key, properties) = match this {
        Try::Publish(exchange, key) => (*exchange, key.as_str(), properties),
        Try::PublishAs(user) => {
            ("latchkey.requests", "connect.requested", properties.with_user_id((*user).into()))
        }
        Try::PublishCopy(key) => {
            let keys = FieldArray::from(vec![AMQPValue::LongString((*key).into())]);
            let mut headers = FieldTable::default();
            headers.insert("CC".into(), AMQPValue::FieldArray(keys));
            ("latchkey.requests", "connect.requested", properties.with_headers(headers))
        }
        other => unreachable!("{other:?} publishes nothing"),
    };
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let options = BasicPublishOptions::default();
    channel
        .basic_publish(exchange.into(), key.into(), options, b"{}", properties)
        .await?
        .await
        .map(drop)
}

async fn take(channel: &Channel, this: &Try) -> lapin::Result<()> {
    match this {
        Try::Consume(queue) => {
            let (options, none) = (BasicConsumeOptions::default(), FieldTable::default());
            channel.basic_consume(queue.as_str().into(), "".into(), options, none).await.map(drop)
        }
        Try::Get(queue) => {
            channel.basic_get(queue.as_str().into(), BasicGetOptions::default()).await.map(drop)
        }
        Try::Purge(queue) => {
            let options = QueuePurgeOptions::default();
            channel.queue_purge(queue.as_str().into(), options).await.map(drop)
        }
        Try::Delete(queue) => {
            let options = QueueDeleteOptions::default();
            channel.queue_delete(queue.as_str().into(), options).await.map(drop)
        }
        other => unreachable!("{other:?} takes nothing"),
    }
}

async fn change_queue(channel: &Channel, this: &Try) -> lapin::Result<()> {
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let none = FieldTable::default();
    match this {
        // A name that the server chooses is for exclusive queues, which are never quorum queues.
        Try::Declare(queue) if queue.is_empty() => {
            let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
            channel.queue_declare("".into(), options, none).await.map(drop)
        }
        Try::Declare(queue) => {
            channel.queue_declare(queue.as_str().into(), durable, arguments).await.map(drop)
        }
        Try::DeclareDying(queue, exchange) => {
            for (name, value) in [
                ("x-dead-letter-exchange", *exchange),
                ("x-dead-letter-routing-key", "latchkey.connect"),
            ] {
                arguments.insert(name.into(), AMQPValue::LongString(value.into()));
            }
            channel.queue_declare((*queue).into(), durable, arguments).await.map(drop)
        }
        Try::DeclarePassively(queue) => {
            let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            channel.queue_declare(queue.as_str().into(), options, none).await.map(drop)
        }
        Try::Bind(queue, exchange, key) => {
            let (queue, key) = (queue.as_str().into(), key.as_str().into());
            let options = QueueBindOptions::default();
            channel.queue_bind(queue, (*exchange).into(), key, options, none).await
        }
        Try::Unbind(queue, exchange, key) => {
            let (queue, key) = (queue.as_str().into(), key.as_str().into());
            channel.queue_unbind(queue, (*exchange).into(), key, none).await
        }
        other => unreachable!("{other:?} is not about a queue"),
    }
}

async fn change_exchange(channel: &Channel, this: &Try) -> lapin::Result<()> {
    let none = FieldTable::default();
    match this {
        Try::DeclareExchange(name) => {
            let options = ExchangeDeclareOptions::default();
            channel.exchange_declare((*name).into(), ExchangeKind::Topic, options, none).await
        }
        Try::DeleteExchange(name) => {
            channel.exchange_delete((*name).into(), ExchangeDeleteOptions::default()).await
        }
        Try::BindExchange(to, from, key) => {
            let (options, key) = (ExchangeBindOptions::default(), key.as_str().into());
            channel.exchange_bind((*to).into(), (*from).into(), key, options, none).await
        }
        other => unreachable!("{other:?} is not about an exchange"),
    }
}
