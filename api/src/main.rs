//! The binary `latchkey-api`.

use std::process::ExitCode;

use anyhow::Context as _;
use latchkey_api::{
    Cli, DatabaseSettings, Names, PlatformsSettings, ProducersCommand, Running, ServeConfig,
    Subcommand,
};
use latchkey_shared::clock::Clock;
use latchkey_shared::db::{Db, Server, migrate, role};
use latchkey_shared::keyring::KeyStore;
use latchkey_shared::net_guard::Outbound;
use latchkey_shared::platforms::Platforms;
use latchkey_shared::{boot, telemetry};

const BINARY: &str = "latchkey-api";

#[tokio::main]
async fn main() -> ExitCode {
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(why) => return boot::refused(BINARY, why),
    };
    let done = match cli.command {
        Subcommand::Serve(config) => serve(config).await,
        Subcommand::Migrate { database, grant_to } => {
            bring_up_to_date(&database, grant_to.as_deref()).await
        }
        Subcommand::Bootstrap { database, names } => bootstrap(&database, &names).await,
        Subcommand::Producers(command) => producers(&command).await,
        Subcommand::Platforms(settings) => print_platforms(&settings),
        Subcommand::Openapi => print_document(),
        Subcommand::Asyncapi => print_messages(),
    };
    boot::ended(BINARY, done)
}

async fn serve(config: ServeConfig) -> anyhow::Result<()> {
    telemetry::init_logs(&config.common.log, config.common.log_format)?;
    boot::run(latchkey_api::start(config, Clock::of_process()), Running::stop).await
}

async fn bring_up_to_date(
    settings: &DatabaseSettings,
    grant_to: Option<&str>,
) -> anyhow::Result<()> {
    telemetry::init_logs(&settings.log, settings.log_format)?;
    let keys = KeyStore::new(settings.read_keyring()?);
    let server = server(settings)?;
    let ran = migrate::run(&server).await?;
    for migration in &ran {
        println!("ran {migration}");
    }
    if ran.is_empty() {
        println!("the schema was up to date");
    }
    if let Some(role) = grant_to {
        role::grant(&server, role).await?;
        println!("`{role}` may read and write rows");
    }
    boot::verify(&Db::new(&server, 1, Clock::of_process()).with_keys(keys)).await?;
    println!("the keyring fits the database");
    Ok(())
}

async fn bootstrap(settings: &DatabaseSettings, names: &Names) -> anyhow::Result<()> {
    telemetry::init_logs(&settings.log, settings.log_format)?;
    let keys = KeyStore::new(settings.read_keyring()?);
    let db = Db::new(&server(settings)?, 1, Clock::of_process()).with_keys(keys);
    let made = latchkey_api::bootstrap(&db, names).await.context("nothing was made")?;
    println!("{}", serde_json::to_string(&made)?);
    Ok(())
}

async fn producers(command: &ProducersCommand) -> anyhow::Result<()> {
    let settings = command.database();
    telemetry::init_logs(&settings.log, settings.log_format)?;
    let db = Db::new(&server(settings)?, 1, Clock::of_process());
    println!("{}", command.run(&db).await?);
    Ok(())
}

fn server(settings: &DatabaseSettings) -> anyhow::Result<Server> {
    boot::database(&settings.database_url, settings.ca_file.as_deref())
}

fn print_platforms(settings: &PlatformsSettings) -> anyhow::Result<()> {
    let platforms = Platforms::load(&settings.platforms_file, &Outbound::default())?;
    print!("{}", latchkey_api::platform_table(&platforms));
    Ok(())
}

fn print_messages() -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(&latchkey_api::asyncapi_document())?);
    Ok(())
}

fn print_document() -> anyhow::Result<()> {
    println!("{}", latchkey_api::document().to_pretty_json()?);
    Ok(())
}
