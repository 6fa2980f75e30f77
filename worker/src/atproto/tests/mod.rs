//! The AT Protocol against real servers: HTTP that answers what it is told, and a small DNS.

mod resolve;
mod servers;
mod session;
