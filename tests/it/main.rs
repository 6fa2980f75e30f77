//! The tests as stories: each file one subject, each test named for what it proves.

mod bad_answers;
mod bad_input;
mod broker;
mod callback;
mod crash;
mod dead_letters;
mod docs;
mod generic;
mod idempotency;
mod keyring;
mod limits;
mod main_job;
mod migrations;
mod no_secrets;
mod outages;
mod poison;
mod refresh_failures;
mod refresh_race;
mod revocation;
mod sweeps;
mod tenants;
mod transactions;
mod twice;
mod webhooks;
