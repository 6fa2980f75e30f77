//! Latchkey's HTTP door: accepts, validates, commits, publishes. It calls no platform: that is the
//! workers' part.

mod auth;
mod backlog;
mod bootstrap;
mod browser_headers;
mod budget;
mod client_address;
mod code;
mod extract;
mod idempotency;
mod keyed;
mod listener;
mod nudge;
mod openapi;
mod pagination;
mod problem;
mod readiness;
mod redirect;
mod release;
mod request;
mod router;
mod routes;
mod serve;
mod settings;
mod state;
mod timestamp;
mod validate;
mod web;

pub use bootstrap::{Bootstrapped, Names, bootstrap};
pub use code::Code;
pub use openapi::document;
pub use serve::{Running, start};
pub use settings::{Cli, DatabaseSettings, ServeConfig, Subcommand};
