//! Ends connects that nobody finished in time.

use chrono::TimeDelta;
use latchkey_shared::db::connects;

use super::each;
use crate::context::Context;
use crate::handlers;
use crate::outcome::Failure;

/// How long after a connect's end its exchange may still be going on.
const STUCK: TimeDelta = TimeDelta::minutes(15);
const BATCH: i64 = 200;

pub(super) async fn run(context: &Context) -> Result<usize, Failure> {
    let overdue = {
        let mut conn = context.store.conn().await?;
        connects::overdue(&mut conn, STUCK, BATCH).await?
    };
    each(&overdue, async |row| handlers::expire_connect(context, row).await.map(|_| 1)).await
}
