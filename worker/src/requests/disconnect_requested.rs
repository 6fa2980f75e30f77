//! `disconnect.requested`: takes an account out of use at once. Telling the platform follows by itself.

use latchkey_shared::db::accounts::AccountStatus;
use latchkey_shared::events::DisconnectedBy;
use latchkey_shared::messages::requests::{AccountAccepted, DisconnectRequested};
use latchkey_shared::operations::disconnect_account::{self, TRIES};
use latchkey_shared::operations::{Unable, find_account};

use super::ending::{Done, Ending};
use super::{Asked, Parts};

pub(super) async fn handle(
    parts: &Parts,
    asked: &Asked,
    request: DisconnectRequested,
) -> Result<Option<Ending>, Unable> {
    let workspace = asked.caller.workspace(parts, &request.workspace_id).await?;
    let key = asked.caller.key_id();
    for _ in 0..TRIES {
        let (seen, _) = {
            let mut conn = parts.context.store.conn().await?;
            find_account(&mut conn, &workspace.id, &request.account_id).await?
        };
        let accepted =
            AccountAccepted { account_id: seen.id.clone(), status: AccountStatus::Disconnected };

        let mut work = parts.context.store.begin().await?;
        if disconnect_account::write(&mut work, &seen, DisconnectedBy::Producer, key).await? {
            let what =
                Done { workspace: &workspace.id, subject: seen.id.as_str(), reply: &accepted };
            return parts.conclude(work, asked, what).await;
        }
    }
    Err(Unable::Broken(format!(
        "account {} moved to another grant {TRIES} times while it was disconnected",
        request.account_id
    )))
}
