//! One file for each resource: its types, its operations, and thin handlers.

pub(crate) mod accounts;
pub(crate) mod api_keys;
pub(crate) mod apps;
pub(crate) mod connects;
pub(crate) mod events;
pub(crate) mod health;
pub(crate) mod platforms;
pub(crate) mod profiles;
pub(crate) mod refresh_debt;
pub(crate) mod webhook_endpoints;
pub(crate) mod workspaces;
