//! What the end-to-end tests stand on: a real authorization server that misbehaves on request, a
//! webhook receiver that checks signatures, and the person who clicks Approve.

#[cfg(feature = "failpoints")]
pub mod app;
mod loopback;
pub mod person;
pub mod receiver;
mod relay;
pub mod sandbox;
pub mod walk;

#[cfg(feature = "failpoints")]
pub use app::TestApp;
pub use person::Person;
pub use receiver::{Delivery, Receiver};
pub use relay::Relay;
pub use sandbox::{Sandbox, SandboxConfig};
