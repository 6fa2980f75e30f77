//! Where the examples find Latchkey: in the environment, or in what `scripts/run` wrote to `.run/env`.
//!
//! An application has settings of its own: this file is the one not to copy.

use anyhow::Context as _;

const RUN_ENV: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.run/env");

/// A setting, or a word on what to do.
pub(crate) fn read(name: &str) -> anyhow::Result<String> {
    of_the_environment(name)
        .or_else(|| of_the_checkout(name))
        .or_else(|| (name == "LATCHKEY_BROKER_PREFIX").then(|| "latchkey".to_owned()))
        .with_context(|| {
            format!("{name} is not set: set it, or start Latchkey with ./scripts/run --detach")
        })
}

#[expect(
    clippy::disallowed_methods,
    reason = "Latchkey's own code reads its environment elsewhere"
)]
fn of_the_environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A line such as `export LATCHKEY_URL=http://127.0.0.1:8080`, quoted with backslashes.
fn of_the_checkout(name: &str) -> Option<String> {
    let text = std::fs::read_to_string(RUN_ENV).ok()?;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix("export ")?.strip_prefix(name)?.strip_prefix('='))?;
    Some(value.replace('\\', ""))
}
