//! Tells applications of ends that no refresh moves, days before.

use latchkey_shared::db::grants;

use super::each;
use crate::context::Context;
use crate::handlers;
use crate::outcome::Failure;

const BATCH: i64 = 200;

pub(super) async fn run(context: &Context) -> Result<usize, Failure> {
    let noticeable = {
        let mut conn = context.store.conn().await?;
        grants::noticeable(&mut conn, BATCH).await?
    };
    each(&noticeable, async |row| handlers::notice_reauth(context, row).await.map(|_| 1)).await
}
