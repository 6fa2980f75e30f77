//! Latchkey's HTTP door: accepts, validates, commits, publishes. It calls no platform: that is the
//! workers' part.

mod asyncapi;
mod auth;
mod bootstrap;
mod browser_headers;
mod budget;
mod client_address;
mod compat;
mod extract;
mod horizon_watch;
mod idempotency;
mod keyed;
mod listener;
mod log_watch;
mod nudge;
mod openapi;
mod pagination;
mod platform_table;
mod problem;
mod producers;
mod readiness;
mod reference;
mod request;
mod router;
mod routes;
mod serve;
mod settings;
mod state;
mod waiting;
mod web;

pub(crate) use latchkey_shared::{code, redirect, validate};

pub use asyncapi::document as asyncapi_document;
pub use bootstrap::{Bootstrapped, Names, bootstrap};
pub use code::Code;
pub use compat::documents;
pub use openapi::document;
pub use platform_table::platform_table;
pub use producers::ProducersCommand;
pub use serve::{Running, start};
pub use settings::{Cli, DatabaseSettings, PlatformsSettings, ServeConfig, Subcommand};
