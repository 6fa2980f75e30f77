//! One data key, and the associated data that binds a value to its row.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use ulid::Ulid;
use zeroize::Zeroizing;

use super::{Key, KeyOwner, SealError, join, open_bytes, seal_bytes};
use crate::ids::{DataKeyId, OrganisationId, WorkspaceId};

/// The first byte of every encrypted value.
const VERSION: u8 = 1;
const HEADER_LEN: usize = 17;

/// Associated data: what a ciphertext is bound to. Only what never changes: a ciphertext does not decrypt with other
/// associated data.
#[derive(Clone, Copy, Debug)]
pub struct Aad<'a> {
    /// `table.column`.
    pub column: &'static str,
    /// The tenant, whose data key encrypts the value.
    pub owner: KeyOwner<'a>,
    /// The row's id.
    pub row: &'a str,
    /// The generation of a token set; 0 where there is none.
    pub generation: i64,
}

impl<'a> Aad<'a> {
    /// A value of a workspace, of generation 0.
    #[must_use]
    pub fn of_workspace(column: &'static str, workspace: &'a WorkspaceId, row: &'a str) -> Self {
        Self { column, owner: KeyOwner::workspace(workspace), row, generation: 0 }
    }

    /// A value of an organisation, of generation 0.
    #[must_use]
    pub fn of_organisation(
        column: &'static str,
        organisation: &'a OrganisationId,
        row: &'a str,
    ) -> Self {
        Self { column, owner: KeyOwner::Organisation(organisation), row, generation: 0 }
    }

    /// The same of another generation.
    #[must_use]
    pub fn with_generation(self, generation: i64) -> Self {
        Self { generation, ..self }
    }
}

/// A key that encrypts the values of one organisation or one workspace.
pub struct DataKey {
    id: DataKeyId,
    key: Key,
}

impl DataKey {
    pub(crate) fn new(id: DataKeyId, key: Key) -> Self {
        Self { id, key }
    }

    /// The id that every value encrypted with this key carries.
    #[must_use]
    pub fn id(&self) -> &DataKeyId {
        &self.id
    }

    /// Encrypts `plain` with this associated data.
    ///
    /// # Errors
    /// Only when the cipher refuses, which it does for values of many gigabytes.
    pub fn encrypt(&self, aad: Aad<'_>, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let body = seal_bytes(&self.key, &associated_data(aad), plain)?;
        Ok([&[VERSION], ulid_of(&self.id).to_bytes().as_slice(), &body].concat())
    }

    /// Decrypts what this key encrypted with this associated data.
    ///
    /// # Errors
    /// [`SealError::OtherDataKey`], [`SealError::UnknownFormat`] or [`SealError::Tampered`].
    pub fn decrypt(&self, aad: Aad<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        if data_key_of(sealed)? != self.id {
            return Err(SealError::OtherDataKey);
        }
        open_bytes(&self.key, &associated_data(aad), &sealed[HEADER_LEN..])
    }

    /// A keyed hash (HMAC-SHA256) of `parts`.
    #[must_use]
    pub fn hash(&self, parts: &[&str]) -> Vec<u8> {
        let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
        keyed_hash(&self.key, &parts)
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The id of the data key that `sealed` names.
pub(crate) fn data_key_of(sealed: &[u8]) -> Result<DataKeyId, SealError> {
    let header = sealed.first_chunk::<HEADER_LEN>().ok_or(SealError::UnknownFormat)?;
    let (version, id) = header.split_first().ok_or(SealError::UnknownFormat)?;
    let id = <[u8; 16]>::try_from(id).map_err(|_| SealError::UnknownFormat)?;
    if *version != VERSION {
        return Err(SealError::UnknownFormat);
    }
    format!("dk_{}", Ulid::from_bytes(id)).parse().map_err(|_| SealError::UnknownFormat)
}

pub(crate) fn keyed_hash(key: &Key, parts: &[&[u8]]) -> Vec<u8> {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(key.as_slice()).expect("HMAC takes keys of any length");
    mac.update(&join(parts));
    mac.finalize().into_bytes().to_vec()
}

fn associated_data(aad: Aad<'_>) -> Vec<u8> {
    let generation = aad.generation.to_be_bytes();
    join(&[
        &[VERSION],
        aad.column.as_bytes(),
        aad.owner.name().as_bytes(),
        aad.row.as_bytes(),
        &generation,
    ])
}

fn ulid_of(id: &DataKeyId) -> Ulid {
    let text = id.as_str().trim_start_matches("dk_");
    Ulid::from_string(text).expect("a DataKeyId always holds a ULID")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::Clock;
    use crate::random;

    fn key() -> DataKey {
        DataKey::new(DataKeyId::new(&Clock::system()), Zeroizing::new(random::bytes()))
    }

    fn workspaces() -> [WorkspaceId; 2] {
        [WorkspaceId::new(&Clock::system()), WorkspaceId::new(&Clock::system())]
    }

    fn aad(workspace: &WorkspaceId) -> Aad<'_> {
        Aad::of_workspace("grants.sealed_tokens", workspace, "grt_1").with_generation(3)
    }

    #[test]
    fn decrypts_with_its_associated_data_alone() {
        let (key, [own, other]) = (key(), workspaces());
        let aad = aad(&own);
        let sealed = key.encrypt(aad, b"token").unwrap();
        assert_eq!(key.decrypt(aad, &sealed).unwrap().as_slice(), b"token");
        let longer = format!("{}grt_1", own.as_str());
        let elsewhere = [
            Aad { column: "connects.sealed_code", ..aad },
            Aad { owner: KeyOwner::workspace(&other), ..aad },
            Aad { owner: KeyOwner::Installation, ..aad },
            Aad { row: "grt_2", ..aad },
            Aad { row: &longer, ..aad },
            aad.with_generation(4),
        ];
        for aad in elsewhere {
            assert!(matches!(key.decrypt(aad, &sealed), Err(SealError::Tampered)), "{aad:?}");
        }
    }

    #[test]
    fn another_key_says_so() {
        let [own, _] = workspaces();
        let sealed = key().encrypt(aad(&own), b"token").unwrap();
        assert!(matches!(key().decrypt(aad(&own), &sealed), Err(SealError::OtherDataKey)));
    }

    #[test]
    fn two_ciphertexts_of_one_value_differ() {
        let (key, [own, _]) = (key(), workspaces());
        let encrypt = || key.encrypt(aad(&own), b"token").unwrap();
        assert_ne!(encrypt(), encrypt());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let [own, _] = workspaces();
            prop_assert!(key().decrypt(aad(&own), &bytes).is_err());
        }

        #[test]
        fn a_flipped_bit_is_found(bit in 0_usize..(17 + 24 + 5 + 16) * 8) {
            let (key, [own, _]) = (key(), workspaces());
            let mut sealed = key.encrypt(aad(&own), b"token").unwrap();
            sealed[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(key.decrypt(aad(&own), &sealed).is_err());
        }
    }
}
