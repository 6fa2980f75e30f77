//! Notices by the clock which access tokens have ended, and tells the applications: also where nobody called,
//! because the platform's app is braked or paused.

use latchkey_shared::db::grants;

use super::each;
use crate::context::Context;
use crate::handlers;
use crate::outcome::Failure;

const BATCH: i64 = 500;

pub(super) async fn run(context: &Context) -> Result<usize, Failure> {
    let lapsed = {
        let mut conn = context.store.conn().await?;
        grants::lapsed(&mut conn, BATCH).await?
    };
    each(&lapsed, async |row| handlers::note_lapsed(context, row).await.map(|_| 1)).await
}
