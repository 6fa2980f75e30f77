//! The key-encryption keys, and how a value is encrypted.
//!
//! XChaCha20-Poly1305 with a random 24-byte nonce. A sealed value is
//! `version (1) | data key id (16) | nonce (24) | ciphertext and tag`; its associated data
//! ([`Aad`]) names its column, tenant, row and generation: moved elsewhere, a ciphertext does not decrypt.

mod data_key;
mod key_store;
mod owner;

pub use data_key::{Aad, DataKey};
pub use key_store::KeyStore;
pub use owner::KeyOwner;

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use crate::random;

/// Why a keyring cannot be used, or a value cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The setting does not have the form that it must have.
    #[error("the keyring is malformed: {0}")]
    Malformed(String),
    /// A key that a value was sealed with is not in the keyring.
    #[error("key-encryption key `{0}` is not in the keyring: add it and restart")]
    UnknownKek(String),
    /// A key of the right name that is not the right key.
    #[error("key-encryption key `{0}` is not the key that this database was sealed with")]
    WrongKek(String),
    /// The bytes are no sealed value of ours.
    #[error("not a sealed value of a known version")]
    UnknownFormat,
    /// The value was sealed with another data key than the one it is opened with.
    #[error("sealed with another data key")]
    OtherDataKey,
    /// The bytes were changed, or stand in another place than they were sealed for.
    #[error("the sealed value does not belong here or was tampered with")]
    Tampered,
    /// The database failed while keys were looked up.
    #[error("keys could not be read")]
    Db(#[from] crate::db::DbError),
}

type Key = Zeroizing<[u8; 32]>;

/// The key-encryption keys by id. The first of the setting encrypts, all decrypt.
pub struct Keyring {
    sealing: String,
    keys: BTreeMap<String, Key>,
}

impl Keyring {
    /// A keyring without a key: with it nothing can be encrypted or decrypted.
    #[must_use]
    pub fn empty() -> Self {
        Self { sealing: String::new(), keys: BTreeMap::new() }
    }

    /// Reads `id:base64key` entries, separated by commas or line ends.
    ///
    /// # Errors
    /// [`SealError::Malformed`], naming the entry by its position and never by its content.
    pub fn parse(text: &str) -> Result<Self, SealError> {
        let entries = text.split([',', '\n']).map(str::trim).filter(|entry| !entry.is_empty());
        let mut sealing = None;
        let mut keys = BTreeMap::new();
        for (index, entry) in entries.enumerate() {
            let (id, key) = parse_entry(entry)
                .map_err(|why| SealError::Malformed(format!("entry {} {why}", index + 1)))?;
            sealing.get_or_insert_with(|| id.clone());
            if keys.insert(id.clone(), key).is_some() {
                return Err(SealError::Malformed(format!("key id `{id}` stands twice")));
            }
        }
        match sealing {
            Some(sealing) => Ok(Self { sealing, keys }),
            None => Err(SealError::Malformed("it holds no key".to_owned())),
        }
    }

    /// The id of the key that seals.
    #[must_use]
    pub fn sealing_id(&self) -> &str {
        &self.sealing
    }

    /// The ids of all keys.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }

    /// `nonce | ciphertext and tag` under the named key.
    pub(crate) fn wrap(
        &self,
        kek_id: &str,
        aad: &[u8],
        plain: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        seal_bytes(self.key(kek_id)?, aad, plain)
    }

    pub(crate) fn unwrap(
        &self,
        kek_id: &str,
        aad: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        open_bytes(self.key(kek_id)?, aad, sealed).map_err(|error| match error {
            SealError::Tampered => SealError::WrongKek(kek_id.to_owned()),
            other => other,
        })
    }

    fn key(&self, kek_id: &str) -> Result<&Key, SealError> {
        self.keys.get(kek_id).ok_or_else(|| SealError::UnknownKek(kek_id.to_owned()))
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("ids", &self.keys.keys()).finish_non_exhaustive()
    }
}

fn parse_entry(entry: &str) -> Result<(String, Key), &'static str> {
    let (id, encoded) = entry.split_once(':').ok_or("is not `id:base64key`")?;
    let plain_id =
        id.len() <= 32 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if id.is_empty() || !plain_id {
        return Err("has an id that is not 1 to 32 letters, digits, `-` or `_`");
    }
    let bytes =
        Zeroizing::new(STANDARD.decode(encoded).map_err(|_| "has a key that is not base64")?);
    let key =
        <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| "has a key that is not 32 bytes")?;
    Ok((id.to_owned(), Zeroizing::new(key)))
}

const NONCE_LEN: usize = 24;

pub(crate) fn seal_bytes(key: &Key, aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, SealError> {
    let nonce = random::bytes::<NONCE_LEN>();
    let cipher =
        XChaCha20Poly1305::new(key.as_slice().try_into().map_err(|_| SealError::UnknownFormat)?);
    let payload = Payload { msg: plain, aad };
    let sealed =
        cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| SealError::UnknownFormat)?;
    Ok([nonce.as_slice(), &sealed].concat())
}

pub(crate) fn open_bytes(
    key: &Key,
    aad: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let (nonce, sealed) =
        sealed.split_first_chunk::<NONCE_LEN>().ok_or(SealError::UnknownFormat)?;
    let cipher =
        XChaCha20Poly1305::new(key.as_slice().try_into().map_err(|_| SealError::UnknownFormat)?);
    let payload = Payload { msg: sealed, aad };
    let plain = cipher.decrypt(&XNonce::from(*nonce), payload).map_err(|_| SealError::Tampered)?;
    Ok(Zeroizing::new(plain))
}

/// Length-prefixed parts, so that no two lists of parts make the same bytes.
pub(crate) fn join(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}
