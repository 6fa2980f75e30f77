//! RabbitMQ: what nudges.
//!
//! One connection to publish and one to consume in each process, each rebuilt from nothing by its
//! supervisor when it breaks. A queue that strangers can write to is consumed on a connection of its own:
//! what they write may break it. Works with RabbitMQ 3.10 to 4.x.

pub mod connection;
pub mod consumer;
pub mod publisher;
mod server;
pub mod topology;

pub use connection::{BrokerState, Supervisor};
pub use publisher::{Message, PublishError, Publisher};
pub use server::Server;
pub use topology::Topology;
