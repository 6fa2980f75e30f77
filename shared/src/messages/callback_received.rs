//! Sent by the API when a browser came back with a code, when somebody gave an app password, and when
//! somebody has chosen what to connect; handled by the `connect` pool.

use serde::{Deserialize, Serialize};

use crate::ids::{ConnectId, ConnectKey, WorkspaceId};

/// A connect waits for a worker: `authorized`, or `selecting` with a selection.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CallbackReceived {
    /// Whose connect.
    pub workspace_id: WorkspaceId,
    /// Which connect.
    pub connect_id: ConnectId,
}

impl CallbackReceived {
    /// Names the connect.
    #[must_use]
    pub fn key(&self) -> ConnectKey<'_> {
        ConnectKey { workspace_id: &self.workspace_id, id: &self.connect_id }
    }
}
