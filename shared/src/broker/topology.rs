//! Every exchange, queue and binding, in one table, declared alike by every process that may.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection, ErrorKind, ExchangeKind};

use crate::messages::CommandKind;

/// The exchange of commands (direct, by kind).
pub const COMMANDS: &str = "commands";
/// The exchange of events (topic, `<workspaceId>.<type>`).
pub const EVENTS: &str = "events";
/// The exchange (topic, by type) and the queue of producers' requests.
pub const REQUESTS: &str = "requests";
/// The broker's default exchange, which has no name: replies go by it to the queue that is asked for.
pub const DEFAULT: &str = "";
/// The exchange of dead letters. Earlier versions have a queue of this name.
pub const DEAD: &str = "dead";
/// The queue of dead letters.
pub const DEAD_LETTERS: &str = "dead_letters";
/// The queue of messages that break the connection of the client that receives them. It has no consumer.
pub const UNREADABLE: &str = "unreadable";

/// The pools of workers that consume a queue of commands each, with the kinds that they handle.
pub const COMMAND_QUEUES: [(&str, &[CommandKind]); 4] = [
    ("connect", &[CommandKind::CallbackReceived]),
    ("refresh", &[CommandKind::RefreshDue, CommandKind::CheckDue]),
    ("revocation", &[CommandKind::RevocationDue]),
    ("webhook", &[CommandKind::WebhookDue]),
];

/// The broker's own last guard against a message that kills its consumer; attempts are counted in
/// PostgreSQL. Far above any plausible number of crashes: with a prefetch above one, a crash
/// counts against the innocent neighbours too.
const DELIVERY_LIMIT: i64 = 20;
/// Beyond this a queue refuses, and the outbox holds what it refused.
const MAX_LENGTH: i64 = 1_000_000;
/// Strangers write what ends here: the oldest makes room.
const MAX_UNREADABLE: i64 = 1_000;
const MAX_UNREADABLE_BYTES: i64 = 64 * 1024 * 1024;

/// Names with the installation's prefix, so that several installations share one broker.
#[derive(Clone, Debug)]
pub struct Topology {
    prefix: String,
}

impl Topology {
    /// All names begin with `prefix` and a dot.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// The full name of an exchange.
    #[must_use]
    pub fn exchange(&self, short: &str) -> String {
        if short == DEFAULT { String::new() } else { self.name(short) }
    }

    /// What the names of queues begin with that producers make for their answers.
    #[must_use]
    pub fn replies(&self) -> String {
        self.name("replies.")
    }

    /// The full name of a queue, or of an exchange that has one.
    #[must_use]
    pub fn name(&self, short: &str) -> String {
        format!("{}.{short}", self.prefix)
    }

    /// The full names of all queues.
    pub fn queues(&self) -> impl Iterator<Item = String> + '_ {
        let commands = COMMAND_QUEUES.iter().map(|(queue, _)| self.name(queue));
        let others = [REQUESTS, DEAD_LETTERS, UNREADABLE];
        commands.chain(others.into_iter().map(|queue| self.name(queue)))
    }

    /// The full names of all exchanges.
    pub fn exchanges(&self) -> impl Iterator<Item = String> + '_ {
        [COMMANDS, EVENTS, REQUESTS, DEAD].iter().map(|exchange| self.name(exchange))
    }

    /// Declares everything, or looks that it is there where this process may not declare it.
    ///
    /// # Errors
    /// When the broker refuses, or a part is missing that another process has to declare.
    pub async fn ensure(&self, connection: &Connection) -> lapin::Result<()> {
        let channel = connection.create_channel().await?;
        match self.declare(&channel).await {
            // The refusal has closed the channel.
            Err(refusal) if is_access_refused(&refusal) => {
                let channel = connection.create_channel().await?;
                self.look(&channel).await?;
                channel.close(200, "seen".into()).await
            }
            declared => {
                declared?;
                channel.close(200, "declared".into()).await
            }
        }
    }

    /// Bindings cannot be seen: a message that misses one comes back, and a process that may declare binds again.
    async fn look(&self, channel: &Channel) -> lapin::Result<()> {
        for exchange in self.exchanges() {
            let options =
                ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
            let (kind, arguments) = (ExchangeKind::Direct, FieldTable::default());
            channel.exchange_declare(exchange.into(), kind, options, arguments).await?;
        }
        for queue in self.queues() {
            let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            channel.queue_declare(queue.into(), options, FieldTable::default()).await?;
        }
        Ok(())
    }

    /// Declares everything. Declaring what stands already changes nothing.
    ///
    /// # Errors
    /// When the broker refuses, for example because something of the same name stands otherwise.
    pub async fn declare(&self, channel: &Channel) -> lapin::Result<()> {
        self.declare_exchange(channel, COMMANDS, ExchangeKind::Direct).await?;
        self.declare_exchange(channel, EVENTS, ExchangeKind::Topic).await?;
        self.declare_exchange(channel, REQUESTS, ExchangeKind::Topic).await?;
        self.declare_exchange(channel, DEAD, ExchangeKind::Fanout).await?;
        self.declare_queue(channel, UNREADABLE, unreadable_arguments()).await?;
        self.declare_queue(channel, DEAD_LETTERS, self.dead_letter_arguments()).await?;
        self.bind(channel, DEAD_LETTERS, DEAD, "").await?;
        self.unbind(channel, DEAD, DEAD).await?;
        self.declare_queue(channel, REQUESTS, self.work_arguments()).await?;
        // All of them: a type that is misspelt is answered instead of vanishing.
        self.bind(channel, REQUESTS, REQUESTS, "#").await?;
        for (queue, kinds) in COMMAND_QUEUES {
            self.declare_queue(channel, queue, self.work_arguments()).await?;
            for kind in kinds {
                self.bind(channel, queue, COMMANDS, kind.as_str()).await?;
            }
        }
        Ok(())
    }

    async fn declare_exchange(
        &self,
        channel: &Channel,
        name: &str,
        kind: ExchangeKind,
    ) -> lapin::Result<()> {
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        channel.exchange_declare(self.name(name).into(), kind, options, FieldTable::default()).await
    }

    async fn declare_queue(
        &self,
        channel: &Channel,
        name: &str,
        arguments: FieldTable,
    ) -> lapin::Result<()> {
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(self.name(name).into(), options, arguments).await.map(drop)
    }

    async fn bind(
        &self,
        channel: &Channel,
        queue: &str,
        exchange: &str,
        key: &str,
    ) -> lapin::Result<()> {
        let (queue, exchange): (ShortString, ShortString) =
            (self.name(queue).into(), self.name(exchange).into());
        channel
            .queue_bind(
                queue,
                exchange,
                key.into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await
    }

    /// Succeeds too where there is no such queue, and where it was not bound.
    async fn unbind(&self, channel: &Channel, queue: &str, exchange: &str) -> lapin::Result<()> {
        let (queue, exchange) = (self.name(queue).into(), self.name(exchange).into());
        channel.queue_unbind(queue, exchange, "".into(), FieldTable::default()).await
    }

    fn work_arguments(&self) -> FieldTable {
        consumed([("x-dead-letter-exchange", text(&self.name(DEAD)))])
    }

    /// What cannot even be kept as a dead letter is set aside.
    fn dead_letter_arguments(&self) -> FieldTable {
        consumed([
            ("x-dead-letter-exchange", text(DEFAULT)),
            ("x-dead-letter-routing-key", text(&self.name(UNREADABLE))),
        ])
    }
}

fn is_access_refused(error: &lapin::Error) -> bool {
    let kind = AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED);
    matches!(error.kind(), ErrorKind::ProtocolError(said) if *said.kind() == kind)
}

/// Dead letters must not get lost on their way: at-least-once needs all of a quorum queue,
/// `reject-publish` and a dead-letter exchange.
fn consumed<const N: usize>(dead_letters: [(&str, AMQPValue); N]) -> FieldTable {
    let mut arguments = table([
        ("x-queue-type", text("quorum")),
        ("x-delivery-limit", AMQPValue::LongLongInt(DELIVERY_LIMIT)),
        ("x-overflow", text("reject-publish")),
        ("x-max-length", AMQPValue::LongLongInt(MAX_LENGTH)),
        ("x-dead-letter-strategy", text("at-least-once")),
    ]);
    for (key, value) in dead_letters {
        arguments.insert(key.into(), value);
    }
    arguments
}

fn unreadable_arguments() -> FieldTable {
    table([
        ("x-queue-type", text("quorum")),
        ("x-overflow", text("drop-head")),
        ("x-max-length", AMQPValue::LongLongInt(MAX_UNREADABLE)),
        ("x-max-length-bytes", AMQPValue::LongLongInt(MAX_UNREADABLE_BYTES)),
    ])
}

fn table<const N: usize>(entries: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in entries {
        table.insert(key.into(), value);
    }
    table
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_exactly_one_queue() {
        for kind in CommandKind::ALL {
            let queues = COMMAND_QUEUES.iter().filter(|(_, kinds)| kinds.contains(kind)).count();
            assert_eq!(queues, 1, "{kind}");
        }
    }
}
