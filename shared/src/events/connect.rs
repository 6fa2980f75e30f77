//! What events of connects tell. Never a state, a URL or a code.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::About;
use crate::ids::{AccountId, ConnectId, ProfileId};

/// A connect, as it was when it happened.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectData {
    /// Which connect.
    #[schema(value_type = String)]
    pub connect_id: ConnectId,
    /// Which platform.
    pub platform: String,
    /// The customer's end user, if one was named.
    #[schema(value_type = Option<String>)]
    pub profile_id: Option<ProfileId>,
    /// The account that is to be reconnected, if one was named.
    #[schema(value_type = Option<String>)]
    pub account_id: Option<AccountId>,
    /// Why it ended, if not well: a stable code such as `ACCESS_DENIED`.
    pub reason: Option<String>,
    /// What the platform said of it, without secrets.
    #[schema(value_type = Option<Object>)]
    pub error: Option<Value>,
    /// Whatever the application gave with the request.
    #[schema(value_type = Object)]
    pub metadata: Value,
}

impl About for ConnectData {
    fn account_id(&self) -> Option<&AccountId> {
        None
    }
}
