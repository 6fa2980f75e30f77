//! Publishes `check_due` for the accounts whose own token is to be looked at.

use latchkey_shared::broker::BrokerState;
use latchkey_shared::db::account_checks;
use latchkey_shared::messages::Command;

use crate::context::Context;
use crate::outcome::Failure;

const BATCH: i64 = 200;

pub(super) async fn run(context: &Context) -> Result<usize, Failure> {
    // Taking an account puts it off: not while nobody could be told.
    if !matches!(context.store.publisher().state(), BrokerState::Up(_)) {
        return Ok(0);
    }
    let due = {
        let mut conn = context.store.conn().await?;
        account_checks::take_due(&mut conn, BATCH).await?
    };
    let taken = due.len();
    for check in due {
        if let Err(error) = context.store.nudge(&Command::CheckDue(check)).await {
            tracing::warn!("checks are dispatched again in 2 min: {error}");
        }
    }
    Ok(taken)
}
