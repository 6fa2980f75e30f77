//! Sent by the sweep of due checks; handled by the `refresh` pool.

use serde::{Deserialize, Serialize};

use crate::ids::{AccountId, WorkspaceId};

/// It is time to ask whether an account's own token still works.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CheckDue {
    /// Whose account.
    pub workspace_id: WorkspaceId,
    /// Which account.
    pub account_id: AccountId,
}
