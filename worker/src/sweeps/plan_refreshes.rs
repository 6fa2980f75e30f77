//! Dispatches the grants whose refresh is due, those first whose tokens end first: to the broker, or, while
//! that is away, to the handler in this process.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use latchkey_shared::broker::BrokerState;
use latchkey_shared::db::app_health;
use latchkey_shared::db::app_health::AppKey;
use latchkey_shared::db::grants::{self, DueGrant, PlanLimits};
use latchkey_shared::messages::{Command, GrantRef, RefreshDue};

use crate::context::Context;
use crate::handlers;
use crate::outcome::Failure;

const LIMITS: PlanLimits = PlanLimits { per_app: 500, busy: 10, window: 10_000 };
/// How many grants one message carries.
const PER_MESSAGE: usize = 50;
/// Over how long those are spread that a success of their app wakes.
const WAKE_SPREAD: TimeDelta = TimeDelta::seconds(5);
const WAKE_BATCH: i64 = 1000;

pub(super) async fn run(context: &Context) -> Result<usize, Failure> {
    let by_broker = matches!(context.store.publisher().state(), BrokerState::Up(_));
    let due = {
        let mut conn = context.store.conn().await?;
        app_health::wake(&mut conn, WAKE_SPREAD, WAKE_BATCH).await?;
        grants::take_due(&mut conn, limits(context, by_broker)).await?
    };
    let taken = due.len();
    let mut handled_here = 0;
    for message in messages(due) {
        handled_here += dispatch(context, message, by_broker).await;
    }
    if handled_here > 0 {
        tracing::debug!(count = handled_here, "refreshed without the broker");
    }
    Ok(taken)
}

/// Without the broker this process takes no more than it can call for at once.
fn limits(context: &Context, by_broker: bool) -> PlanLimits {
    if by_broker {
        return LIMITS;
    }
    let free = context.permits.total().saturating_sub(context.permits.used());
    let free = i64::try_from(free).unwrap_or(i64::MAX);
    PlanLimits { per_app: free, busy: free.min(LIMITS.busy), ..LIMITS }
}

/// Answers how many grants are handled in this process.
async fn dispatch(context: &Context, message: RefreshDue, by_broker: bool) -> usize {
    let count = message.grants.len();
    let command = Command::RefreshDue(message);
    if by_broker && context.store.nudge(&command).await.is_ok() {
        return 0;
    }
    let own = context.clone();
    context.tasks.spawn(async move {
        if let Err(failure) = handlers::handle(&own, &command).await {
            tracing::debug!("refreshes come due again: {:#}", anyhow::Error::new(failure));
        }
    });
    count
}

/// The grants of one app go together, in the order in which they came.
fn messages(due: Vec<DueGrant>) -> Vec<RefreshDue> {
    let mut order: Vec<AppKey> = Vec::new();
    let mut groups: BTreeMap<AppKey, Vec<GrantRef>> = BTreeMap::new();
    for DueGrant { app, grant } in due {
        let group = groups.entry(app.clone()).or_default();
        if group.is_empty() {
            order.push(app);
        }
        group.push(grant);
    }
    let mut messages = Vec::new();
    for app in order {
        for grants in groups.get(&app).into_iter().flat_map(|grants| grants.chunks(PER_MESSAGE)) {
            messages.push(RefreshDue { platform: app.platform.clone(), grants: grants.to_vec() });
        }
    }
    messages
}
