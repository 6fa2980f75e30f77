//! What was connected and the person unticked, where they chose what to connect: our page said that it is
//! disconnected.

use latchkey_shared::db::DbError;
use latchkey_shared::db::accounts::{self, Account, AccountStatus};
use latchkey_shared::db::connects::Connect;
use latchkey_shared::events::DisconnectedBy;
use latchkey_shared::release;
use latchkey_shared::work::Work;

/// The accounts that the person unticked and that are still in use, in one order.
///
/// # Errors
/// When the query fails.
pub(super) async fn accounts(work: &mut Work, connect: &Connect) -> Result<Vec<Account>, DbError> {
    let ids: Vec<&str> = connect.deselection.iter().map(String::as_str).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let (workspace, platform) = (&connect.workspace_id, &connect.platform);
    let mut unticked = accounts::of_identities(work, workspace, platform, &ids).await?;
    unticked.retain(|account| {
        account.status != AccountStatus::Disconnected
            && !account.is_of_another(connect.profile_id.as_ref())
    });
    unticked.sort_by(|one, other| one.platform_user_id.cmp(&other.platform_user_id));
    Ok(unticked)
}

/// Disconnects them. Their grants are locked.
///
/// # Errors
/// When a query fails.
pub(super) async fn disconnect(work: &mut Work, unticked: &[Account]) -> Result<(), DbError> {
    for account in unticked {
        release::disconnect(work, account, DisconnectedBy::Person, None).await?;
    }
    Ok(())
}
