//! What events tell that concern no account: of platforms, of requests, and of webhook endpoints.

use serde::Serialize;
use utoipa::ToSchema;

use super::About;
use crate::code::Code;
use crate::ids::{AccountId, AppId, EndpointId};
use crate::timestamp::Timestamp;

/// A platform that is in trouble, or refuses us.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlatformDegraded {
    /// Which platform.
    pub platform: String,
    /// Through which of the customer's apps; null: through the operator's.
    #[schema(value_type = Option<String>)]
    pub app_id: Option<AppId>,
    /// What most of the failures were: `http_503`, `timeout`, `invalid_grant`, …
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

/// A platform that answers again.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlatformRecovered {
    /// Which platform.
    pub platform: String,
    /// Through which of the customer's apps; null: through the operator's.
    #[schema(value_type = Option<String>)]
    pub app_id: Option<AppId>,
    /// Since when it had been degraded.
    pub degraded_since: Timestamp,
}

/// A webhook endpoint to which nothing is delivered any more. After it is mended and enabled, a replay
/// brings what it missed.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookEndpointDisabled {
    /// Which endpoint.
    #[schema(value_type = String)]
    pub endpoint_id: EndpointId,
    /// Where it is.
    pub url: String,
    /// `gone`: it answered 410. `failing`: for five days nothing but failure.
    pub reason: String,
    /// Since when every delivery failed; null where the first failure was enough.
    pub failing_since: Option<Timestamp>,
}

/// A producer's request that was refused and could not be answered: it named no queue for the answer, or none that
/// is its own.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestRejectedData {
    /// The request's `message_id`, if it had one.
    pub message_id: Option<String>,
    /// What it asked for: its type.
    pub request: String,
    /// The producer's user of the broker, if the request had a `user_id`.
    pub producer: Option<String>,
    /// What went wrong, for machines: a code of the HTTP API, or one for producers alone.
    pub code: Code,
    /// What to do about it.
    pub message: String,
}

macro_rules! about_no_account {
    ($($name:ty),+) => {$(
        impl About for $name {
            fn account_id(&self) -> Option<&AccountId> {
                None
            }
        }
    )+};
}

about_no_account!(
    PlatformDegraded,
    PlatformRecovered,
    RequestRejectedData,
    WebhookEndpointDisabled
);
