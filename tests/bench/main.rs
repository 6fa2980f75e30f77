//! What things cost. `scripts/bench` runs this in a release build, on servers of its own, and writes the tables.

mod growth;
mod measure;

use std::env::args;

use anyhow::bail;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // Cargo adds a flag of its own.
    match args().skip(1).find(|argument| !argument.starts_with('-')).as_deref() {
        Some("growth") => growth::run().await,
        other => bail!("there is no benchmark {other:?}: see scripts/bench --help"),
    }
}
