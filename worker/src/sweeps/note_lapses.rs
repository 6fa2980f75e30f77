//! Notices by the clock which access tokens have ended, and tells the applications: also where nobody called,
//! because the platform's app is braked or paused.

use latchkey_shared::db::grants;

use crate::context::Context;
use crate::handlers;
use crate::outcome::Failure;

const BATCH: i64 = 500;

pub(super) async fn run(context: &Context) -> Result<usize, Failure> {
    let lapsed = {
        let mut conn = context.store.conn().await?;
        grants::lapsed(&mut conn, context.clock(), BATCH).await?
    };
    for grant in &lapsed {
        handlers::note_lapsed(context, grant).await?;
    }
    Ok(lapsed.len())
}
