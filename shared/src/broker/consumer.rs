//! Consumes a queue for as long as the process lives, and is the only one that settles deliveries.
//!
//! A stream of deliveries that ends, for whatever reason, is a failure to repair: a queue deleted
//! under its consumer ends it without an error.
//!
//! A message that the client library cannot parse breaks the connection, and nothing says which message it
//! was. So after a break deliveries are taken one by one: only what breaks the connection again counts against
//! the broker's limit, and its neighbours do not share its fate.

use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
    BasicRejectOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Supervisor;
use super::connection::CALL_TIMEOUT;
use crate::body;

/// What becomes of a delivery.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Settle {
    /// It is dealt with: all that must last is committed.
    Ack,
    /// It is no use to anybody: to the dead letters.
    Reject,
    /// Somebody else shall have it.
    Requeue,
}

/// How long deliveries are taken one by one after the connection broke.
const CAREFUL_FOR: Duration = Duration::from_secs(5);
/// A broker that goes away breaks a connection once; so many in a row are a delivery's doing.
const SUSPICIOUS_BREAKS: u32 = 3;

/// What reacts to the deliveries of a queue.
pub trait Receive: Clone + Send + Sync + 'static {
    /// Returns once deliveries can be dealt with. Until then none is taken: whatever is taken and put back
    /// counts against the broker's limit.
    fn ready(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// Reacts to one delivery. Runs in a task of its own, so that a panic ends this delivery alone.
    fn receive(&self, delivery: Received) -> impl Future<Output = Settle> + Send;
}

/// A delivery without the means to settle it.
#[derive(Clone, Debug)]
pub struct Received {
    /// AMQP `message_id`.
    pub message_id: Option<String>,
    /// AMQP `type`.
    pub kind: Option<String>,
    /// AMQP `user_id`: who sent it, which the broker has checked.
    pub user_id: Option<String>,
    /// AMQP `reply_to`.
    pub reply_to: Option<String>,
    /// AMQP `correlation_id`.
    pub correlation_id: Option<String>,
    /// Whether somebody had it before and did not settle it.
    pub redelivered: bool,
    /// Routing key.
    pub routing_key: String,
    /// Where it died first and why, in the broker's words.
    pub death: Option<Death>,
    /// At most [`KEPT_BYTES`] of the body: what is longer is no use to anybody, and would fill the memory.
    pub body: Vec<u8>,
    /// How long the body was.
    pub size: usize,
}

/// How much of a body is kept: a byte more than the longest that anybody reads.
const KEPT_BYTES: usize = body::LIMIT + 1;

/// What the broker says of a dead letter.
#[derive(Clone, Debug)]
pub struct Death {
    /// The queue that it died in.
    pub queue: String,
    /// `rejected`, `delivery_limit` or another word of the broker.
    pub reason: String,
}

impl Death {
    fn read(headers: Option<&FieldTable>) -> Option<Self> {
        let text =
            |name: &str| headers?.inner().get(name)?.as_long_string().map(ToString::to_string);
        Some(Self { queue: text("x-first-death-queue")?, reason: text("x-first-death-reason")? })
    }
}

/// Why a session with the broker ended, other than by an error.
enum End {
    Stopped,
    /// A delivery was put back.
    PutBack,
    /// Nothing broke the connection for [`CAREFUL_FOR`].
    Survived,
}

/// Consumes `queue` until `stop`, at most `prefetch` deliveries at a time; then lets what was begun
/// end. Returns when the last one is settled.
pub async fn consume<R: Receive>(
    supervisor: Supervisor,
    queue: &str,
    prefetch: u16,
    receive: R,
    stop: CancellationToken,
) {
    let tasks = TaskTracker::new();
    let mut breaks = 0;
    loop {
        let ready = async {
            receive.ready().await;
            supervisor.connected().await
        };
        let Some(Some(connection)) = stop.run_until_cancelled(ready).await else { break };
        let session = async {
            let channel = tokio::time::timeout(CALL_TIMEOUT, connection.create_channel()).await??;
            let name = supervisor.topology().name(queue);
            // A queue may have been deleted, or the broker wiped, since the connection was made.
            let declaring = supervisor.topology().declare(&channel);
            tokio::time::timeout(CALL_TIMEOUT * 2, declaring).await??;
            let careful = breaks > 0;
            let consumer = open(&channel, &name, if careful { 1 } else { prefetch }).await?;
            let session = Session { channel, receive: &receive, tasks: &tasks, stop: &stop };
            session.run(consumer, careful).await
        };
        let error = match session.await {
            Ok(End::Stopped) => break,
            Ok(End::Survived) => {
                breaks = 0;
                continue;
            }
            Ok(End::PutBack) => continue,
            Err(error) => error,
        };
        if connection.status().connected() {
            tracing::warn!(queue, "consumer ended, starting again: {error:#}");
            stop.run_until_cancelled(tokio::time::sleep(Duration::from_millis(500))).await;
            continue;
        }
        // Of a broker that is away its connection has told.
        tracing::debug!(queue, "consumer ended with its connection: {error:#}");
        stop.run_until_cancelled(supervisor.lost(&connection)).await;
        breaks += 1;
        if breaks == SUSPICIOUS_BREAKS {
            tracing::warn!(
                queue,
                "a message breaks the connection: taking one at a time until the broker sets it aside"
            );
        }
    }
    tasks.close();
    tasks.wait().await;
}

async fn open(channel: &Channel, queue: &str, prefetch: u16) -> anyhow::Result<Consumer> {
    let setup = async {
        channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        channel
            .basic_consume(
                queue.into(),
                "".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await
    };
    Ok(tokio::time::timeout(CALL_TIMEOUT, setup).await??)
}

struct Session<'a, R> {
    channel: Channel,
    receive: &'a R,
    tasks: &'a TaskTracker,
    stop: &'a CancellationToken,
}

impl<R: Receive> Session<'_, R> {
    async fn run(&self, mut consumer: Consumer, careful: bool) -> anyhow::Result<End> {
        let put_back = CancellationToken::new();
        let survived = tokio::time::sleep(CAREFUL_FOR);
        tokio::pin!(survived);
        let end = loop {
            let next = tokio::select! {
                next = consumer.next() => next,
                () = self.stop.cancelled() => break End::Stopped,
                () = put_back.cancelled() => break End::PutBack,
                () = &mut survived, if careful => break End::Survived,
            };
            let delivery =
                next.ok_or_else(|| anyhow::anyhow!("the stream of deliveries ended"))??;
            let (receive, channel) = (self.receive.clone(), self.channel.clone());
            let put_back = put_back.clone();
            self.tasks.spawn(async move {
                if deal_with(delivery, receive, channel).await == Settle::Requeue {
                    put_back.cancel();
                }
            });
        };
        let cancelling = self.channel.basic_cancel(consumer.tag(), BasicCancelOptions::default());
        drop(tokio::time::timeout(CALL_TIMEOUT, cancelling).await);
        Ok(end)
    }
}

/// Holds on to the channel, which closes when nobody does: a delivery is settled on its own.
async fn deal_with<R: Receive>(delivery: Delivery, receive: R, _channel: Channel) -> Settle {
    let text = |property: &Option<ShortString>| property.as_ref().map(ToString::to_string);
    let (size, mut body) = (delivery.data.len(), delivery.data);
    body.truncate(KEPT_BYTES);
    body.shrink_to_fit();
    let received = Received {
        message_id: text(delivery.properties.message_id()),
        kind: text(delivery.properties.kind()),
        user_id: text(delivery.properties.user_id()),
        reply_to: text(delivery.properties.reply_to()),
        correlation_id: text(delivery.properties.correlation_id()),
        redelivered: delivery.redelivered,
        routing_key: delivery.routing_key.to_string(),
        death: Death::read(delivery.properties.headers().as_ref()),
        body,
        size,
    };
    let handling = tokio::spawn(async move { receive.receive(received).await });
    // A panic that got this far is the receiver's own; whoever takes the message next counts it.
    let settle = handling.await.unwrap_or(Settle::Requeue);
    let acker = delivery.acker;
    let settling = async {
        match settle {
            Settle::Ack => acker.ack(BasicAckOptions::default()).await,
            Settle::Reject => acker.reject(BasicRejectOptions { requeue: false }).await,
            Settle::Requeue => {
                acker.nack(BasicNackOptions { requeue: true, multiple: false }).await
            }
        }
    };
    match tokio::time::timeout(CALL_TIMEOUT, settling).await {
        Ok(Ok(true)) => {}
        Ok(Ok(false)) | Err(_) => {
            tracing::debug!(?settle, "not settled: the broker will deliver again")
        }
        Ok(Err(error)) => {
            tracing::debug!(?settle, "not settled, the broker will deliver again: {error}")
        }
    }
    settle
}
