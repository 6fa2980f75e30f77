//! A connect as the API shows it. Never its state, code or verifier.

use latchkey_shared::db::connects::{Binding, Connect, ConnectStatus};
use latchkey_shared::ids::{AccountId, AppId, ConnectId, ProfileId, WorkspaceId};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use latchkey_shared::timestamp::Timestamp;

/// An attempt to connect an account.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Connect)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ConnectView {
    #[schema(value_type = String, example = "con_01JCZ5M2V8Q4T6W8Y0A2B4C6D8")]
    id: ConnectId,
    #[schema(value_type = String)]
    workspace_id: WorkspaceId,
    #[schema(example = "SANDBOX")]
    platform: String,
    status: ConnectStatus,
    /// Why it ended, if not well.
    reason_code: Option<String>,
    /// What the platform said, if it said something.
    #[schema(value_type = Option<Object>)]
    platform_error: Option<Value>,
    /// The accounts that it connected.
    account_ids: Vec<String>,
    /// The account that it is to reconnect, if one was named.
    #[schema(value_type = Option<String>)]
    account_id: Option<AccountId>,
    #[schema(value_type = Option<String>)]
    profile_id: Option<ProfileId>,
    #[schema(value_type = Option<String>)]
    app_id: Option<AppId>,
    redirect_url: Option<String>,
    /// What was asked for.
    scopes: Vec<String>,
    #[schema(value_type = Object)]
    metadata: Value,
    /// Who may finish it.
    binding: Binding,
    /// Whether it adds an account only where no other of its platform is in use.
    exclusive: bool,
    /// Each status with its moment, oldest first; and each refusal on the way through a browser.
    #[schema(value_type = Vec<TimelineStep>)]
    timeline: Value,
    /// When the person must have come back, or have chosen.
    expires_at: Timestamp,
    created_at: Timestamp,
}

/// One step of a connect.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes for the document what the database keeps as JSON")]
pub(crate) struct TimelineStep {
    status: ConnectStatus,
    at: Timestamp,
    /// Why, if it did not go well.
    reason: Option<String>,
    /// What was refused, while the status stayed as it was.
    refused: Option<String>,
}

impl From<Connect> for ConnectView {
    fn from(row: Connect) -> Self {
        Self {
            id: row.id,
            workspace_id: row.workspace_id,
            platform: row.platform,
            status: row.status,
            reason_code: row.reason_code,
            platform_error: row.platform_error,
            account_ids: row.account_ids,
            account_id: row.account_id,
            profile_id: row.profile_id,
            app_id: row.app_id,
            redirect_url: row.redirect_url,
            scopes: row.scopes,
            metadata: row.metadata,
            binding: row.binding,
            exclusive: row.exclusive,
            timeline: row.timeline,
            expires_at: row.expires_at.into(),
            created_at: row.created_at.into(),
        }
    }
}
