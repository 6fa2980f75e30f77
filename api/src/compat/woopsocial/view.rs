//! What WoopSocial's clients send and get.

use latchkey_shared::db::accounts::AccountStatus;
use latchkey_shared::ids::{AccountId, WorkspaceId};
use serde::{Deserialize, Deserializer, Serialize};
use url::Url;
use utoipa::{IntoParams, ToSchema};

use super::words;
use crate::compat::words::Word as _;
use crate::routes::accounts::AccountView;
use crate::routes::workspaces::WorkspaceView;
use latchkey_shared::timestamp::Timestamp;

/// A URL to be made. WoopSocial takes no other fields, and no null in place of a URL.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = CreateOAuthAuthorizationRequest)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CreateAuthorization {
    /// The project that the account shall belong to.
    pub(super) project_id: String,
    pub(super) platform: words::Woopsocial,
    /// Where the browser goes in the end, with the result in its query; without it the person sees a page of
    /// ours.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = String, format = Uri, required = false, example = "https://app.example/connected")]
    pub(super) redirect_url: Option<String>,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    String::deserialize(deserializer).map(Some)
}

/// A URL to open.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CreateOAuthAuthorizationResponse)]
#[serde(deny_unknown_fields)]
pub(super) struct Authorization {
    /// Where the person's browser has to go.
    #[schema(value_type = String, format = Uri)]
    pub(super) url: Url,
}

/// Which accounts are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct ListAccounts {
    /// Of this project. A key that is limited to one implies it; any other key has to name it.
    pub(super) project_id: Option<String>,
}

/// How an account is.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum SocialAccountStatus {
    /// In order.
    Connected,
    /// To be connected again by the person.
    TokenExpired,
}

/// A connected account.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SocialAccount {
    #[schema(value_type = String)]
    id: AccountId,
    #[schema(value_type = String)]
    project_id: WorkspaceId,
    platform: words::Woopsocial,
    username: Option<String>,
    display_name: Option<String>,
    avatar_url: Option<String>,
    status: SocialAccountStatus,
    /// When it was connected last.
    connected_at: Timestamp,
}

/// The accounts of a project.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SocialAccountList {
    pub(super) social_accounts: Vec<SocialAccount>,
}

impl SocialAccount {
    /// `None` for a platform that WoopSocial has no word for, and for what is disconnected.
    pub(super) fn of(account: AccountView) -> Option<Self> {
        let status = match account.status {
            AccountStatus::Connected => SocialAccountStatus::Connected,
            AccountStatus::TokenExpired => SocialAccountStatus::TokenExpired,
            AccountStatus::Disconnected => return None,
        };
        Some(Self {
            platform: words::Woopsocial::of(&account.platform)?,
            id: account.id,
            project_id: account.workspace_id,
            username: account.username,
            display_name: account.display_name,
            avatar_url: account.avatar_url,
            status,
            connected_at: account.connected_at,
        })
    }
}

/// A project.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Project {
    #[schema(value_type = String)]
    id: WorkspaceId,
    name: String,
}

/// The projects that a key reaches.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProjectList {
    pub(super) projects: Vec<Project>,
}

impl From<WorkspaceView> for Project {
    fn from(workspace: WorkspaceView) -> Self {
        Self { id: workspace.id, name: workspace.name }
    }
}

/// That we are there.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    #[schema(example = "ok")]
    pub(super) status: &'static str,
}
