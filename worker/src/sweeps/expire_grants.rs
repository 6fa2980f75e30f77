//! Ends grants that nothing can renew: the refresh token's own end has passed, or there is none and
//! the access token's end has. An ended access token with a living refresh token ends nothing.

use latchkey_shared::db::grants;

use super::each;
use crate::context::Context;
use crate::handlers;
use crate::outcome::Failure;

const BATCH: i64 = 200;

pub(super) async fn run(context: &Context) -> Result<usize, Failure> {
    let ended = {
        let mut conn = context.store.conn().await?;
        grants::ended(&mut conn, BATCH).await?
    };
    each(&ended, async |row| handlers::expire_grant(context, row).await.map(|_| 1)).await
}
