//! The binary `latchkey-api`.

use std::process::ExitCode;

use anyhow::Context as _;
use latchkey_api::{Cli, DatabaseSettings, Names, ServeConfig, Subcommand};
use latchkey_shared::clock::Clock;
use latchkey_shared::db::{Db, migrate};
use latchkey_shared::keyring::Vault;
use latchkey_shared::telemetry;
use secrecy::ExposeSecret as _;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Cli::read(std::env::args_os()).command {
        Subcommand::Serve(config) => serve(config).await,
        Subcommand::Migrate(settings) => bring_up_to_date(&settings).await,
        Subcommand::Bootstrap { database, names } => bootstrap(&database, &names).await,
        Subcommand::Openapi => print_document(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("latchkey-api: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(config: ServeConfig) -> anyhow::Result<()> {
    telemetry::init_logs(&config.common.log, config.common.log_format)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let running = latchkey_api::start(config, Clock::of_process()).await?;
    tokio::select! {
        _ = terminate.recv() => tracing::info!("asked to stop"),
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    running.stop().await;
    Ok(())
}

async fn bring_up_to_date(settings: &DatabaseSettings) -> anyhow::Result<()> {
    telemetry::init_logs(&settings.log, settings.log_format)?;
    let vault = Vault::new(settings.read_keyring()?);
    let clock = Clock::of_process();
    let ran = migrate::run(settings.database_url.expose_secret(), &clock).await?;
    for migration in &ran {
        println!("ran {migration}");
    }
    if ran.is_empty() {
        println!("the schema was up to date");
    }
    let db = open(settings)?;
    let mut conn = db.conn().await?;
    vault.check(&mut conn, &clock).await?;
    println!("the keyring fits the database");
    Ok(())
}

async fn bootstrap(settings: &DatabaseSettings, names: &Names) -> anyhow::Result<()> {
    telemetry::init_logs(&settings.log, settings.log_format)?;
    let vault = Vault::new(settings.read_keyring()?);
    let made = latchkey_api::bootstrap(&open(settings)?, &vault, names)
        .await
        .context("nothing was made")?;
    println!("{}", serde_json::to_string(&made)?);
    Ok(())
}

fn open(settings: &DatabaseSettings) -> anyhow::Result<Db> {
    let url = settings.database_url.expose_secret();
    Ok(Db::new(url, 1, Clock::of_process())?)
}

fn print_document() -> anyhow::Result<()> {
    println!("{}", latchkey_api::document().to_pretty_json()?);
    Ok(())
}
