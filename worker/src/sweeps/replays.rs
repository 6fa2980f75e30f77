//! Puts the events of replays into the queues of their endpoints, batch by batch. Each batch and the place
//! behind it commit together: cut anywhere, a replay goes on where it was.

use latchkey_shared::db::webhook_replays::Replay;
use latchkey_shared::db::{webhook_endpoints, webhook_replays};

use super::each;
use crate::context::Context;
use crate::outcome::Failure;

/// Replays that get a turn in one run.
const REPLAYS: i64 = 20;
/// Events of one replay in one turn.
const BATCH: usize = 500;
/// An endpoint with so many deliveries in its queue has these to take first.
const AHEAD: i64 = 1000;

pub(super) async fn run(context: &Context) -> Result<usize, Failure> {
    let open = {
        let mut conn = context.store.conn().await?;
        webhook_replays::open(&mut conn, REPLAYS).await?
    };
    each(&open, async |replay| go_on(context, replay).await).await
}

async fn go_on(context: &Context, seen: &Replay) -> Result<usize, Failure> {
    let mut work = context.store.begin().await?;
    let Some(replay) = webhook_replays::lock(&mut work, seen).await? else {
        return Ok(0);
    };
    let (organisation, id) = (&replay.organisation_id, &replay.endpoint_id);
    let endpoint = webhook_endpoints::find(&mut work, organisation, None, id).await?;
    let Some(endpoint) = endpoint.filter(|endpoint| endpoint.disabled_at.is_none()) else {
        webhook_replays::end(&mut work, &replay).await?;
        work.commit().await?;
        return Ok(0);
    };
    if webhook_replays::is_far_ahead(&mut work, &replay, AHEAD).await? {
        work.commit().await?;
        return Ok(0);
    }
    let limit = i64::try_from(BATCH).unwrap_or(i64::MAX);
    let events = webhook_replays::next_events(&mut work, &replay, &endpoint, limit).await?;
    webhook_replays::deliver(&mut work, &replay, &events).await?;
    match events.last() {
        Some(last) if events.len() == BATCH => {
            webhook_replays::advance(&mut work, &replay, last).await?;
        }
        _ => webhook_replays::end(&mut work, &replay).await?,
    }
    work.commit().await?;
    Ok(events.len())
}
