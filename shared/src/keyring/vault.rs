//! The keyring together with the data keys in the database.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use diesel_async::AsyncPgConnection;
use zeroize::Zeroizing;

use super::data_key::data_key_of;
use super::{DataKey, Keyring, SealError, aad};
use crate::clock::Clock;
use crate::db::data_keys::{self, WrappedKey};
use crate::ids::{DataKeyId, OrganisationId, WorkspaceId};
use crate::random;

/// Whose data key.
#[derive(Clone, Copy, Debug)]
pub enum Owner<'a> {
    /// The installation: one key, for keyed hashes that hold across tenants.
    Installation,
    /// An organisation: apps and webhook endpoints.
    Organisation(&'a OrganisationId),
    /// A workspace: everything else.
    Workspace {
        /// Whose the workspace is; needed only to make a key.
        organisation: Option<&'a OrganisationId>,
        /// The workspace.
        workspace: &'a WorkspaceId,
    },
}

impl<'a> Owner<'a> {
    /// The workspace, for looking its keys up.
    #[must_use]
    pub fn workspace(workspace: &'a WorkspaceId) -> Self {
        Self::Workspace { organisation: None, workspace }
    }

    pub(crate) fn organisation_id(&self) -> Option<&'a OrganisationId> {
        match self {
            Self::Installation => None,
            Self::Organisation(organisation) => Some(organisation),
            Self::Workspace { organisation, .. } => *organisation,
        }
    }

    pub(crate) fn workspace_id(&self) -> Option<&'a WorkspaceId> {
        match self {
            Self::Workspace { workspace, .. } => Some(workspace),
            _ => None,
        }
    }

    fn name(&self) -> &'a str {
        match self {
            Self::Installation => "installation",
            Self::Organisation(id) => id.as_str(),
            Self::Workspace { workspace, .. } => workspace.as_str(),
        }
    }
}

/// Finds, unwraps and remembers data keys.
#[derive(Clone, Debug)]
pub struct Vault {
    keyring: Arc<Keyring>,
    known: Arc<RwLock<HashMap<DataKeyId, Arc<DataKey>>>>,
}

const CANARY: &[u8] = b"latchkey canary";

impl Vault {
    /// A vault that knows no data key yet.
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
        conn: &mut AsyncPgConnection,
        clock: &Clock,
        owner: Owner<'_>,
    ) -> Result<(), SealError> {
        let id = DataKeyId::new(clock);
        let kek_id = self.keyring.sealing_id().to_owned();
        let key = Zeroizing::new(random::bytes::<32>());
        let wrapped = self.keyring.wrap(&kek_id, &wrapping_aad(owner, &id), key.as_slice())?;
        data_keys::insert(conn, clock, owner, &WrappedKey { id, kek_id, wrapped }).await?;
        Ok(())
    }

    /// The key that seals new values of this owner.
    ///
    /// # Errors
    /// [`SealError::OtherDataKey`] when the owner has none, or the keyring or the database refuses.
    pub async fn sealing_key(
        &self,
        conn: &mut AsyncPgConnection,
        owner: Owner<'_>,
    ) -> Result<Arc<DataKey>, SealError> {
        let row = data_keys::find(conn, owner, None).await?.ok_or(SealError::OtherDataKey)?;
        self.unwrap(owner, &row)
    }

    /// The key that opens `sealed`, which must be this owner's.
    ///
    /// # Errors
    /// [`SealError::OtherDataKey`] when it is not the owner's, or the keyring or the database refuses.
    pub async fn opening_key(
        &self,
        conn: &mut AsyncPgConnection,
        owner: Owner<'_>,
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
    pub async fn check(
        &self,
        conn: &mut AsyncPgConnection,
        clock: &Clock,
    ) -> Result<(), SealError> {
        for kek_id in data_keys::kek_ids_in_use(conn).await? {
            self.keyring.key(&kek_id)?;
        }
        for kek_id in self.keyring.ids() {
            let aad = aad(&[b"keyring_canaries.sealed", kek_id.as_bytes()]);
            match data_keys::canary(conn, kek_id).await? {
                Some(sealed) => drop(self.keyring.unwrap(kek_id, &aad, &sealed)?),
                None => {
                    let sealed = self.keyring.wrap(kek_id, &aad, CANARY)?;
                    data_keys::insert_canary(conn, clock, kek_id, &sealed).await?;
                }
            }
        }
        if data_keys::find(conn, Owner::Installation, None).await?.is_none() {
            self.create_key(conn, clock, Owner::Installation).await?;
        }
        Ok(())
    }

    fn unwrap(&self, owner: Owner<'_>, row: &WrappedKey) -> Result<Arc<DataKey>, SealError> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).get(&row.id).cloned();
        if let Some(key) = known {
            return Ok(key);
        }
        let plain =
            self.keyring.unwrap(&row.kek_id, &wrapping_aad(owner, &row.id), &row.wrapped)?;
        let key = <[u8; 32]>::try_from(plain.as_slice()).map_err(|_| SealError::UnknownFormat)?;
        let key = Arc::new(DataKey::new(row.id.clone(), Zeroizing::new(key)));
        self.known
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(row.id.clone(), key.clone());
        Ok(key)
    }
}

fn wrapping_aad(owner: Owner<'_>, id: &DataKeyId) -> Vec<u8> {
    aad(&[b"data_keys.wrapped", owner.name().as_bytes(), id.as_str().as_bytes()])
}
