//! Sent by the planner for grants whose time has come, and by the API when a person asks for a
//! refresh now; handled by the `refresh` pool.

use serde::{Deserialize, Serialize};

use crate::ids::{GrantId, GrantKey, WorkspaceId};

/// Grants of one platform to be refreshed, each by itself.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RefreshDue {
    /// The platform of all of them.
    pub platform: String,
    /// At most 50.
    pub grants: Vec<GrantRef>,
}

/// One grant.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GrantRef {
    /// Whose grant.
    pub workspace_id: WorkspaceId,
    /// Which grant.
    pub grant_id: GrantId,
}

impl GrantRef {
    /// Its workspace and id.
    #[must_use]
    pub fn key(&self) -> GrantKey<'_> {
        GrantKey { workspace_id: &self.workspace_id, id: &self.grant_id }
    }
}
