//! Disconnecting, again where a reconnect moved the account meanwhile.

use latchkey_shared::db::accounts::Account;
use latchkey_shared::db::grants::Grant;
use latchkey_shared::events::DisconnectedBy;
use latchkey_shared::ids::{AccountId, WorkspaceId};
use latchkey_shared::operations::disconnect_account::{self, TRIES};

use crate::auth::Caller;
use crate::problem::Problem;
use crate::state::App;

/// Disconnects. An account that is disconnected already stays as it is.
pub(crate) async fn run(
    app: &App,
    caller: &Caller,
    (workspace, id): (&WorkspaceId, &AccountId),
) -> Result<(Account, Option<Grant>), Problem> {
    let by = (DisconnectedBy::Api, Some(&caller.key_id));
    for _ in 0..TRIES {
        let (seen, _) = super::find(app, workspace, id).await?;
        let mut work = app.store.begin().await?;
        if disconnect_account::write(&mut work, &seen, by).await? {
            work.commit().await?;
            return super::find(app, workspace, id).await;
        }
    }
    Err(Problem::internal(anyhow::anyhow!(
        "account {id} moved to another grant {TRIES} times while it was disconnected"
    )))
}
