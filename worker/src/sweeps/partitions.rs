//! Makes the partitions of the days ahead.

use latchkey_shared::db::partitions;

use crate::context::Context;
use crate::outcome::Failure;

pub(super) async fn run(context: &Context) -> Result<usize, Failure> {
    let mut conn = context.store.conn().await?;
    Ok(partitions::ensure(&mut conn, context.clock()).await?)
}
