//! Publishes `webhook_due` for the deliveries whose time has come, of each endpoint as many as it has room
//! for; and ends those of endpoints that are disabled.

use latchkey_shared::broker::BrokerState;
use latchkey_shared::db::webhook_deliveries;
use latchkey_shared::messages::Command;

use crate::context::Context;
use crate::outcome::Failure;

const BATCH: i64 = 500;

pub(super) async fn run(context: &Context) -> Result<usize, Failure> {
    let ended = {
        let mut conn = context.store.conn().await?;
        webhook_deliveries::fail_disabled(&mut conn, BATCH).await?
    };
    // Taking a delivery puts it off: not while nobody could be told.
    if !matches!(context.store.publisher().state(), BrokerState::Up(_)) {
        return Ok(ended);
    }
    let due = {
        let mut conn = context.store.conn().await?;
        webhook_deliveries::take_due(&mut conn, context.lanes.cap(), BATCH).await?
    };
    let taken = due.len();
    for delivery in due {
        if let Err(error) = context.store.nudge(&Command::WebhookDue(delivery)).await {
            tracing::warn!("deliveries are dispatched again in 2 min: {error}");
        }
    }
    Ok(ended + taken)
}
