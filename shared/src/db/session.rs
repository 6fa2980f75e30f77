//! A connection on loan from the pool, with the clock and the keys of the queries that run on it.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use bb8::PooledConnection;
use diesel::sql_types::{Bool, Integer, Text};
use diesel::{IntoSql as _, QueryResult};
use diesel_async::pooled_connection::AsyncDieselConnectionManager;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::keyring::{Aad, DataKey, KeyOwner, KeyStore, SealError};

pub(super) type Manager = AsyncDieselConnectionManager<AsyncPgConnection>;

/// A connection on loan. Dereferences to it; dropped, it goes back to the pool.
pub struct Session {
    conn: PooledConnection<'static, Manager>,
    clock: Clock,
    keys: KeyStore,
}

diesel::define_sql_function! {
    fn set_config(name: Text, value: Text, is_local: Bool) -> Text;
}

impl Session {
    pub(super) fn new(
        conn: PooledConnection<'static, Manager>,
        clock: Clock,
        keys: KeyStore,
    ) -> Self {
        Self { conn, clock, keys }
    }

    /// The clock that `app_now()` of this session agrees with.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The key that encrypts new values of this owner, for use without a session.
    ///
    /// # Errors
    /// [`SealError::OtherDataKey`] when the owner has none.
    pub async fn encryption_key(&mut self, owner: KeyOwner<'_>) -> Result<Arc<DataKey>, SealError> {
        self.keys.encryption_key(&mut self.conn, owner).await
    }

    /// Encrypts `plain` with the key of its tenant.
    ///
    /// # Errors
    /// [`SealError::OtherDataKey`] when the tenant has no key (any more).
    pub async fn encrypt(&mut self, aad: Aad<'_>, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        self.encryption_key(aad.owner).await?.encrypt(aad, plain)
    }

    /// Decrypts `sealed` with the key of its tenant.
    ///
    /// # Errors
    /// [`SealError::OtherDataKey`] when the tenant does not have the key (any more), [`SealError::Tampered`] when the
    /// value was encrypted with other associated data.
    pub async fn decrypt(
        &mut self,
        aad: Aad<'_>,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let key = self.keys.decryption_key(&mut self.conn, aad.owner, sealed).await?;
        key.decrypt(aad, sealed)
    }

    /// The same of a text.
    ///
    /// # Errors
    /// As above.
    pub async fn decrypt_text(
        &mut self,
        aad: Aad<'_>,
        sealed: &[u8],
    ) -> Result<SecretString, SealError> {
        let plain = self.decrypt(aad, sealed).await?;
        Ok(std::str::from_utf8(&plain).map_err(|_| SealError::UnknownFormat)?.into())
    }
}

/// Asks the server for a sign of life. Where a test moved the clock, the same statement moves the session's.
pub(super) async fn sign_of_life(conn: &mut AsyncPgConnection, clock: &Clock) -> QueryResult<()> {
    let offset = clock.offset();
    if offset.is_zero() {
        return diesel::select(1.into_sql::<Integer>()).get_result::<i32>(conn).await.map(drop);
    }
    let offset = format!("{} ms", offset.num_milliseconds());
    diesel::select(set_config("latchkey.clock_offset", offset, false))
        .get_result::<String>(conn)
        .await
        .map(drop)
}

impl Deref for Session {
    type Target = AsyncPgConnection;

    fn deref(&self) -> &AsyncPgConnection {
        &self.conn
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut AsyncPgConnection {
        &mut self.conn
    }
}
