//! Calls to platforms: half a flow each, `&Platform` in, a typed result out.
//!
//! Nothing here touches the database, and nothing here tries twice.

#[cfg(test)]
mod answers;
pub mod app_password;
mod ask;
mod class;
#[cfg(test)]
mod doubles;
mod errors;
pub mod exchange;
mod http;
pub mod identity;
pub mod inspect;
mod known_words;
pub mod listing;
pub mod rate_limit;
pub mod refresh;
pub mod refusal;
pub mod revoke;
pub mod schedule;
pub(crate) mod secrets;
mod token_client;
mod wire;

pub use ask::{AskError, busy};
pub use http::{CallError, CallTimeouts, PlatformHttp};
pub use token_client::Answer;
