//! What happened to an account. Never a token.

use latchkey_shared::db::account_history::{self, HistoryEntry};
use latchkey_shared::ids::{AccountId, WorkspaceId};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::pagination::{List, Wanted};
use crate::problem::Problem;
use crate::state::App;
use latchkey_shared::timestamp::Timestamp;

/// One thing that happened to an account.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AccountHistoryEntry)]
pub(crate) struct HistoryView {
    /// The type of an event of the account, or `refresh.succeeded` or `refresh.failed`.
    #[schema(example = "refresh.succeeded")]
    r#type: String,
    at: Timestamp,
    /// That of the event; of a refresh that succeeded `tokenGeneration` and `tokenExpiresAt`, of one
    /// that failed `error`, `inDoubt` and `nextAttemptAt`.
    #[schema(value_type = Object)]
    data: Value,
}

impl From<HistoryEntry> for HistoryView {
    fn from(row: HistoryEntry) -> Self {
        Self { r#type: row.kind, at: row.created_at.into(), data: row.data }
    }
}

pub(super) async fn list(
    app: &App,
    workspace: &WorkspaceId,
    id: &AccountId,
    wanted: &Wanted,
) -> Result<List<HistoryView>, Problem> {
    super::find(app, workspace, id).await?;
    let mut conn = app.conn().await?;
    let rows = account_history::list(&mut conn, workspace, id, wanted.page()).await?;
    Ok(wanted.list(rows, |row| row.position.to_string(), Into::into))
}
