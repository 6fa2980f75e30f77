//! What applications can have done, whichever door they come through: the API's handlers and the workers
//! that take producers' requests call the same code.
//!
//! An operation has two halves. `prepare` reads, and may ask a platform where its endpoints are: never in a
//! transaction. `write` does it, in the caller's transaction, which also keeps the answer. Who may call is
//! judged before: nothing here knows a key.

pub mod disconnect_account;
pub mod handover;
pub mod refresh_account;
pub mod start_connect;

use chrono::TimeDelta;
use diesel_async::AsyncPgConnection;
use url::Url;

use crate::clock::Clock;
use crate::db::DbError;
use crate::db::accounts::{self, Account};
use crate::db::grants::Grant;
use crate::ids::{AccountId, WorkspaceId};
use crate::keyring::SealError;
use crate::platforms::Platforms;
use crate::refused::Refused;
use crate::work::Store;

/// What operations work with.
#[derive(Clone, Copy, Debug)]
pub struct Means<'a> {
    /// The database.
    pub store: &'a Store,
    /// What can be connected.
    pub platforms: &'a Platforms,
    /// Makes every URL.
    pub public_url: &'a Url,
    /// How long a person has to finish a connect.
    pub connect_lifetime: TimeDelta,
    /// How many connects a workspace may have open.
    pub max_open_connects: i64,
}

impl Means<'_> {
    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        self.store.clock()
    }

    /// The address of a path of ours, as browsers and platforms reach it.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        address(self.public_url, path)
    }
}

/// The address of a path below the public URL.
#[must_use]
pub fn address(public_url: &Url, path: &str) -> String {
    format!("{}{path}", public_url.as_str().trim_end_matches('/'))
}

/// An account with what keeps it alive.
///
/// # Errors
/// `NOT_FOUND` when the workspace has no such account.
pub async fn find_account(
    conn: &mut AsyncPgConnection,
    workspace: &WorkspaceId,
    id: &AccountId,
) -> Result<(Account, Option<Grant>), Unable> {
    let found = accounts::find_with_grant(conn, workspace, id).await?;
    found.ok_or_else(|| Refused::not_found().into())
}

/// Why an operation was not done.
#[derive(Debug, thiserror::Error)]
pub enum Unable {
    /// It must not be, and the caller can know why.
    #[error("refused: {}", .0.code.as_str())]
    Refused(Refused),
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
    /// A key, or what was sealed with it.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// What cannot be, and was.
    #[error("{0}")]
    Broken(String),
}

impl From<Refused> for Unable {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}
