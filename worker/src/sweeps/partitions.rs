//! Makes the partitions of the days ahead, and notices a database that was restored under living processes.

use latchkey_shared::db::{events, partitions};

use crate::context::Context;
use crate::outcome::Failure;

pub(super) async fn run(context: &Context) -> Result<usize, Failure> {
    let mut conn = context.store.conn().await?;
    events::begin_epoch(&mut conn).await?;
    Ok(partitions::ensure(&mut conn).await?)
}
