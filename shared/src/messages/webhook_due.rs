//! Sent after a commit that wrote an event with deliveries, and by the sweep of due deliveries;
//! handled by the `webhook` pool.

use serde::{Deserialize, Serialize};

use crate::ids::{DeliveryId, OrganisationId};

/// A delivery is due.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WebhookDue {
    /// Whose delivery.
    pub organisation_id: OrganisationId,
    /// Which delivery.
    pub delivery_id: DeliveryId,
}
