//! PostgreSQL: the truth.
//!
//! One file per table. Every query on tenant-owned rows takes the organisation or the workspace
//! first; the few that look across tenants are for sweeps and say so. Work runs in tasks that are
//! never cancelled half-way: a client that hangs up or a time-out must not leave a transaction open.

pub mod accounts;
pub mod api_keys;
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
pub mod profiles;
mod schema;
mod text_enum;
pub mod webhook_deliveries;
pub mod webhook_endpoints;
pub mod workspaces;

use std::time::Duration;

use bb8::{Pool, PooledConnection};
use chrono::{DateTime, TimeDelta, Utc};
use diesel::sql_types::Interval;
use diesel::{ConnectionError, ConnectionResult};
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::clock::Clock;

pub(crate) use text_enum::text_enum;

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
            Self::Query(Error::DatabaseError(kind, _)) => {
                matches!(
                    kind,
                    DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand
                )
            }
            Self::Query(error) => matches!(error, Error::BrokenTransactionManager),
        }
    }

    /// Whether a uniqueness rule refused the row.
    #[must_use]
    pub fn is_unique_violation(&self) -> bool {
        use diesel::result::{DatabaseErrorKind, Error};
        matches!(self, Self::Query(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _)))
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
}

impl Db {
    /// Makes a pool of at most `size` connections. Connects lazily, so that a process starts while
    /// PostgreSQL is away.
    ///
    /// # Errors
    /// When `url` is no PostgreSQL URL.
    pub fn new(url: &str, size: u32, clock: Clock) -> Result<Self, DbError> {
        connect_options(url)?;
        let mut config = ManagerConfig::<AsyncPgConnection>::default();
        config.custom_setup = Box::new(|url| establish(url.to_owned()));
        let manager = Manager::new_with_config(url, config);
        let pool = Pool::builder()
            .max_size(size)
            .connection_timeout(Duration::from_secs(5))
            .retry_connection(true)
            .build_unchecked(manager);
        Ok(Self { pool, clock })
    }

    /// Borrows a connection, waiting up to 5 s.
    ///
    /// # Errors
    /// [`DbError::Unavailable`].
    pub async fn conn(&self) -> Result<Conn, DbError> {
        self.pool.get_owned().await.map_err(|error| DbError::Unavailable(error.to_string()))
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

/// Limits that no statement of ours may pass: a stuck query must not hold locks for ever.
const SESSION_LIMITS: &str =
    "-c statement_timeout=10s -c lock_timeout=5s -c idle_in_transaction_session_timeout=10s";

fn connect_options(url: &str) -> Result<tokio_postgres::Config, DbError> {
    let mut config: tokio_postgres::Config = url
        .parse()
        .map_err(|_| DbError::Unavailable("the database URL cannot be read".to_owned()))?;
    config
        .options(SESSION_LIMITS)
        .application_name("latchkey")
        .connect_timeout(Duration::from_secs(5));
    Ok(config)
}

fn establish(url: String) -> BoxFuture<'static, ConnectionResult<AsyncPgConnection>> {
    async move {
        let config = connect_options(&url)
            .map_err(|error| ConnectionError::InvalidConnectionUrl(error.to_string()))?;
        let (client, connection) = config
            .connect(tokio_postgres::NoTls)
            .await
            .map_err(|error| ConnectionError::BadConnection(error.to_string()))?;
        AsyncPgConnection::try_from_client_and_connection(client, connection).await
    }
    .boxed()
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
