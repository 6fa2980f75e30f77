//! What Latchkey's API and workers must agree on: contracts, database, broker, platforms, keyring.
//!
//! A module uses only modules named before it:
//! ids, clock, random, backoff, config, keyring, net guard, telemetry · messages, events, platforms,
//! authorize, tokens · database · broker · work, relay.

pub mod authorize;
pub mod backoff;
pub mod broker;
pub mod clock;
pub mod config;
pub mod credentials;
pub mod db;
pub mod events;
pub mod ids;
pub mod keyring;
pub mod messages;
pub mod net_guard;
pub mod ops;
pub mod platforms;
pub mod random;
pub mod relay;
pub mod telemetry;
pub mod tokens;
pub mod work;
