//! Sent in the transaction that releases a grant; handled by the `revocation` pool.

use serde::{Deserialize, Serialize};

use crate::ids::{GrantId, WorkspaceId};

/// A grant is `releasing`: the platform is to be told, and the tokens destroyed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RevocationDue {
    /// Whose grant.
    pub workspace_id: WorkspaceId,
    /// Which grant.
    pub grant_id: GrantId,
}
