//! Latchkey's workers: messages, sweeps, calls to platforms and webhook receivers.

pub mod atproto;
pub mod context;
mod deadline;
mod executor;
pub mod handlers;
pub mod lanes;
mod oauth;
mod outcome;
mod receipt;
pub mod requests;
mod runtime;
pub mod settings;
mod signature;
pub mod sweeps;

pub use outcome::{Failure, Outcome};
pub use runtime::{Running, start};
