//! Disconnecting, again where a reconnect moved the account meanwhile.

use latchkey_shared::db::accounts::Account;
use latchkey_shared::db::grants::Grant;
use latchkey_shared::events::DisconnectedBy;
use latchkey_shared::ids::AccountKey;
use latchkey_shared::operations::disconnect_account::{self, TRIES};

use crate::auth::Caller;
use crate::problem::Problem;
use crate::state::App;

/// Disconnects. An account that is disconnected already stays as it is.
pub(crate) async fn run(
    app: &App,
    caller: &Caller,
    key: AccountKey<'_>,
) -> Result<(Account, Option<Grant>), Problem> {
    for _ in 0..TRIES {
        let (seen, _) = super::find(app, key.workspace_id, key.id).await?;
        let mut work = app.store.begin().await?;
        if disconnect_account::write(&mut work, &seen, DisconnectedBy::Api, Some(&caller.key_id))
            .await?
        {
            work.commit().await?;
            return super::find(app, key.workspace_id, key.id).await;
        }
    }
    Err(Problem::internal(anyhow::anyhow!(
        "account {} moved to another grant {TRIES} times while it was disconnected",
        key.id
    )))
}
