//! The worker's process.

use std::process::ExitCode;

use clap::Parser as _;
use latchkey_shared::clock::Clock;
use latchkey_shared::telemetry;
use latchkey_worker::settings::WorkerSettings;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> ExitCode {
    match run(&WorkerSettings::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("latchkey-worker: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(settings: &WorkerSettings) -> anyhow::Result<()> {
    telemetry::init_logs(&settings.common.log, settings.common.log_format)?;
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let running = latchkey_worker::start(settings, Clock::of_process()).await?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!(drain_seconds = settings.drain.as_secs(), "stopping: started calls may end");
    anyhow::ensure!(running.stop().await, "some calls did not end within the drain time");
    tracing::info!("stopped");
    Ok(())
}
