//! The command line. Each setting is a flag and an environment variable.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use latchkey_shared::boot::{DatabaseParts, EXIT_CODES, platforms_problems};
use latchkey_shared::config::{
    Check, CommonSettings, LogFormat, NoSettings, Problem, parse_seconds, read_keyring,
};
use latchkey_shared::keyring::{Keyring, SealError};
use secrecy::SecretString;

use crate::producers::ProducersCommand;

const CALLBACK_WAIT: Duration = Duration::from_secs(5);
const DB_CONNECTIONS: u32 = 16;
const RATE_LIMIT: u32 = 30_000;
const FAILURE_LIMIT: u32 = 600;
const MAX_CONNECTIONS: usize = 4096;
/// More than the browsers of a large office have open, and an eighth of all.
const MAX_CONNECTIONS_PER_ADDRESS: usize = 512;
/// Longer than proxies keep their connections: whoever closes first should be the proxy.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

const AFTER_HELP: &str = "`latchkey-api serve --help` tells the settings.";

/// Latchkey's HTTP API. Without a subcommand it serves.
#[derive(Debug, clap::Parser)]
#[command(name = "latchkey-api", version, after_help = AFTER_HELP)]
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
    #[command(after_help = EXIT_CODES)]
    Serve(ServeConfig),
    /// Bring the database's schema up to date and check the keyring
    Migrate {
        /// Which database, by its owner's name.
        #[command(flatten)]
        database: DatabaseSettings,
        /// A role that may then read and write rows, and nothing else: for `serve` and for workers
        #[arg(long, value_name = "ROLE")]
        grant_to: Option<String>,
    },
    /// Make an organisation, its first workspace and an owner's API key
    Bootstrap {
        /// Which database.
        #[command(flatten)]
        database: DatabaseSettings,
        /// What to make.
        #[command(flatten)]
        names: crate::Names,
    },
    /// Say which users of the broker may ask for connects, and by which API key
    #[command(subcommand)]
    Producers(ProducersCommand),
    /// Print what can be connected, and how
    Platforms(PlatformsSettings),
    /// Print the OpenAPI document
    Openapi,
    /// Print the AsyncAPI document
    Asyncapi,
}

impl Cli {
    /// Reads the command line and the environment; with no subcommand it is `serve`.
    ///
    /// # Errors
    /// All that is wrong with the settings.
    pub fn read(args: impl IntoIterator<Item = OsString>) -> Result<Self, NoSettings> {
        latchkey_shared::config::read(with_subcommand(args))
    }
}

fn with_subcommand(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut args: Vec<OsString> = args.into_iter().collect();
    let first = args.get(1).and_then(|arg| arg.to_str());
    let about_the_binary = matches!(first, Some("-h" | "--help" | "-V" | "--version"));
    if !about_the_binary && first.is_none_or(|arg| arg.starts_with('-')) {
        args.insert(args.len().min(1), "serve".into());
    }
    args
}

impl Check for Cli {
    fn problems(&self) -> Vec<Problem> {
        match &self.command {
            Subcommand::Serve(config) => config.problems(),
            Subcommand::Migrate { database, .. } | Subcommand::Bootstrap { database, .. } => {
                database.problems()
            }
            Subcommand::Producers(command) => command.database().problems(),
            Subcommand::Platforms(settings) => platforms_problems(&settings.platforms_file),
            Subcommand::Openapi | Subcommand::Asyncapi => Vec::new(),
        }
    }
}

/// Settings of the subcommands that need a database and its keys, and nothing else.
#[derive(Clone, Debug, clap::Args)]
pub struct DatabaseSettings {
    /// Required. PostgreSQL: postgres://user:password@host:port/database; add ?sslmode=verify-full for
    /// TLS
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: SecretString,

    /// A certificate authority of your own (PEM) that PostgreSQL is verified by, beside the system's
    /// [default: none]
    #[arg(long, env = "LATCHKEY_CA_FILE")]
    pub ca_file: Option<PathBuf>,

    /// Required, unless it is in a file. Key-encryption keys, id:base64key,…: the first seals, all open
    #[arg(long, env = "LATCHKEY_KEYRING", hide_env_values = true)]
    pub keyring: Option<SecretString>,

    /// The same from a file, one id:base64key a line [default: none]
    #[arg(long, env = "LATCHKEY_KEYRING_FILE")]
    pub keyring_file: Option<PathBuf>,

    /// What is logged: a level, or target=level,…
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

impl Check for DatabaseSettings {
    fn problems(&self) -> Vec<Problem> {
        let parts = DatabaseParts {
            url: &self.database_url,
            ca_file: self.ca_file.as_ref(),
            keyring: self.keyring.as_ref(),
            keyring_file: self.keyring_file.as_ref(),
            log: &self.log,
        };
        parts.problems()
    }
}

/// Settings of `platforms`: no server is asked.
#[derive(Clone, Debug, clap::Args)]
pub struct PlatformsSettings {
    /// Required. Credentials and endpoints of platforms (TOML)
    #[arg(long, env = "LATCHKEY_PLATFORMS_FILE")]
    pub platforms_file: PathBuf,
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

    /// Where /metrics, /healthz and /readyz are served to operators
    #[arg(long, env = "LATCHKEY_METRICS_LISTEN", default_value = "127.0.0.1:9464")]
    pub metrics_listen: Option<SocketAddr>,

    /// How many seconds a browser that comes back waits before it sees the progress page
    #[arg(long, env = "LATCHKEY_CALLBACK_WAIT", default_value = "5", value_name = "SECONDS", value_parser = parse_seconds)]
    pub callback_wait: Duration,

    /// How many connections to PostgreSQL at most
    #[arg(long, env = "LATCHKEY_DB_CONNECTIONS", default_value_t = DB_CONNECTIONS, value_parser = clap::value_parser!(u32).range(1..))]
    pub db_connections: u32,

    /// How many requests a minute each API key may send to this process; 0: no limit
    #[arg(long, env = "LATCHKEY_RATE_LIMIT", default_value_t = RATE_LIMIT, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub rate_limit: u32,

    /// How many requests a minute without a valid key each address may send to this process; 0: no limit
    #[arg(long, env = "LATCHKEY_FAILURE_LIMIT", default_value_t = FAILURE_LIMIT, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub failure_limit: u32,

    /// Proxies whose X-Forwarded-For is believed, as CIDR, comma-separated [default: none]
    #[arg(long, env = "LATCHKEY_TRUSTED_PROXIES", value_delimiter = ',')]
    pub trusted_proxies: Vec<IpNet>,

    /// How many connections of clients may be open at once
    #[arg(long, env = "LATCHKEY_MAX_CONNECTIONS", default_value_t = MAX_CONNECTIONS, value_parser = parse_connections)]
    pub max_connections: usize,

    /// How many of them from one address, or one IPv6 network of 64 bits; trusted proxies are not counted
    #[arg(long, env = "LATCHKEY_MAX_CONNECTIONS_PER_ADDRESS", default_value_t = MAX_CONNECTIONS_PER_ADDRESS, value_parser = parse_connections)]
    pub max_connections_per_address: usize,

    /// How many seconds a connection may wait for the head of its next request
    #[arg(long, env = "LATCHKEY_IDLE_TIMEOUT", default_value = "75", value_name = "SECONDS", value_parser = parse_seconds)]
    pub idle_timeout: Duration,

    /// How many seconds a client may take nothing of its answer before its connection is closed
    #[arg(long, env = "LATCHKEY_STALL_TIMEOUT", default_value = "30", value_name = "SECONDS", value_parser = parse_seconds)]
    pub stall_timeout: Duration,
}

impl ServeConfig {
    /// Defaults for a process that is started by another one, as tests do: any free port on
    /// loopback, URLs made from it where none is set, and no listener for operators.
    #[must_use]
    pub fn new(common: CommonSettings) -> Self {
        Self {
            common,
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            metrics_listen: None,
            callback_wait: CALLBACK_WAIT,
            db_connections: DB_CONNECTIONS,
            rate_limit: RATE_LIMIT,
            failure_limit: FAILURE_LIMIT,
            trusted_proxies: Vec::new(),
            max_connections: MAX_CONNECTIONS,
            max_connections_per_address: MAX_CONNECTIONS_PER_ADDRESS,
            idle_timeout: IDLE_TIMEOUT,
            stall_timeout: STALL_TIMEOUT,
        }
    }
}

impl Check for ServeConfig {
    fn problems(&self) -> Vec<Problem> {
        let mut problems = self.common.problems();
        if self.metrics_listen.is_some_and(|operators| meet(self.listen, operators)) {
            problems.push(Problem::between(
                &["LATCHKEY_LISTEN", "LATCHKEY_METRICS_LISTEN"],
                "are one address: give operators another port",
            ));
        }
        problems
    }
}

fn parse_connections(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(connections @ 1..=1_000_000) => Ok(connections),
        _ => Err("must be a whole number, 1 to 1000000".to_owned()),
    }
}

/// Whether of two listeners only one can be had. Port 0 is any free one.
fn meet(one: SocketAddr, other: SocketAddr) -> bool {
    let everywhere = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.port() != 0 && (everywhere || one.ip() == other.ip())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};
    use latchkey_shared::config::CONNECT_LIFETIME;

    use super::*;

    const SHARED: [&str; 3] = [
        "--database-url=postgres://u@h/d",
        "--amqp-url=amqp://h",
        "--platforms-file=platforms.toml",
    ];

    fn read(args: &[&str]) -> Cli {
        let args = ["latchkey-api"].iter().chain(args).map(OsString::from);
        Cli::parse_from(with_subcommand(args))
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
            assert_eq!(config.common.connect_lifetime, CONNECT_LIFETIME);
            assert_eq!(config.idle_timeout, IDLE_TIMEOUT);
            assert_eq!(config.stall_timeout, STALL_TIMEOUT);
        }
    }

    #[test]
    fn migrating_needs_the_database_alone() {
        let cli = read(&["migrate", "--database-url=postgres://u@h/d"]);
        assert!(matches!(cli.command, Subcommand::Migrate { .. }));
    }

    #[test]
    fn the_table_of_platforms_needs_the_platforms_file_alone() {
        let cli = read(&["platforms", "--platforms-file=platforms.toml"]);
        assert!(matches!(cli.command, Subcommand::Platforms(_)));
    }

    #[test]
    fn listeners_meet_on_one_port_of_one_address() {
        for (one, other, wanted) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "[::]:80", true),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
        ] {
            assert_eq!(meet(one.parse().unwrap(), other.parse().unwrap()), wanted, "{one} {other}");
        }
    }
}
