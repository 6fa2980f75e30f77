//! What one tenant, producer or browser does costs the others nothing: each test has an attacker and a victim.

mod deep;
mod full_queues;
mod long_polls;
mod own_hosts;
mod raw_amqp;
mod receivers;
mod shared_clients;
mod slots;
mod slow_readers;
mod together;
mod unreadable;
