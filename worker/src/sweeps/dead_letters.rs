//! Moves dead letters from the broker into the database, where a person can look at them with SQL.

use std::time::Duration;

use latchkey_shared::broker::consumer::{Receive, Received, Settle};
use latchkey_shared::db::DbError;
use latchkey_shared::db::dead_letters::{self, NewDeadLetter};
use tokio::time::Instant;

use crate::context::Context;

/// Between two attempts to keep a letter.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a letter is held: below the broker's limit for a delivery, which is 30 minutes.
const PATIENCE: Duration = Duration::from_secs(1_200);

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
        let death = delivery.death.as_ref();
        let letter = NewDeadLetter {
            message_id: delivery.message_id.as_deref(),
            kind: delivery.kind.as_deref(),
            queue: death.map(|death| death.queue.as_str()),
            routing_key: &delivery.routing_key,
            about: &[
                ("user_id", delivery.user_id.as_deref()),
                ("bytes", Some(&delivery.size.to_string())),
            ],
            body: &delivery.body,
            reason: death.map_or("unknown", |death| death.reason.as_str()),
        };
        let mut conn = self.context.store.conn().await?;
        dead_letters::insert(&mut conn, &letter).await.map(drop)
    }
}

impl Receive for DeadLetterKeeper {
    async fn ready(&self) {
        while self.context.store.conn().await.is_err() {
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The broker gives up a letter that was put back too often, so one that cannot be kept yet is held for as
    /// long as that makes sense.
    async fn receive(&self, delivery: Received) -> Settle {
        let begun = Instant::now();
        let mut failures = 0;
        while let Err(error) = self.keep(&delivery).await {
            failures += 1;
            if failures == 1 {
                let id = delivery.message_id.as_deref();
                tracing::warn!(message.id = id, "a dead letter cannot be kept yet: {error}");
            }
            let pausing = tokio::time::sleep(PAUSE);
            let stopped = self.context.stop.run_until_cancelled(pausing).await.is_none();
            if stopped || begun.elapsed() >= PATIENCE {
                return Settle::Requeue;
            }
        }
        metrics::counter!("latchkey_dead_letters_total").increment(1);
        tracing::error!(
            message.id = delivery.message_id,
            message.kind = delivery.kind,
            "a dead letter was kept"
        );
        Settle::Ack
    }
}
