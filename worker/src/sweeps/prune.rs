//! Deletes what is older than anybody needs: whole days of events, of histories and of done
//! messages, ended deliveries, the answers that were kept for requests that are repeated, browsers' sessions,
//! and webhook secrets that sign no more.

use chrono::{Days, TimeDelta};
use latchkey_shared::db::{
    self, idempotency_keys, partitions, requests, sessions, webhook_deliveries, webhook_endpoints,
    workers,
};

use crate::context::Context;
use crate::outcome::Failure;

/// How long done messages are kept for those who ask what happened.
const OUTBOX_DAYS: u64 = 7;
const DELIVERY_DAYS: i64 = 30;
const BATCH: i64 = 10_000;

pub(super) async fn run(context: &Context) -> Result<usize, Failure> {
    let mut conn = context.store.conn().await?;
    let today = db::read_now(&mut conn).await?.date_naive();
    let event_days = u64::from(context.event_days);
    let days = [("events", event_days), ("account_history", event_days), ("outbox", OUTBOX_DAYS)];
    let mut pruned = 0;
    for (table, keep) in days {
        let keep_from = today - Days::new(keep);
        let dropped = partitions::drop_before(&mut conn, table, keep_from).await?;
        for name in &dropped {
            tracing::info!(partition = name, "dropped");
        }
        pruned += dropped.len();
        pruned += partitions::prune_default(&mut conn, table, keep_from, BATCH).await?;
    }
    let keep = TimeDelta::days(DELIVERY_DAYS);
    pruned += webhook_deliveries::prune(&mut conn, keep, BATCH).await?;
    pruned += webhook_endpoints::forget_old_secrets(&mut conn).await?;
    pruned += idempotency_keys::prune(&mut conn, BATCH).await?;
    pruned += requests::prune(&mut conn, BATCH).await?;
    pruned += sessions::prune(&mut conn, BATCH).await?;
    pruned += workers::prune(&mut conn).await?;
    Ok(pruned)
}
