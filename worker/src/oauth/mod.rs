//! Calls to platforms: half a flow each, `&Platform` in, a typed result out.
//!
//! Nothing here touches the database, and nothing here tries twice.

pub mod exchange;
mod http;
pub mod identity;
pub mod refresh;
pub mod refusal;
pub mod revoke;
pub mod schedule;
mod token_client;

pub use http::{CallError, CallTimeouts, PlatformHttp};
pub use token_client::Answer;
