//! Moves dead letters from the broker into the database, where a person can look at them with SQL.

use std::time::Duration;

use latchkey_shared::broker::consumer::{Receive, Received, Settle};
use latchkey_shared::db::DbError;
use latchkey_shared::db::dead_letters::{self, NewDeadLetter};
use serde_json::Value;

use crate::context::Context;

/// How much of a body is kept: our own are far below.
const MAX_BODY: usize = 64 * 1024;

/// Receives the deliveries of the queue of dead letters.
#[derive(Clone, Debug)]
pub struct DeadLetterKeeper {
    context: Context,
}

impl DeadLetterKeeper {
    /// A keeper with this context.
    #[must_use]
    pub fn new(context: Context) -> Self {
        Self { context }
    }

    async fn keep(&self, delivery: &Received) -> Result<(), DbError> {
        let headers = serde_json::to_value(&delivery.headers).unwrap_or(Value::Null);
        let first = |what: &str| -> Option<String> {
            let header = delivery.headers.inner().get(format!("x-first-death-{what}").as_str())?;
            header.as_long_string().map(ToString::to_string)
        };
        let (queue, reason) = (first("queue"), first("reason"));
        let letter = NewDeadLetter {
            message_id: delivery.message_id.as_deref(),
            kind: delivery.kind.as_deref(),
            queue: queue.as_deref(),
            routing_key: &delivery.routing_key,
            headers: &headers,
            body: &delivery.body[..delivery.body.len().min(MAX_BODY)],
            reason: reason.as_deref().unwrap_or("unknown"),
        };
        let mut conn = self.context.store.conn().await?;
        dead_letters::insert(&mut conn, self.context.clock(), &letter).await
    }
}

impl Receive for DeadLetterKeeper {
    async fn ready(&self) {
        while self.context.store.conn().await.is_err() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    async fn receive(&self, delivery: Received) -> Settle {
        match self.keep(&delivery).await {
            Ok(()) => {
                metrics::counter!("latchkey_dead_letters_total").increment(1);
                tracing::error!(
                    message.id = delivery.message_id,
                    message.kind = delivery.kind,
                    "a dead letter was kept"
                );
                Settle::Ack
            }
            Err(error) => {
                tracing::warn!("a dead letter could not be kept yet: {error}");
                self.context
                    .stop
                    .run_until_cancelled(tokio::time::sleep(Duration::from_secs(1)))
                    .await;
                Settle::Requeue
            }
        }
    }
}
