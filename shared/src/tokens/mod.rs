//! Token sets in the clear: only ever on their way between a seal and a platform; and [`with_access`], the
//! one way for a publisher to use an account's token.

mod access;

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;
use zeroize::Zeroizing;

use crate::db::Session;
use crate::keyring::{Aad, DataKey, SealError};

pub use access::{AccessError, NoAccess, PATIENCE, UseError, with_access};

/// What a platform gave for one consent.
#[derive(Clone)]
pub struct TokenSet {
    /// What opens the platform's API.
    pub access_token: SecretString,
    /// What brings the next token set, if the platform gives such a thing.
    pub refresh_token: Option<SecretString>,
    /// The platform's id of the person who consented, where calls must name it.
    pub subject: Option<String>,
    /// Where the person's data live, where everybody has a host of their own.
    pub host: Option<Url>,
}

#[derive(Serialize)]
struct Plain<'a> {
    access_token: &'a str,
    refresh_token: Option<&'a str>,
    subject: Option<&'a str>,
    host: Option<&'a Url>,
}

impl TokenSet {
    /// Encrypts the set with a key in hand.
    ///
    /// # Errors
    /// When the cipher refuses.
    pub fn encrypt(&self, key: &DataKey, aad: Aad<'_>) -> Result<Vec<u8>, SealError> {
        let plain = Plain {
            access_token: self.access_token.expose_secret(),
            refresh_token: self.refresh_token.as_ref().map(|token| token.expose_secret()),
            subject: self.subject.as_deref(),
            host: self.host.as_ref(),
        };
        let bytes =
            Zeroizing::new(serde_json::to_vec(&plain).map_err(|_| SealError::UnknownFormat)?);
        key.encrypt(aad, &bytes)
    }

    /// Decrypts a set.
    ///
    /// # Errors
    /// As [`Session::decrypt`].
    pub async fn decrypt(
        session: &mut Session,
        aad: Aad<'_>,
        sealed: &[u8],
    ) -> Result<Self, SealError> {
        #[derive(Deserialize)]
        struct Owned {
            access_token: SecretString,
            refresh_token: Option<SecretString>,
            subject: Option<String>,
            host: Option<Url>,
        }
        let bytes = session.decrypt(aad, sealed).await?;
        let Owned { access_token, refresh_token, subject, host } =
            serde_json::from_slice(&bytes).map_err(|_| SealError::UnknownFormat)?;
        Ok(Self { access_token, refresh_token, subject, host })
    }
}

impl fmt::Debug for TokenSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSet(sealed)")
    }
}
