//! Whether this process should get work. The broker's absence alone is no reason to refuse: it
//! delays work and loses none.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use latchkey_shared::broker::Publisher;
use latchkey_shared::db::{Db, DbError, outbox};
use latchkey_shared::ops::{CheckReadiness, Readiness};
use serde_json::json;

use crate::horizon_watch::HorizonWatch;

/// An orchestrator gives up sooner than PostgreSQL does.
const PATIENCE: Duration = Duration::from_secs(1);

/// The check. `db` should be a pool of its own: a busy API is not an absent database.
pub(crate) fn check(
    db: Db,
    publisher: Publisher,
    outbox_max: i64,
    horizon: HorizonWatch,
) -> CheckReadiness {
    Arc::new(move || run(db.clone(), publisher.clone(), outbox_max, horizon.clone()).boxed())
}

async fn run(db: Db, publisher: Publisher, outbox_max: i64, horizon: HorizonWatch) -> Readiness {
    let watch = horizon.clone();
    // In a task of its own: giving up on the answer must not cut a query short.
    let counting = tokio::spawn(async move {
        watch.look(&db).await?;
        count(&db, outbox_max + 1).await
    });
    let open = match tokio::time::timeout(PATIENCE, counting).await {
        Ok(Ok(Ok(open))) => Some(open),
        Ok(Ok(Err(error))) => {
            tracing::debug!("not ready: {error}");
            None
        }
        Ok(Err(_)) | Err(_) => None,
    };
    Readiness {
        ready: open.is_some_and(|open| open <= outbox_max),
        parts: json!({
            "database": if open.is_some() { "up" } else { "down" },
            "broker": publisher.state().as_str(),
            "outbox": open,
            "eventLog": horizon.note(),
        }),
    }
}

async fn count(db: &Db, at_most: i64) -> Result<i64, DbError> {
    let mut conn = db.conn().await?;
    outbox::count_open(&mut conn, at_most).await
}
