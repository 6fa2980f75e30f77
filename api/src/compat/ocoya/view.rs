//! What Ocoya's clients send and get.

use latchkey_shared::ids::WorkspaceId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::words;
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
