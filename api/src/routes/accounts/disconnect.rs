//! Disconnecting: the account is out of use at once, and its grant with its last account.

use latchkey_shared::db::accounts::{Account, AccountStatus};
use latchkey_shared::db::grants::Grant;
use latchkey_shared::events::DisconnectedBy;
use latchkey_shared::ids::{AccountId, WorkspaceId};
use latchkey_shared::release;

use crate::problem::Problem;
use crate::state::App;

/// How often a reconnect may move the account to another grant while we look.
const TRIES: usize = 5;

/// Disconnects. An account that is disconnected already stays as it is.
pub(crate) async fn run(
    app: &App,
    workspace: &WorkspaceId,
    id: &AccountId,
) -> Result<(Account, Option<Grant>), Problem> {
    for _ in 0..TRIES {
        let (seen, grant) = super::find(app, workspace, id).await?;
        if seen.status == AccountStatus::Disconnected {
            return Ok((seen, grant));
        }
        let mut work = app.store.begin().await?;
        if release::disconnect(&mut work, app.clock(), &seen, DisconnectedBy::Api).await? {
            work.commit().await?;
            return super::find(app, workspace, id).await;
        }
    }
    Err(Problem::internal(anyhow::anyhow!(
        "account {id} moved to another grant {TRIES} times while it was disconnected"
    )))
}
