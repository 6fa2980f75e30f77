//! What a person may choose from after one consent: pages, organisations, channels. Sealed with the
//! tokens that came with them; a token never leaves here but to be sealed on its account.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::db::Session;
use crate::keyring::{Aad, SealError};

/// One of several that a consent can connect.
#[derive(Clone, Deserialize)]
pub struct Candidate {
    /// The platform's id of it.
    pub id: String,
    /// The handle.
    pub username: Option<String>,
    /// The name people see.
    pub display_name: Option<String>,
    /// A picture.
    pub avatar_url: Option<String>,
    /// Its own access token, where the platform gives one.
    pub token: Option<SecretString>,
    /// Why it cannot be connected, as a code; `None`: it can.
    pub ineligible: Option<String>,
}

#[derive(Serialize)]
struct Plain<'a> {
    id: &'a str,
    username: Option<&'a str>,
    display_name: Option<&'a str>,
    avatar_url: Option<&'a str>,
    token: Option<&'a str>,
    ineligible: Option<&'a str>,
}

impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Candidate({})", self.id)
    }
}

/// Encrypts a list.
///
/// # Errors
/// As [`Session::encrypt`].
pub async fn encrypt(
    session: &mut Session,
    aad: Aad<'_>,
    candidates: &[Candidate],
) -> Result<Vec<u8>, SealError> {
    let plain: Vec<_> = candidates.iter().map(plain).collect();
    let bytes = Zeroizing::new(serde_json::to_vec(&plain).map_err(|_| SealError::UnknownFormat)?);
    session.encrypt(aad, &bytes).await
}

/// Decrypts a list.
///
/// # Errors
/// As [`Session::decrypt`].
pub async fn decrypt(
    session: &mut Session,
    aad: Aad<'_>,
    sealed: &[u8],
) -> Result<Vec<Candidate>, SealError> {
    let bytes = session.decrypt(aad, sealed).await?;
    serde_json::from_slice(&bytes).map_err(|_| SealError::UnknownFormat)
}

fn plain(candidate: &Candidate) -> Plain<'_> {
    Plain {
        id: &candidate.id,
        username: candidate.username.as_deref(),
        display_name: candidate.display_name.as_deref(),
        avatar_url: candidate.avatar_url.as_deref(),
        token: candidate.token.as_ref().map(|token| token.expose_secret()),
        ineligible: candidate.ineligible.as_deref(),
    }
}
