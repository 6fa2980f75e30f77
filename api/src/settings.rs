//! The command line. Each setting is a flag and an environment variable.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser as _;
use ipnet::IpNet;
use latchkey_shared::config::{CommonSettings, LogFormat, parse_public_url, read_keyring};
use latchkey_shared::keyring::{Keyring, SealError};
use secrecy::SecretString;
use url::Url;

const CALLBACK_WAIT: Duration = Duration::from_secs(5);
const CONNECT_LIFETIME: Duration = Duration::from_secs(600);
const DB_CONNECTIONS: u32 = 16;
const OUTBOX_MAX: i64 = 100_000;
const MAX_OPEN_CONNECTS: i64 = 10_000;
const RATE_LIMIT: u32 = 30_000;
const FAILURE_LIMIT: u32 = 600;
const MAX_CONNECTIONS: usize = 4096;
/// Longer than proxies keep their connections: whoever closes first should be the proxy.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// Latchkey's HTTP API. Without a subcommand it serves.
#[derive(Debug, clap::Parser)]
#[command(name = "latchkey-api", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Subcommand,
}

/// What the binary can do.
#[derive(Debug, clap::Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one, for as long as the process lives")]
pub enum Subcommand {
    /// Serve the API
    Serve(ServeConfig),
    /// Bring the database's schema up to date and check the keyring
    Migrate(DatabaseSettings),
    /// Make an organisation, its first workspace and an owner's API key
    Bootstrap {
        /// Which database.
        #[command(flatten)]
        database: DatabaseSettings,
        /// What to make.
        #[command(flatten)]
        names: crate::Names,
    },
    /// Print the OpenAPI document
    Openapi,
}

impl Cli {
    /// Reads the command line; with no subcommand it is `serve`. Ends the process when it is wrong.
    pub fn read(args: impl IntoIterator<Item = OsString>) -> Self {
        let mut args: Vec<OsString> = args.into_iter().collect();
        let first = args.get(1).and_then(|arg| arg.to_str());
        let about_the_binary = matches!(first, Some("-h" | "--help" | "-V" | "--version"));
        if !about_the_binary && first.is_none_or(|arg| arg.starts_with('-')) {
            args.insert(args.len().min(1), "serve".into());
        }
        Self::parse_from(args)
    }
}

/// Settings of the subcommands that need a database and its keys, and nothing else.
#[derive(Clone, Debug, clap::Args)]
pub struct DatabaseSettings {
    /// PostgreSQL: `postgres://user:password@host:port/database`
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: SecretString,

    /// Key-encryption keys, `id:base64key,…`: the first seals, all open
    #[arg(long, env = "LATCHKEY_KEYRING", hide_env_values = true)]
    pub keyring: Option<SecretString>,

    /// The same from a file, one `id:base64key` a line
    #[arg(long, env = "LATCHKEY_KEYRING_FILE", conflicts_with = "keyring")]
    pub keyring_file: Option<PathBuf>,

    /// What is logged: a level, or `target=level,…`
    #[arg(long, env = "LATCHKEY_LOG", default_value = "info")]
    pub log: String,

    /// How it is logged
    #[arg(long, env = "LATCHKEY_LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

impl DatabaseSettings {
    /// Reads the keyring from wherever it is.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn read_keyring(&self) -> Result<Keyring, SealError> {
        read_keyring(self.keyring.as_ref(), self.keyring_file.as_deref())
    }
}

/// Settings of `serve`.
#[derive(Clone, Debug, clap::Args)]
pub struct ServeConfig {
    /// What the API shares with the workers.
    #[command(flatten)]
    pub common: CommonSettings,

    /// Where the API listens
    #[arg(long, env = "LATCHKEY_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,

    /// Where `/metrics`, `/healthz` and `/readyz` are served to operators
    #[arg(long, env = "LATCHKEY_METRICS_LISTEN", default_value = "127.0.0.1:9464")]
    pub metrics_listen: Option<SocketAddr>,

    /// The address that browsers and platforms reach the API by: makes every URL
    #[arg(long, env = "LATCHKEY_PUBLIC_URL", default_value = "http://127.0.0.1:8080", value_parser = parse_public_url)]
    pub public_url: Option<Url>,

    /// How many seconds a browser that comes back waits before it sees the progress page
    #[arg(long, env = "LATCHKEY_CALLBACK_WAIT", default_value = "5", value_name = "SECONDS", value_parser = parse_seconds)]
    pub callback_wait: Duration,

    /// How many seconds a person has to finish a connect
    #[arg(long, env = "LATCHKEY_CONNECT_LIFETIME", default_value = "600", value_name = "SECONDS", value_parser = parse_seconds)]
    pub connect_lifetime: Duration,

    /// How many connections to PostgreSQL at most
    #[arg(long, env = "LATCHKEY_DB_CONNECTIONS", default_value_t = DB_CONNECTIONS, value_parser = clap::value_parser!(u32).range(1..))]
    pub db_connections: u32,

    /// How many messages may wait in the outbox before `/readyz` says no and no POST is taken
    #[arg(long, env = "LATCHKEY_OUTBOX_MAX", default_value_t = OUTBOX_MAX, value_parser = clap::value_parser!(i64).range(1..))]
    pub outbox_max: i64,

    /// How many connects a workspace may have open at once
    #[arg(long, env = "LATCHKEY_MAX_OPEN_CONNECTS", default_value_t = MAX_OPEN_CONNECTS, value_parser = clap::value_parser!(i64).range(1..))]
    pub max_open_connects: i64,

    /// How many requests a minute each API key may send to this process; 0: no limit
    #[arg(long, env = "LATCHKEY_RATE_LIMIT", default_value_t = RATE_LIMIT, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub rate_limit: u32,

    /// How many requests a minute without a valid key each address may send to this process; 0: no limit
    #[arg(long, env = "LATCHKEY_FAILURE_LIMIT", default_value_t = FAILURE_LIMIT, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub failure_limit: u32,

    /// Proxies whose `X-Forwarded-For` is believed, as CIDR, comma-separated
    #[arg(long, env = "LATCHKEY_TRUSTED_PROXIES", value_delimiter = ',')]
    pub trusted_proxies: Vec<IpNet>,

    /// How many connections of clients may be open at once
    #[arg(long, env = "LATCHKEY_MAX_CONNECTIONS", default_value_t = MAX_CONNECTIONS, value_parser = parse_connections)]
    pub max_connections: usize,

    /// How many seconds a connection may wait for the head of its next request
    #[arg(long, env = "LATCHKEY_IDLE_TIMEOUT", default_value = "75", value_name = "SECONDS", value_parser = parse_seconds)]
    pub idle_timeout: Duration,
}

impl ServeConfig {
    /// Defaults for a process that is started by another one, as tests do: any free port on
    /// loopback, URLs made from it, and no listener for operators.
    #[must_use]
    pub fn new(common: CommonSettings) -> Self {
        Self {
            common,
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            metrics_listen: None,
            public_url: None,
            callback_wait: CALLBACK_WAIT,
            connect_lifetime: CONNECT_LIFETIME,
            db_connections: DB_CONNECTIONS,
            outbox_max: OUTBOX_MAX,
            max_open_connects: MAX_OPEN_CONNECTS,
            rate_limit: RATE_LIMIT,
            failure_limit: FAILURE_LIMIT,
            trusted_proxies: Vec::new(),
            max_connections: MAX_CONNECTIONS,
            idle_timeout: IDLE_TIMEOUT,
        }
    }
}

/// No wait of ours is longer than a day.
const MAX_SECONDS: u64 = 86_400;

fn parse_seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds @ 1..=MAX_SECONDS) => Ok(Duration::from_secs(seconds)),
        _ => Err(format!("must be a whole number of seconds, 1 to {MAX_SECONDS}")),
    }
}

fn parse_connections(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(connections @ 1..=1_000_000) => Ok(connections),
        _ => Err("must be a whole number, 1 to 1000000".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    const SHARED: [&str; 3] = [
        "--database-url=postgres://u@h/d",
        "--amqp-url=amqp://h",
        "--platforms-file=platforms.toml",
    ];

    fn read(args: &[&str]) -> Cli {
        let args = ["latchkey-api"].iter().chain(args).map(OsString::from);
        Cli::read(args)
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_a_subcommand_it_serves() {
        for args in [SHARED.to_vec(), [&["serve"][..], &SHARED].concat()] {
            let Subcommand::Serve(config) = read(&args).command else {
                panic!("another subcommand");
            };
            assert_eq!(config.callback_wait, CALLBACK_WAIT);
            assert_eq!(config.connect_lifetime, CONNECT_LIFETIME);
            assert_eq!(config.idle_timeout, IDLE_TIMEOUT);
        }
    }

    #[test]
    fn migrating_needs_the_database_alone() {
        let cli = read(&["migrate", "--database-url=postgres://u@h/d"]);
        assert!(matches!(cli.command, Subcommand::Migrate(_)));
    }
}
