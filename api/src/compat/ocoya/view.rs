//! What Ocoya's clients send and get.

use latchkey_shared::db::accounts::AccountStatus;
use latchkey_shared::ids::{AccountId, WorkspaceId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{kind, words};
use crate::routes::accounts::AccountView;
use crate::routes::workspaces::WorkspaceView;

/// Where the account shall belong.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct InWorkspace {
    /// The workspace; the list of workspaces has its id.
    #[param(example = "ws_01JCZ5M2V8Q4T6W8Y0A2B4C6D8")]
    pub(super) workspace_id: String,
}

/// What shall be connected.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct ConnectionRequest {
    #[schema(inline)]
    pub(super) provider: words::Ocoya,
}

/// A URL to open.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ConnectionUrl {
    /// Where the person's browser has to go; they have to sign in there with a key of role admin.
    #[schema(
        example = "https://latchkey.example/compat/ocoya/api/social-connect/start?provider=instagram&workspaceId=ws_01JCZ5M2V8Q4T6W8Y0A2B4C6D8"
    )]
    pub(super) url: String,
}

/// A connected account.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SocialProfile {
    /// The account's id.
    #[schema(value_type = String)]
    id: AccountId,
    #[schema(inline)]
    provider: words::Ocoya,
    /// What people know it by.
    name: String,
    /// A picture.
    image: Option<String>,
    #[schema(inline)]
    status: SocialProfileStatus,
}

/// How it is.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum SocialProfileStatus {
    /// In order.
    Connected,
    /// To be connected again by the person.
    TokenExpired,
}

impl SocialProfile {
    /// `None` for a platform that Ocoya has no word for, and for what is disconnected.
    pub(super) fn of(account: AccountView) -> Option<Self> {
        let status = match account.status {
            AccountStatus::Connected => SocialProfileStatus::Connected,
            AccountStatus::TokenExpired => SocialProfileStatus::TokenExpired,
            AccountStatus::Disconnected => return None,
        };
        let name = account.display_name.or(account.username);
        Some(Self {
            provider: kind::provider(&account.platform)?,
            id: account.id,
            name: name.unwrap_or(account.platform_user_id),
            image: account.avatar_url,
            status,
        })
    }
}

/// A workspace.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Workspace {
    #[schema(value_type = String)]
    id: WorkspaceId,
    name: String,
}

impl From<WorkspaceView> for Workspace {
    fn from(workspace: WorkspaceView) -> Self {
        Self { id: workspace.id, name: workspace.name }
    }
}
