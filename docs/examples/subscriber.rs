//! Hears Latchkey's events from a queue of its own and prints each as a line of JSON.
//!
//! ```text
//! target/debug/example-subscriber [NAME] [BINDING_KEY]
//! ```
//!
//! It never acknowledges an event before it is done with it, and never prints the broker's password.

mod seen;
mod settings;

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures_util::StreamExt as _;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties, ErrorKind};
use serde_json::Value;

use seen::Seen;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const AT_ONCE: u16 = 50;
/// Codes of RabbitMQ that no second try changes: permission, password, and a queue that stands otherwise.
const FINAL: [u16; 3] = [403, 406, 530];

struct Subscriber {
    exchange: String,
    queue: String,
    binding_key: String,
    pause: Duration,
    seen: Seen,
    newest: HashMap<String, u64>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "example".to_owned());
    let binding_key = match arguments.next() {
        Some(key) => key,
        None => format!("{}.#", settings::read("LATCHKEY_WORKSPACE")?),
    };
    let prefix = settings::read("LATCHKEY_BROKER_PREFIX")?;
    let server: AMQPUri = settings::read("AMQP_URL")?.parse().map_err(|_| {
        anyhow::anyhow!("AMQP_URL must look like amqp://user:password@host:5672/vhost")
    })?;
    let mut subscriber = Subscriber {
        exchange: format!("{prefix}.events"),
        queue: format!("{prefix}.subscribers.{name}"),
        binding_key,
        pause: FIRST_PAUSE,
        seen: Seen::default(),
        newest: HashMap::new(),
    };
    loop {
        let Err(error) = subscriber.listen(&server).await;
        if is_final(&error) {
            return Err(error);
        }
        eprintln!("{error:#}: trying again in {} s", subscriber.pause.as_secs());
        tokio::time::sleep(subscriber.pause).await;
        subscriber.pause = (2 * subscriber.pause).min(LONGEST_PAUSE);
    }
}

fn is_final(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<lapin::Error>().map(lapin::Error::kind);
    matches!(error, Some(ErrorKind::ProtocolError(error)) if FINAL.contains(&error.get_id()))
}

impl Subscriber {
    /// Until the connection or the queue is gone.
    async fn listen(&mut self, server: &AMQPUri) -> anyhow::Result<Infallible> {
        let options = ConnectionProperties::default();
        let connection = Connection::connect_uri(server.clone(), options).await?;
        let channel = connection.create_channel().await?;
        let queue = self.queue.as_str();
        // Durable and replicated: what happens while nobody listens waits here.
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        channel.queue_declare(queue.into(), options, arguments).await?;
        let (exchange, key) = (self.exchange.as_str(), self.binding_key.as_str());
        let (options, none) = (QueueBindOptions::default(), FieldTable::default());
        channel.queue_bind(queue.into(), exchange.into(), key.into(), options, none).await?;
        channel.basic_qos(AT_ONCE, BasicQosOptions::default()).await?;
        let (options, none) = (BasicConsumeOptions::default(), FieldTable::default());
        let mut events = channel.basic_consume(queue.into(), "".into(), options, none).await?;
        self.pause = FIRST_PAUSE;
        eprintln!("listening on {} for {}", self.queue, self.binding_key);
        while let Some(delivery) = events.next().await {
            let delivery = delivery?;
            self.take(&delivery.data)?;
            // Only now: a process that dies before gets the event again.
            delivery.ack(BasicAckOptions::default()).await?;
        }
        bail!("the connection or the queue is gone")
    }

    fn take(&mut self, body: &[u8]) -> anyhow::Result<()> {
        let event: Value = serde_json::from_slice(body)?;
        let id = event["id"].as_str().context("every event has an id")?;
        if !self.seen.contains(id) {
            self.check_order(id, &event);
            println!("{event}");
            self.seen.add(id);
        }
        Ok(())
    }

    /// Events may overtake each other. `sequence` numbers those of one account, from 1.
    fn check_order(&mut self, id: &str, event: &Value) {
        let account = event["data"]["accountId"].as_str();
        let (Some(account), Some(sequence)) = (account, event["sequence"].as_u64()) else {
            return;
        };
        let newest = self.newest.entry(account.to_owned()).or_default();
        if sequence < *newest {
            eprintln!("{id} is older than what is known of {account}: it must not overwrite that");
        }
        *newest = sequence.max(*newest);
    }
}
