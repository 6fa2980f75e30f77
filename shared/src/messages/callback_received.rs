//! Sent by the API when a browser came back with a code; handled by the `connect` pool.

use serde::{Deserialize, Serialize};

use crate::ids::{ConnectId, WorkspaceId};

/// A connect is `authorized`: its sealed code waits to be exchanged.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CallbackReceived {
    /// Whose connect.
    pub workspace_id: WorkspaceId,
    /// Which connect.
    pub connect_id: ConnectId,
}
