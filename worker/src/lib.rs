//! Latchkey's workers: messages, sweeps, calls to platforms and webhook receivers.

pub mod atproto;
mod brake;
pub mod context;
mod deadline;
mod executor;
pub mod handlers;
mod health;
pub mod held;
pub mod lanes;
pub mod liveness;
mod oauth;
mod outcome;
pub mod permits;
mod readable;
mod receipt;
pub mod requests;
mod runtime;
pub mod settings;
mod signature;
pub mod sweeps;
pub mod threads;

pub use outcome::{Failure, Outcome};
pub use runtime::{Running, start};
