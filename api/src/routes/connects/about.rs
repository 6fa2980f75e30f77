//! What events say of a connect.

use latchkey_shared::db::connects::Connect;
use latchkey_shared::events::{EventType, NewEvent};
use serde_json::json;

/// An event that says no more of a connect than which it is. Never state or URL.
pub(crate) fn about(kind: EventType, connect: &Connect) -> NewEvent {
    let mut data = json!({ "connectId": connect.id, "platform": connect.platform });
    if let Some(profile) = &connect.profile_id {
        data["profileId"] = json!(profile);
    }
    if connect
        .metadata
        .as_object()
        .is_some_and(|metadata| !metadata.is_empty())
    {
        data["metadata"] = connect.metadata.clone();
    }
    NewEvent {
        workspace_id: connect.workspace_id.clone(),
        kind,
        account_id: None,
        data,
    }
}
