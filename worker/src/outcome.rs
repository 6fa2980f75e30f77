//! How work ends: a closed set, decided in one place.

use std::time::Duration;

use latchkey_shared::backoff::Policy;
use latchkey_shared::credentials::CredentialsError;
use latchkey_shared::db::DbError;
use latchkey_shared::keyring::SealError;
use latchkey_shared::platforms::DiscoveryError;

/// A handler's good endings. An expected refusal is a transition of some row, and `Done`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// What was asked for is committed.
    Done,
    /// There was nothing to do: the row is gone, or has moved on.
    Stale(&'static str),
    /// Not yet; nothing went wrong.
    Snooze(Duration),
}

/// A handler's bad endings.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It may go better later.
    #[error("will be tried again")]
    Later(#[source] anyhow::Error),
    /// The same, and not before this time has passed: a platform asked for it.
    #[error("will be tried again when the platform wants to be asked")]
    NotBefore(Duration, #[source] anyhow::Error),
    /// It will never go better.
    #[error("can never succeed")]
    Never(#[source] anyhow::Error),
}

impl Failure {
    /// Whether the database is away, so that nothing else will do better.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        let Self::Later(error) = self else { return false };
        error.downcast_ref::<DbError>().is_some_and(DbError::is_unavailable)
    }

    /// Whether the database refused the values: the same values are refused again, unless other rows change.
    #[must_use]
    pub fn is_of_the_values(&self) -> bool {
        let Self::Later(error) = self else { return false };
        error.downcast_ref::<DbError>().is_some_and(DbError::refuses_values)
    }
}

impl From<DbError> for Failure {
    fn from(error: DbError) -> Self {
        Self::Later(error.into())
    }
}

/// A key may be added to the keyring yet; what was tampered with stays so.
impl From<SealError> for Failure {
    fn from(error: SealError) -> Self {
        match error {
            SealError::Db(_) | SealError::UnknownKek(_) | SealError::WrongKek(_) => {
                Self::Later(error.into())
            }
            _ => Self::Never(error.into()),
        }
    }
}

impl From<CredentialsError> for Failure {
    fn from(error: CredentialsError) -> Self {
        Self::Later(error.into())
    }
}

impl From<DiscoveryError> for Failure {
    fn from(error: DiscoveryError) -> Self {
        Self::Later(error.into())
    }
}

/// What each handler must say of itself; there is no default.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// After this the executor stops waiting (and the handler, whose calls have deadlines of their
    /// own, ends by itself).
    pub timeout: Duration,
    /// Between attempts.
    pub retry: Policy,
    /// After this many attempts the message is dead.
    pub max_attempts: i32,
}
