//! Shows what refreshes are owed as metrics, by platform app.

use latchkey_shared::db::app_health::AppKey;
use latchkey_shared::db::refresh_debt::{self, DebtFilter, RefreshDebt};

use crate::context::Context;
use crate::health;
use crate::outcome::Failure;

pub(super) async fn run(context: &Context) -> Result<usize, Failure> {
    let mut conn = context.store.conn().await?;
    let debts = refresh_debt::list(&mut conn, DebtFilter::default()).await?;
    let now = context.clock().now();
    for debt in &debts {
        show(debt);
        let oldest = debt.oldest_due_at.map_or(0.0, |at| (now - at).as_seconds_f64().max(0.0));
        let key = key(debt);
        metrics::gauge!("latchkey_refresh_oldest_due_seconds", "platform" => key.platform.clone(), "app" => key.label().to_owned())
            .set(oldest);
    }
    Ok(0)
}

fn show(debt: &RefreshDebt) {
    for (kind, count) in [
        ("due", debt.due),
        ("overdue", debt.overdue),
        ("lapsed", debt.lapsed),
        ("in_doubt", debt.in_doubt),
        ("due_next_hour", debt.due_next_hour),
    ] {
        let key = key(debt);
        metrics::gauge!("latchkey_refresh_debt", "platform" => key.platform.clone(), "app" => key.label().to_owned(), "kind" => kind)
            .set(count as f64);
    }
    health::set_state(&key(debt), debt.braked_since.is_some(), debt.paused_until.is_some());
}

fn key(debt: &RefreshDebt) -> AppKey {
    AppKey { platform: debt.platform.clone(), app: debt.app.clone() }
}
