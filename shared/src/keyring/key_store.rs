//! The keyring together with the data keys in the database.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::time::Duration;

use diesel_async::AsyncPgConnection;
use zeroize::Zeroizing;

use super::data_key::data_key_of;
use super::{DataKey, KeyOwner, Keyring, SealError, join};
use crate::db::Session;
use crate::db::data_keys::{self, WrappedKey};
use crate::ids::DataKeyId;
use crate::random;

/// Finds, unwraps and remembers data keys.
#[derive(Clone, Debug)]
pub struct KeyStore {
    keyring: Arc<Keyring>,
    known: Arc<RwLock<HashMap<DataKeyId, Known>>>,
}

/// A data key that was unwrapped a moment ago.
#[derive(Debug)]
struct Known {
    owner: String,
    key: Arc<DataKey>,
}

/// How long a data key is remembered: that of a workspace which another process destroyed is gone by then.
const REMEMBERED: Duration = Duration::from_secs(300);
const CANARY: &[u8] = b"latchkey canary";

impl KeyStore {
    /// A key store that knows no data key yet.
    #[must_use]
    pub fn new(keyring: Keyring) -> Self {
        Self { keyring: Arc::new(keyring), known: Arc::default() }
    }

    /// Makes a data key for a new owner.
    ///
    /// # Errors
    /// When the query fails.
    pub async fn create_key(
        &self,
        session: &mut Session,
        owner: KeyOwner<'_>,
    ) -> Result<(), SealError> {
        let id = DataKeyId::new(session.clock());
        let kek_id = self.keyring.sealing_id().to_owned();
        let key = Zeroizing::new(random::bytes::<32>());
        let wrapped = self.keyring.wrap(&kek_id, &wrapping_aad(owner, &id), key.as_slice())?;
        data_keys::insert(session, owner, &WrappedKey { id, kek_id, wrapped }).await?;
        Ok(())
    }

    /// The key that encrypts new values of this owner.
    ///
    /// # Errors
    /// [`SealError::OtherDataKey`] when the owner has none, or the keyring or the database refuses.
    pub(crate) async fn encryption_key(
        &self,
        conn: &mut AsyncPgConnection,
        owner: KeyOwner<'_>,
    ) -> Result<Arc<DataKey>, SealError> {
        let row = data_keys::find(conn, owner, None).await?.ok_or(SealError::OtherDataKey)?;
        self.unwrap(owner, &row)
    }

    /// The key that decrypts `sealed`, which must be this owner's.
    ///
    /// # Errors
    /// [`SealError::OtherDataKey`] when it is not the owner's, or the keyring or the database refuses.
    pub(crate) async fn decryption_key(
        &self,
        conn: &mut AsyncPgConnection,
        owner: KeyOwner<'_>,
        sealed: &[u8],
    ) -> Result<Arc<DataKey>, SealError> {
        let id = data_key_of(sealed)?;
        let row = data_keys::find(conn, owner, Some(&id)).await?.ok_or(SealError::OtherDataKey)?;
        self.unwrap(owner, &row)
    }

    /// Proves at boot that this keyring belongs to this database, and makes the installation's key.
    ///
    /// # Errors
    /// [`SealError::UnknownKek`] or [`SealError::WrongKek`]: the process must not start.
    pub async fn check(&self, session: &mut Session) -> Result<(), SealError> {
        for kek_id in data_keys::kek_ids_in_use(session).await? {
            self.keyring.key(&kek_id)?;
        }
        for kek_id in self.keyring.ids() {
            let aad = join(&[b"keyring_canaries.sealed", kek_id.as_bytes()]);
            match data_keys::canary(session, kek_id).await? {
                Some(sealed) => drop(self.keyring.unwrap(kek_id, &aad, &sealed)?),
                None => {
                    let sealed = self.keyring.wrap(kek_id, &aad, CANARY)?;
                    data_keys::insert_canary(session, kek_id, &sealed).await?;
                }
            }
        }
        if data_keys::find(session, KeyOwner::Installation, None).await?.is_none() {
            self.create_key(session, KeyOwner::Installation).await?;
        }
        Ok(())
    }

    /// Forgets the data keys of an owner that is being destroyed.
    pub fn forget(&self, owner: KeyOwner<'_>) {
        self.known().retain(|_, known| known.owner != owner.name());
    }

    fn unwrap(&self, owner: KeyOwner<'_>, row: &WrappedKey) -> Result<Arc<DataKey>, SealError> {
        if let Some(known) = self.known.read().unwrap_or_else(PoisonError::into_inner).get(&row.id)
            && known.owner == owner.name()
        {
            return Ok(known.key.clone());
        }
        let plain =
            self.keyring.unwrap(&row.kek_id, &wrapping_aad(owner, &row.id), &row.wrapped)?;
        let key = <[u8; 32]>::try_from(plain.as_slice()).map_err(|_| SealError::UnknownFormat)?;
        let key = Arc::new(DataKey::new(row.id.clone(), Zeroizing::new(key)));
        self.remember(owner, &key, REMEMBERED);
        Ok(key)
    }

    fn remember(&self, owner: KeyOwner<'_>, key: &Arc<DataKey>, length: Duration) {
        let id = key.id().clone();
        let known = Known { owner: owner.name().to_owned(), key: key.clone() };
        self.known().insert(id.clone(), known);
        let store = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(length).await;
            store.known().remove(&id);
        });
    }

    fn known(&self) -> RwLockWriteGuard<'_, HashMap<DataKeyId, Known>> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wrapping_aad(owner: KeyOwner<'_>, id: &DataKeyId) -> Vec<u8> {
    join(&[b"data_keys.wrapped", owner.name().as_bytes(), id.as_str().as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::ids::WorkspaceId;

    /// A key store, and the row of a workspace's key.
    fn store(workspace: &WorkspaceId) -> (KeyStore, WrappedKey) {
        let store = KeyStore::new(Keyring::parse(&format!("a:{}", "A".repeat(43) + "=")).unwrap());
        let (id, owner) = (DataKeyId::new(&Clock::system()), KeyOwner::workspace(workspace));
        let wrapped = store.keyring.wrap("a", &wrapping_aad(owner, &id), &[7; 32]).unwrap();
        (store, WrappedKey { id, kek_id: "a".to_owned(), wrapped })
    }

    #[tokio::test]
    async fn a_key_that_is_remembered_is_its_owner_s_alone() {
        let (own, other) = (WorkspaceId::new(&Clock::system()), WorkspaceId::new(&Clock::system()));
        let (store, row) = store(&own);
        for _ in 0..2 {
            assert!(store.unwrap(KeyOwner::workspace(&own), &row).is_ok());
            // As if somebody had moved the row.
            assert!(store.unwrap(KeyOwner::workspace(&other), &row).is_err());
        }
    }

    #[tokio::test]
    async fn a_key_is_forgotten_with_its_owner_and_after_a_while() {
        let own = WorkspaceId::new(&Clock::system());
        let (store, row) = store(&own);
        let key = store.unwrap(KeyOwner::workspace(&own), &row).unwrap();
        store.forget(KeyOwner::workspace(&WorkspaceId::new(&Clock::system())));
        assert_eq!(store.known().len(), 1, "another's");
        store.forget(KeyOwner::workspace(&own));
        assert!(store.known().is_empty());
        store.remember(KeyOwner::workspace(&own), &key, Duration::ZERO);
        while !store.known().is_empty() {
            tokio::task::yield_now().await;
        }
    }
}
