//! What one tenant, producer or browser does costs the others nothing: each test has an attacker and a victim.

mod deep;
mod raw_amqp;
mod unreadable;
