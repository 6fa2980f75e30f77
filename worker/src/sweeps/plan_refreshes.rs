//! Publishes `refresh_due` for the grants whose time has come, in the order of their deadlines.

use std::collections::BTreeMap;

use latchkey_shared::broker::BrokerState;
use latchkey_shared::db::grants::{self, DueGrant};
use latchkey_shared::messages::{Command, GrantRef, RefreshDue};

use crate::context::Context;
use crate::outcome::Failure;

/// How many grants one run dispatches.
const BATCH: i64 = 1000;
/// How many grants one message carries.
const PER_MESSAGE: usize = 50;

pub(super) async fn run(context: &Context) -> Result<usize, Failure> {
    // Taking a grant puts it off: not while nobody could be told.
    if !matches!(context.store.publisher().state(), BrokerState::Up(_)) {
        return Ok(0);
    }
    let due = {
        let mut conn = context.store.conn().await?;
        grants::take_due(&mut conn, context.clock(), BATCH).await?
    };
    let taken = due.len();
    for command in messages(due) {
        if let Err(error) = context.store.nudge(&command).await {
            tracing::warn!("refreshes are dispatched again in 2 min: {error}");
        }
    }
    Ok(taken)
}

fn messages(due: Vec<DueGrant>) -> Vec<Command> {
    let mut groups: BTreeMap<(String, String), Vec<GrantRef>> = BTreeMap::new();
    for DueGrant { platform_app, grant } in due {
        groups.entry(platform_app).or_default().push(grant);
    }
    let mut messages = Vec::new();
    for ((platform, _app), grants) in groups {
        for grants in grants.chunks(PER_MESSAGE) {
            messages.push(Command::RefreshDue(RefreshDue {
                platform: platform.clone(),
                grants: grants.to_vec(),
            }));
        }
    }
    messages
}
