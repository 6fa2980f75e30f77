//! The worker's process.

use std::process::ExitCode;

use latchkey_shared::clock::Clock;
use latchkey_shared::{boot, config, telemetry};
use latchkey_worker::Running;
use latchkey_worker::settings::WorkerSettings;
use latchkey_worker::threads;

const BINARY: &str = "latchkey-worker";

fn main() -> ExitCode {
    threads::deepen();
    begin()
}

#[tokio::main]
async fn begin() -> ExitCode {
    match config::read(std::env::args_os().collect()) {
        Ok(settings) => boot::ended(BINARY, run(&settings).await),
        Err(why) => boot::refused(BINARY, why),
    }
}

async fn run(settings: &WorkerSettings) -> anyhow::Result<()> {
    telemetry::init_logs(&settings.common.log, settings.common.log_format)?;
    boot::run(latchkey_worker::start(settings, Clock::of_process()), Running::stop).await
}
