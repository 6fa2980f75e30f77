//! What Latchkey's API and workers must agree on: contracts, database, broker, platforms, keyring.
//!
//! From the ground up: clock, random, backoff, ids, failpoint, config, net guard, TLS, telemetry · the keyring,
//! and the database with it · messages, events, platforms, authorize, tokens · broker · work, replies, relay, release ·
//! code, refused, validate, body, redirect, operations · boot.

pub mod app_password;
pub mod authorize;
pub mod backlog;
pub mod backoff;
pub mod body;
pub mod boot;
pub mod broker;
pub mod candidates;
pub mod clock;
pub mod code;
pub mod config;
pub mod credentials;
pub mod db;
pub mod egress;
pub mod events;
pub mod failpoint;
pub mod ids;
pub mod keyring;
pub mod messages;
pub mod net_guard;
pub mod operations;
pub mod ops;
pub mod outbound;
pub mod platforms;
pub mod random;
pub mod redact;
pub mod redirect;
pub mod refused;
pub mod relay;
pub mod release;
pub mod replies;
pub mod shares;
pub mod telemetry;
pub mod texts;
pub mod timestamp;
pub mod tls;
pub mod tokens;
pub mod validate;
pub mod words;
pub mod work;
