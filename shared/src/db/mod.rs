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
mod session;
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
use diesel::sql_types::{Bool, Interval};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::ids::made_at;

pub use error::DbError;
pub use pool::Db;
pub use server::Server;
pub use session::Session;
pub(crate) use text_enum::text_enum;

diesel::define_sql_function! {
    /// When the transaction began.
    fn app_now() -> Timestamptz;
}

diesel::define_sql_function! {
    /// The same plus `delta`, which may be negative.
    #[sql_name = "app_now"]
    fn app_now_plus(delta: Interval) -> Timestamptz;
}

diesel::define_sql_function! {
    /// The present, also in a transaction that began long ago.
    fn app_clock() -> Timestamptz;
}

/// When the transaction began, by the database's clock: what leases and expiries are compared with.
///
/// # Errors
/// When the query fails.
pub async fn read_now(conn: &mut AsyncPgConnection) -> Result<DateTime<Utc>, DbError> {
    Ok(diesel::select(app_now()).get_result(conn).await?)
}

/// The database's present. A transaction that waited for a lock needs it: another that held the lock may have
/// begun after this one.
///
/// # Errors
/// When the query fails.
pub async fn read_clock(conn: &mut AsyncPgConnection) -> Result<DateTime<Utc>, DbError> {
    Ok(diesel::select(app_clock()).get_result(conn).await?)
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
