//! `latchkey-sandbox`: serves the sandbox platform, or walks the main job against it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::{Args, Parser, Subcommand};
use latchkey_tests::app::{WORN, sections};
use latchkey_tests::sandbox::{CONTROL_HELP, Rotation};
use latchkey_tests::walk::{WalkOptions, walk};
use latchkey_tests::{Sandbox, SandboxConfig};
use reqwest::Url;
use tokio::signal::unix::{SignalKind, signal};

/// Latchkey's sandbox platform, for development and tests.
#[derive(Parser)]
#[command(name = "latchkey-sandbox", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the sandbox until it is told to stop.
    Serve(ServeArgs),
    /// Print the sections of a platforms file that have a sandbox stand in for every vendor.
    Platforms(PlatformsArgs),
    /// Walk the main job once: connect, two refreshes, disconnect, revocation.
    Walk(WalkArgs),
}

#[derive(Args)]
#[command(after_long_help = CONTROL_HELP)]
struct ServeArgs {
    /// Where to listen; port 0 takes any free one.
    #[arg(long, env = "LATCHKEY_SANDBOX_LISTEN", default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// Allow an address that other machines can reach, as in a container: whoever reaches the sandbox can consent and inject faults.
    #[arg(long, env = "LATCHKEY_SANDBOX_EXPOSE")]
    expose: bool,
    /// The client's id [default: latchkey-sandbox-client].
    #[arg(long, env = "LATCHKEY_SANDBOX_CLIENT_ID")]
    client_id: Option<String>,
    /// The client's secret [default: a well-known one for development].
    #[arg(long, env = "LATCHKEY_SANDBOX_CLIENT_SECRET", hide_env_values = true)]
    client_secret: Option<String>,
    /// How long access tokens live.
    #[arg(long, env = "LATCHKEY_SANDBOX_ACCESS_LIFETIME_SECS", default_value_t = 3600)]
    access_lifetime_secs: u64,
    /// How long a spent refresh token is answered with the same new pair; 0 never.
    #[arg(long, env = "LATCHKEY_SANDBOX_GRACE_SECS", default_value_t = 0)]
    grace_secs: u64,
    /// A file to which every effect is appended, one JSON object a line.
    #[arg(long, env = "LATCHKEY_SANDBOX_LEDGER")]
    ledger: Option<PathBuf>,
}

#[derive(Args)]
struct PlatformsArgs {
    /// The sandbox. Its client's secret is read from the variable `LATCHKEY_SANDBOX_CLIENT_SECRET`.
    #[arg(long, env = "LATCHKEY_SANDBOX_URL")]
    sandbox_url: Url,
}

impl PlatformsArgs {
    fn print(&self) -> anyhow::Result<()> {
        let names = self.sandbox_url.socket_addrs(|| None).context("the sandbox has no address")?;
        let names = names.first().context("the sandbox has no address")?.to_string();
        let all = sections(&WORN, "{ env = \"LATCHKEY_SANDBOX_CLIENT_SECRET\" }", "");
        let url = self.sandbox_url.as_str().trim_end_matches('/');
        print!("{}", all.replace("{sandbox}", url).replace("{dns}", &names));
        Ok(())
    }
}

#[derive(Args)]
struct WalkArgs {
    /// Latchkey's API.
    #[arg(long, env = "LATCHKEY_URL")]
    url: String,
    /// An API key with role admin.
    #[arg(long, env = "LATCHKEY_API_KEY", hide_env_values = true)]
    api_key: String,
    /// The workspace to connect an account in.
    #[arg(long, env = "LATCHKEY_WORKSPACE")]
    workspace: String,
    /// The sandbox that Latchkey knows as platform SANDBOX.
    #[arg(long, env = "LATCHKEY_SANDBOX_URL")]
    sandbox_url: String,
    /// How long the whole walk may take.
    #[arg(long, default_value_t = 60)]
    timeout_secs: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(args) => serve(args).await,
        Command::Platforms(args) => args.print(),
        Command::Walk(args) => walk(args.into()).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("latchkey-sandbox: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: ServeArgs) -> anyhow::Result<()> {
    let mut terminated = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let sandbox = Sandbox::start(args.try_into()?).await?;
    println!("The sandbox listens on {}", sandbox.url());
    tokio::select! {
        _ = terminated.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot wait for ctrl-c")?,
    }
    sandbox.stop().await;
    Ok(())
}

impl TryFrom<ServeArgs> for SandboxConfig {
    type Error = anyhow::Error;

    fn try_from(args: ServeArgs) -> anyhow::Result<Self> {
        ensure!(
            args.listen.ip().is_loopback() || args.expose,
            "{} can be reached from other machines: say --expose if that is meant",
            args.listen.ip()
        );
        let default = Self::default();
        Ok(Self {
            listen: args.listen,
            client_id: args.client_id.unwrap_or(default.client_id),
            client_secret: args.client_secret.unwrap_or(default.client_secret),
            access_lifetime: Duration::from_secs(args.access_lifetime_secs),
            rotation: match args.grace_secs {
                0 => Rotation::Strict,
                secs => Rotation::Grace(Duration::from_secs(secs)),
            },
            ledger_file: args.ledger,
            ..Self::default()
        })
    }
}

impl From<WalkArgs> for WalkOptions {
    fn from(args: WalkArgs) -> Self {
        Self {
            latchkey_url: args.url.trim_end_matches('/').to_owned(),
            api_key: args.api_key,
            workspace: args.workspace,
            sandbox_url: args.sandbox_url.trim_end_matches('/').to_owned(),
            timeout: Duration::from_secs(args.timeout_secs),
        }
    }
}
