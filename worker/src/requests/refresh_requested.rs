//! `refresh.requested`: makes an account's refresh due now. What came of it, events tell, or the API.

use latchkey_shared::messages::requests::{AccountAccepted, RefreshRequested};
use latchkey_shared::operations::{Unable, refresh_account};

use super::ending::{Done, Ending};
use super::{Asked, Parts};

pub(super) async fn handle(
    parts: &Parts,
    asked: &Asked,
    request: RefreshRequested,
) -> Result<Option<Ending>, Unable> {
    let workspace = asked.caller.workspace(parts, &request.workspace_id).await?;
    let due = refresh_account::prepare(parts.means(), &workspace.id, &request.account_id).await?;

    let mut work = parts.context.store.begin().await?;
    let (account, _) = refresh_account::write(&mut work, due).await?;
    let accepted = AccountAccepted { account_id: account.id, status: account.status };
    let subject = accepted.account_id.to_string();
    parts
        .conclude(
            work,
            asked,
            Done { workspace: &workspace.id, subject: &subject, reply: &accepted },
        )
        .await
}
