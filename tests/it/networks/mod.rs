//! Networks, servers and poolers as they are in the field.

mod horizon;
mod poolers;
mod sessions;
mod silent;
