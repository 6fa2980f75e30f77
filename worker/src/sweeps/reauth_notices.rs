//! Tells applications of ends that no refresh moves, days before.

use latchkey_shared::db::grants;

use crate::context::Context;
use crate::handlers;
use crate::outcome::Failure;

const BATCH: i64 = 200;

pub(super) async fn run(context: &Context) -> Result<usize, Failure> {
    let noticeable = {
        let mut conn = context.store.conn().await?;
        grants::noticeable(&mut conn, context.clock(), BATCH).await?
    };
    for grant in &noticeable {
        handlers::notice_reauth(context, grant).await?;
    }
    Ok(noticeable.len())
}
