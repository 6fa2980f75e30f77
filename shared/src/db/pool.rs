//! A bounded set of sessions. One that went silent or is of no use leaves it; the next borrower gets a new one.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bb8::Pool;
use diesel::result::{DatabaseErrorKind, Error};
use diesel::{ConnectionError, ConnectionResult, QueryResult};
use diesel_async::pooled_connection::{ManagerConfig, RecyclingMethod};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection as _};
use futures_util::FutureExt as _;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::session::{Manager, sign_of_life};
use super::{DbError, Server, Session};
use crate::clock::Clock;
use crate::keyring::{KeyStore, Keyring};

/// How long a borrower waits for a session.
const WAIT: Duration = Duration::from_secs(5);
/// How long a session that was not in use may take to show that it lives.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);
const SILENT: &str = "PostgreSQL went silent: its sessions are thrown away";

/// A bounded set of connections, and what their sessions need: clock and keys.
#[derive(Clone, Debug)]
pub struct Db {
    pool: Pool<Manager>,
    clock: Clock,
    keys: KeyStore,
    health: Health,
}

/// What the pool itself does not tell.
#[derive(Clone, Debug, Default)]
struct Health(Arc<Mutex<Found>>);

#[derive(Debug, Default)]
struct Found {
    /// Why no session could be had, until one could be again.
    failure: Option<String>,
    /// Ends the sessions of now that are not in use.
    suspicion: CancellationToken,
}

impl Db {
    /// Makes a pool of at most `size` connections. Connects lazily, so that a process starts while
    /// PostgreSQL is away.
    #[must_use]
    pub fn new(server: &Server, size: u32, clock: Clock) -> Self {
        let health = Health::default();
        let (server, opening, checking) = (server.clone(), health.clone(), health.clone());
        let checked = clock.clone();
        let mut config = ManagerConfig::<AsyncPgConnection>::default();
        config.custom_setup = Box::new(move |_| {
            let (server, health) = (server.clone(), opening.clone());
            async move { health.open(&server).await }.boxed()
        });
        config.recycling_method = RecyclingMethod::CustomFunction(Box::new(move |conn| {
            let (health, clock) = (checking.clone(), checked.clone());
            async move { health.check(sign_of_life(conn, &clock)).await }.boxed()
        }));
        // The server knows its own address.
        let manager = Manager::new_with_config("", config);
        let pool = Pool::builder()
            .max_size(size)
            .connection_timeout(WAIT)
            .retry_connection(true)
            .build_unchecked(manager);
        Self { pool, clock, keys: KeyStore::new(Keyring::empty()), health }
    }

    /// The same pool, whose sessions encrypt and decrypt.
    #[must_use]
    pub fn with_keys(self, keys: KeyStore) -> Self {
        Self { keys, ..self }
    }

    /// Borrows a connection, waiting up to 5 s.
    ///
    /// # Errors
    /// [`DbError::Unavailable`].
    pub async fn conn(&self) -> Result<Session, DbError> {
        let conn = self.pool.get_owned().await.map_err(|_| {
            let none_free = || format!("no connection was free for {} s", WAIT.as_secs());
            DbError::Unavailable(self.health.locked().failure.clone().unwrap_or_else(none_free))
        })?;
        Ok(Session::new(conn, self.clock.clone(), self.keys.clone()))
    }

    /// Finds out whether a statement that was prepared is there the next time, which a pooler that shares sessions
    /// between clients must see to.
    ///
    /// # Errors
    /// [`DbError::Unavailable`], or [`DbError::Unfit`].
    pub async fn verify_statements(&self) -> Result<(), DbError> {
        let mut one = self.conn().await?;
        sign_of_life(&mut one, &self.clock).await?;
        let other = self.pool.dedicated_connection().await;
        let mut other = other.map_err(|error| DbError::Unavailable(error.to_string()))?;
        // Where sessions are shared this takes the one that was just in use, and holds it.
        other.batch_execute("BEGIN; SELECT 1").await?;
        let again = timeout(SIGN_OF_LIFE, sign_of_life(&mut one, &self.clock)).await;
        if again.is_ok_and(|again| again.is_err_and(|error| DbError::from(error).is_unavailable()))
        {
            return Err(DbError::Unfit(
                "a pooler shares sessions between clients and forgets prepared statements: PgBouncer (1.21 or later) \
                 needs max_prepared_statements above 0, an earlier one pool_mode = session",
            ));
        }
        Ok(other.batch_execute("ROLLBACK").await?)
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &KeyStore {
        &self.keys
    }
}

impl Health {
    async fn open(&self, server: &Server) -> ConnectionResult<AsyncPgConnection> {
        let suspicion = self.locked().suspicion.clone();
        let silent = || ConnectionError::BadConnection(SILENT.to_owned());
        let opened = timeout(WAIT, server.connect(suspicion)).await;
        let opened = opened.unwrap_or_else(|_| Err(silent()));
        self.locked().failure = opened.as_ref().err().map(ToString::to_string);
        opened
    }

    /// Where one session went silent, the others probably did: they are not asked one after the other.
    async fn check(&self, sign: impl Future<Output = QueryResult<()>>) -> QueryResult<()> {
        if let Ok(answered) = timeout(SIGN_OF_LIFE, sign).await {
            return answered;
        }
        let mut found = self.locked();
        std::mem::take(&mut found.suspicion).cancel();
        found.failure = Some(SILENT.to_owned());
        let silent = Box::new(SILENT.to_owned());
        Err(Error::DatabaseError(DatabaseErrorKind::ClosedConnection, silent))
    }

    fn locked(&self) -> MutexGuard<'_, Found> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
