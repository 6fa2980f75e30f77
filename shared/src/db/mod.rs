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
pub mod events;
pub mod grants;
pub mod idempotency_keys;
pub mod migrate;
pub mod organisations;
pub mod outbox;
pub mod partitions;
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
pub mod workers;
pub mod workspace_deletion;
pub mod workspaces;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bb8::{Pool, PooledConnection};
use chrono::{DateTime, TimeDelta, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Bool, Interval, Timestamptz};
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::FutureExt as _;

use crate::clock::Clock;
use crate::ids::made_at;

pub use server::Server;
pub(crate) use text_enum::text_enum;

/// How the server begins its last word to a session that it ends: at shutdown, after a crash of another
/// session, when an operator asks for it (SQLSTATE 57P01, 57P02). The client keeps the code to itself. A
/// server whose `lc_messages` is not English says it otherwise, and then it counts as a failed query.
const SESSION_ENDED: &str = "terminating connection";

/// How the server begins what it says of values that it will never take (SQLSTATE class 22, and 54 of limits).
const NEVER_TAKEN: [&str; 6] = [
    "invalid byte sequence",
    "unsupported Unicode escape",
    "value too long",
    "invalid input syntax",
    "integer out of range",
    "index row",
];

/// How long a borrower waits for a connection.
const CONNECTION_WAIT: Duration = Duration::from_secs(5);

type Manager = AsyncDieselConnectionManager<AsyncPgConnection>;

/// A connection on loan from the pool.
pub type Conn = PooledConnection<'static, Manager>;

/// What went wrong between us and PostgreSQL.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The server could not be reached, or no connection became free in time.
    #[error("PostgreSQL is unavailable: {0}")]
    Unavailable(String),
    /// The server answered with an error.
    #[error("a query failed")]
    Query(#[from] diesel::result::Error),
}

impl DbError {
    /// Whether the caller should try again later: the server is away, or going away.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        use diesel::result::{DatabaseErrorKind, Error};
        match self {
            Self::Unavailable(_) => true,
            Self::Query(Error::DatabaseError(kind, said)) => match kind {
                DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand => {
                    true
                }
                DatabaseErrorKind::Unknown => said.message().starts_with(SESSION_ENDED),
                _ => false,
            },
            Self::Query(error) => matches!(error, Error::BrokenTransactionManager),
        }
    }

    /// Whether the same statement with the same values is refused every time.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        use diesel::result::{DatabaseErrorKind, Error};
        match self {
            Self::Query(Error::DatabaseError(kind, said)) => match kind {
                DatabaseErrorKind::NotNullViolation | DatabaseErrorKind::CheckViolation => true,
                DatabaseErrorKind::Unknown => {
                    NEVER_TAKEN.iter().any(|begin| said.message().starts_with(begin))
                }
                _ => false,
            },
            Self::Query(error) => matches!(error, Error::SerializationError(_)),
            Self::Unavailable(_) => false,
        }
    }

    /// Whether a uniqueness rule refused the row.
    #[must_use]
    pub fn is_unique_violation(&self) -> bool {
        use diesel::result::{DatabaseErrorKind, Error};
        matches!(self, Self::Query(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _)))
    }

    /// Whether the uniqueness rule of this name refused the row.
    #[must_use]
    pub fn violates(&self, constraint: &str) -> bool {
        use diesel::result::Error;
        let Self::Query(Error::DatabaseError(_, said)) = self else { return false };
        self.is_unique_violation() && said.constraint_name() == Some(constraint)
    }

    /// Whether the row names another that is gone, or is still named by one.
    #[must_use]
    pub fn is_foreign_key_violation(&self) -> bool {
        use diesel::result::{DatabaseErrorKind, Error};
        matches!(self, Self::Query(Error::DatabaseError(DatabaseErrorKind::ForeignKeyViolation, _)))
    }
}

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

/// A bounded set of connections, and the clock that its statements use.
#[derive(Clone, Debug)]
pub struct Db {
    pool: Pool<Manager>,
    clock: Clock,
    /// Why no connection could be opened, until one could be again: the pool itself does not tell.
    failure: Arc<Mutex<Option<String>>>,
}

impl Db {
    /// Makes a pool of at most `size` connections. Connects lazily, so that a process starts while
    /// PostgreSQL is away.
    #[must_use]
    pub fn new(server: &Server, size: u32, clock: Clock) -> Self {
        let failure: Arc<Mutex<Option<String>>> = Arc::default();
        let (server, noted) = (server.clone(), failure.clone());
        let mut config = ManagerConfig::<AsyncPgConnection>::default();
        config.custom_setup = Box::new(move |_| {
            let (server, noted) = (server.clone(), noted.clone());
            async move {
                let opened = server.connect().await;
                *noted.lock().unwrap_or_else(PoisonError::into_inner) =
                    opened.as_ref().err().map(ToString::to_string);
                opened
            }
            .boxed()
        });
        // The server knows its own address.
        let manager = Manager::new_with_config("", config);
        let pool = Pool::builder()
            .max_size(size)
            .connection_timeout(CONNECTION_WAIT)
            .retry_connection(true)
            .build_unchecked(manager);
        Self { pool, clock, failure }
    }

    /// Borrows a connection, waiting up to 5 s.
    ///
    /// # Errors
    /// [`DbError::Unavailable`].
    pub async fn conn(&self) -> Result<Conn, DbError> {
        self.pool.get_owned().await.map_err(|_| {
            let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let none_free =
                || format!("no connection was free for {} s", CONNECTION_WAIT.as_secs());
            DbError::Unavailable(failure.unwrap_or_else(none_free))
        })
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }
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
