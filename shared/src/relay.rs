//! Publishes what was committed and not published, or published and not done.

use futures_util::StreamExt as _;
use futures_util::stream;

use crate::broker::BrokerState;
use crate::db::{DbError, outbox};
use crate::work::Store;

/// How many messages one round takes.
const BATCH: i64 = 200;
const AT_ONCE: usize = 4;

/// Takes overdue messages and publishes them again; answers how many it took. Takes none while the
/// broker is away: each taking puts a message further off.
///
/// # Errors
/// When the database fails.
pub async fn run_once(store: &Store) -> Result<usize, DbError> {
    if !matches!(store.publisher().state(), BrokerState::Up(_)) {
        return Ok(0);
    }
    let overdue = {
        let mut conn = store.conn().await?;
        outbox::take_overdue(&mut conn, BATCH).await?
    };
    let taken = overdue.len();
    stream::iter(overdue)
        .for_each_concurrent(AT_ONCE, |message| async move { store.publish(&message).await })
        .await;
    metrics::counter!("latchkey_outbox_relayed_total").increment(taken as u64);
    Ok(taken)
}
