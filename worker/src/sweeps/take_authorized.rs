//! Takes connects whose code or selection waits although the broker should have brought them, and those
//! whose worker never came back, and handles them without the broker.

use chrono::TimeDelta;
use futures_util::StreamExt as _;
use futures_util::stream;
use latchkey_shared::db::connects;
use latchkey_shared::messages::{CallbackReceived, Command};

use crate::context::Context;
use crate::handlers;
use crate::outcome::Failure;

/// How long the broker may take. Codes live for as little as 30 s.
const PATIENCE: TimeDelta = TimeDelta::seconds(3);
const BATCH: i64 = 100;
const AT_ONCE: usize = 16;

pub(super) async fn run(context: &Context) -> Result<usize, Failure> {
    let waiting = {
        let mut conn = context.store.conn().await?;
        connects::left_behind(&mut conn, PATIENCE, BATCH).await?
    };
    let taken = waiting.len();
    let taking: Vec<_> = waiting.into_iter().map(|connect| take(context, connect)).collect();
    stream::iter(taking).buffer_unordered(AT_ONCE).collect::<()>().await;
    Ok(taken)
}

async fn take(context: &Context, connect: CallbackReceived) {
    let id = connect.connect_id.clone();
    if let Err(failure) = handlers::handle(context, &Command::CallbackReceived(connect)).await {
        tracing::warn!(connect.id = %id, "a connect is still waiting: {:#}", anyhow::Error::new(failure));
    }
}
