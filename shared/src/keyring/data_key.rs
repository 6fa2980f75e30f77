//! One data key, and the places that its values are bound to.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use ulid::Ulid;
use zeroize::Zeroizing;

use super::{Key, SealError, aad, open_bytes, seal_bytes};
use crate::ids::DataKeyId;

/// The first byte of every sealed value.
const VERSION: u8 = 1;
const HEADER_LEN: usize = 17;

/// Where a sealed value stands. Only things that never change: what changed would not open again.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// `table.column`.
    pub column: &'static str,
    /// The organisation's or workspace's id.
    pub tenant: &'a str,
    /// The row's id.
    pub row: &'a str,
    /// The generation of a token set; 0 where there is none.
    pub generation: i64,
}

/// A key that seals the values of one organisation or one workspace.
pub struct DataKey {
    id: DataKeyId,
    key: Key,
}

impl DataKey {
    pub(crate) fn new(id: DataKeyId, key: Key) -> Self {
        Self { id, key }
    }

    /// The id that every value sealed with this key carries.
    #[must_use]
    pub fn id(&self) -> &DataKeyId {
        &self.id
    }

    /// Seals `plain` for one place.
    ///
    /// # Errors
    /// Only when the cipher refuses, which it does for values of many gigabytes.
    pub fn seal(&self, place: Place<'_>, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let body = seal_bytes(&self.key, &associated_data(place), plain)?;
        Ok([&[VERSION], ulid_of(&self.id).to_bytes().as_slice(), &body].concat())
    }

    /// Opens a value that was sealed with this key for this place.
    ///
    /// # Errors
    /// [`SealError::OtherDataKey`], [`SealError::UnknownFormat`] or [`SealError::Tampered`].
    pub fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        if data_key_of(sealed)? != self.id {
            return Err(SealError::OtherDataKey);
        }
        open_bytes(&self.key, &associated_data(place), &sealed[HEADER_LEN..])
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
    mac.update(&aad(parts));
    mac.finalize().into_bytes().to_vec()
}

fn associated_data(place: Place<'_>) -> Vec<u8> {
    let generation = place.generation.to_be_bytes();
    aad(&[
        &[VERSION],
        place.column.as_bytes(),
        place.tenant.as_bytes(),
        place.row.as_bytes(),
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

    const PLACE: Place<'static> =
        Place { column: "grants.sealed_tokens", tenant: "ws_1", row: "grt_1", generation: 3 };

    fn key() -> DataKey {
        DataKey::new(DataKeyId::new(&Clock::system()), Zeroizing::new(random::bytes()))
    }

    #[test]
    fn opens_in_its_place_alone() {
        let key = key();
        let sealed = key.seal(PLACE, b"token").unwrap();
        assert_eq!(key.open(PLACE, &sealed).unwrap().as_slice(), b"token");
        let elsewhere = [
            Place { column: "connects.sealed_code", ..PLACE },
            Place { tenant: "ws_2", ..PLACE },
            Place { row: "grt_2", ..PLACE },
            Place { generation: 4, ..PLACE },
            Place { tenant: "ws_1g", row: "rt_1", ..PLACE },
        ];
        for place in elsewhere {
            assert!(matches!(key.open(place, &sealed), Err(SealError::Tampered)), "{place:?}");
        }
    }

    #[test]
    fn another_key_says_so() {
        let sealed = key().seal(PLACE, b"token").unwrap();
        assert!(matches!(key().open(PLACE, &sealed), Err(SealError::OtherDataKey)));
    }

    #[test]
    fn two_seals_of_one_value_differ() {
        let key = key();
        assert_ne!(key.seal(PLACE, b"token").unwrap(), key.seal(PLACE, b"token").unwrap());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            prop_assert!(key().open(PLACE, &bytes).is_err());
        }

        #[test]
        fn a_flipped_bit_is_found(bit in 0_usize..(17 + 24 + 5 + 16) * 8) {
            let key = key();
            let mut sealed = key.seal(PLACE, b"token").unwrap();
            sealed[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(key.open(PLACE, &sealed).is_err());
        }
    }
}
