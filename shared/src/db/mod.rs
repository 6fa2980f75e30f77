//! PostgreSQL: the truth.
//!
//! One file per table. Every query on tenant-owned rows takes the organisation or the workspace
//! first; the few that look across tenants are for sweeps and say so. Work runs in tasks that are
//! never cancelled half-way: a client that hangs up or a time-out must not leave a transaction open.

pub mod account_checks;
pub mod account_history;
pub mod accounts;
pub mod api_keys;
pub mod app_health;
pub mod app_pauses;
pub mod app_secrets;
pub mod apps;
pub mod connects;
pub mod data_keys;
pub mod dead_letters;
mod error;
pub mod events;
pub mod grants;
pub mod idempotency_keys;
pub mod migrate;
pub mod organisations;
pub mod outbox;
pub mod partitions;
mod pool;
pub mod producers;
pub mod profiles;
pub mod refresh_debt;
pub mod requests;
pub mod role;
mod schema;
mod server;
pub mod sessions;
mod text_enum;
pub mod webhook_deliveries;
pub mod webhook_endpoints;
pub mod webhook_replays;
mod wire;
pub mod workers;
pub mod workspace_deletion;
pub mod workspaces;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Bool, Interval, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::clock::Clock;
use crate::ids::made_at;

pub use error::DbError;
pub use pool::{Conn, Db};
pub use server::Server;
pub(crate) use text_enum::text_enum;

diesel::define_sql_function! {
    /// The database's present plus the clock's offset.
    fn moment(offset: Interval) -> Timestamptz;
}

/// The present, as an SQL expression.
#[must_use]
pub fn now(clock: &Clock) -> moment<TimeDelta> {
    moment(clock.offset())
}

/// The present plus `delta` (which may be negative), as an SQL expression.
#[must_use]
pub fn now_plus(clock: &Clock, delta: TimeDelta) -> moment<TimeDelta> {
    moment(clock.offset() + delta)
}

/// The database's present plus the clock's offset: what leases and expiries are judged by.
///
/// # Errors
/// When the query fails.
pub async fn read_now(
    conn: &mut AsyncPgConnection,
    clock: &Clock,
) -> Result<DateTime<Utc>, DbError> {
    Ok(diesel::select(now(clock)).get_result(conn).await?)
}

/// The same at this very moment: all else is told at the begin of a transaction, and whoever was waited for
/// since then, holding a lock, may have begun later.
///
/// # Errors
/// When the query fails.
pub async fn read_clock(
    conn: &mut AsyncPgConnection,
    clock: &Clock,
) -> Result<DateTime<Utc>, DbError> {
    let moment = diesel::dsl::sql::<Timestamptz>("clock_timestamp() + ");
    Ok(diesel::select(moment.bind::<Interval, _>(clock.offset())).get_result(conn).await?)
}

/// The answer to a question in SQL: `SELECT … AS yes`.
#[derive(QueryableByName)]
struct Yes {
    #[diesel(sql_type = Bool)]
    yes: bool,
}

/// Around the time of an id: leads to the partitions that may have its row. Of a text that is no id: all of time.
fn around(id: &str, skew: TimeDelta) -> (DateTime<Utc>, DateTime<Utc>) {
    const CENTURIES: TimeDelta = TimeDelta::days(365 * 1000);
    let (made, skew) = made_at(id).map_or((DateTime::UNIX_EPOCH, CENTURIES), |made| (made, skew));
    (made - skew, made + skew)
}

/// A page of rows, newest last: those after `after`, at most `limit`.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// The id of the last row that the reader has seen.
    pub after: Option<&'a str>,
    /// How many rows at most.
    pub limit: i64,
}

impl<'a> Page<'a> {
    pub(crate) fn after(&self) -> &'a str {
        self.after.unwrap_or("")
    }
}
