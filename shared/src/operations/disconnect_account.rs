//! Disconnecting: the account is out of use at once, and its grant with its last account.

use super::Unable;
use crate::db::accounts::{Account, AccountStatus};
use crate::events::DisconnectedBy;
use crate::ids::ApiKeyId;
use crate::release;
use crate::work::Work;

/// How often a reconnect may move the account to another grant while somebody looks: so often the caller
/// looks again and begins anew.
pub const TRIES: usize = 5;

/// Disconnects an account as it was `seen`; one that is disconnected already stays as it is. False when it
/// has moved on since: then nothing may be committed. `by` says who wants it, `key` with which API key.
///
/// # Errors
/// When a query fails.
pub async fn write(
    work: &mut Work,
    seen: &Account,
    by: DisconnectedBy,
    key: Option<&ApiKeyId>,
) -> Result<bool, Unable> {
    if seen.status == AccountStatus::Disconnected {
        return Ok(true);
    }
    Ok(release::disconnect(work, seen, by, key).await?)
}
