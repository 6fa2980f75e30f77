//! What Postato's clients get. Never a token.

use latchkey_shared::db::accounts::AccountStatus;
use latchkey_shared::ids::{AccountId, WorkspaceId};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::words;
use crate::routes::accounts::AccountView;
use latchkey_shared::timestamp::Timestamp;

/// The accounts of a workspace.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AccountList {
    pub(super) accounts: Vec<SocialAccount>,
}

/// A connected account.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SocialAccount {
    #[schema(value_type = String, example = "acc_01JCZ5M2V8Q4T6W8Y0A2B4C6D8")]
    id: AccountId,
    #[schema(value_type = String)]
    workspace_id: WorkspaceId,
    /// `x`, `linkedin`, `instagram`, `tiktok`, `youtube`; others by our own id in lower case.
    #[schema(example = "x")]
    platform: String,
    /// The platform's id of the person or page.
    platform_account_id: String,
    username: Option<String>,
    display_name: Option<String>,
    avatar_url: Option<String>,
    /// `token_expired` until the person connects it again. `disconnected` stands at a single account alone:
    /// lists leave those out.
    status: AccountStatus,
    /// What the person granted.
    scopes: Vec<String>,
    /// When it was connected last.
    connected_at: Timestamp,
    disconnected_at: Option<Timestamp>,
    /// When the access token ends; it is refreshed before that.
    token_expires_at: Option<Timestamp>,
    last_refreshed_at: Option<Timestamp>,
}

impl From<AccountView> for SocialAccount {
    fn from(account: AccountView) -> Self {
        Self {
            id: account.id,
            workspace_id: account.workspace_id,
            platform: words::postato(&account.platform),
            platform_account_id: account.platform_user_id,
            username: account.username,
            display_name: account.display_name,
            avatar_url: account.avatar_url,
            status: account.status,
            scopes: account.scopes,
            connected_at: account.connected_at,
            disconnected_at: account.disconnected_at,
            token_expires_at: account.tokens.token_expires_at,
            last_refreshed_at: account.tokens.last_refreshed_at,
        }
    }
}
