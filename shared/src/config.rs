//! Settings that the API and the workers share. The one place that reads the environment.

mod command_line;

pub use command_line::{Check, NoSettings, Problem, read};

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::Url;

use crate::keyring::{Keyring, SealError};
use crate::net_guard::{Ports, is_this_machine};

/// How long a person has to finish a connect, unless the operator says otherwise.
pub const CONNECT_LIFETIME: Duration = Duration::from_secs(600);
/// How many connects a workspace may have open, unless the operator says otherwise.
pub const MAX_OPEN_CONNECTS: i64 = 10_000;
/// How many messages may wait, unless the operator says otherwise.
pub const OUTBOX_MAX: i64 = 100_000;

/// Settings of every process. Each is a flag and an environment variable.
#[derive(Clone, Debug, clap::Args)]
pub struct CommonSettings {
    /// Required. PostgreSQL: postgres://user:password@host:port/database; add ?sslmode=verify-full for
    /// TLS
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: SecretString,

    /// Required. RabbitMQ: amqp://user:password@host:port/vhost, or amqps:// for TLS
    #[arg(long, env = "AMQP_URL", hide_env_values = true)]
    pub amqp_url: SecretString,

    /// A certificate authority of your own (PEM) that PostgreSQL and RabbitMQ are verified by, beside
    /// the system's [default: none]
    #[arg(long, env = "LATCHKEY_CA_FILE")]
    pub ca_file: Option<PathBuf>,

    /// Before every exchange and queue, so that several installations share one broker
    #[arg(long, env = "LATCHKEY_BROKER_PREFIX", default_value = "latchkey", value_parser = parse_prefix)]
    pub broker_prefix: String,

    /// Required, unless it is in a file. Key-encryption keys, id:base64key,…: the first seals, all open
    #[arg(long, env = "LATCHKEY_KEYRING", hide_env_values = true)]
    pub keyring: Option<SecretString>,

    /// The same from a file, one id:base64key a line [default: none]
    #[arg(long, env = "LATCHKEY_KEYRING_FILE")]
    pub keyring_file: Option<PathBuf>,

    /// Required. Credentials and endpoints of platforms (TOML)
    #[arg(long, env = "LATCHKEY_PLATFORMS_FILE")]
    pub platforms_file: PathBuf,

    /// Networks that webhooks, and calls to the servers of Bluesky accounts, may reach besides public
    /// addresses, as CIDR, comma-separated [default: none]
    #[arg(long, env = "LATCHKEY_OUTBOUND_ALLOW", value_delimiter = ',')]
    pub outbound_allow: Vec<IpNet>,

    /// A certificate authority of your own (PEM) that platforms and receivers of webhooks are verified by, beside the
    /// system's [default: none]
    #[arg(long, env = "LATCHKEY_OUTBOUND_CA_FILE")]
    pub outbound_ca_file: Option<PathBuf>,

    /// A proxy through which platforms, the servers of Bluesky accounts and receivers of webhooks are called, as
    /// http://user:password@host:port; loopback is called directly, and so are servers and receivers on networks of
    /// LATCHKEY_OUTBOUND_ALLOW [default: none]
    #[arg(long, env = "LATCHKEY_OUTBOUND_PROXY", hide_env_values = true)]
    pub outbound_proxy: Option<SecretString>,

    /// The address that browsers and platforms reach the API by: makes every URL
    #[arg(long, env = "LATCHKEY_PUBLIC_URL", default_value = "http://127.0.0.1:8080", value_parser = parse_public_url)]
    pub public_url: Option<Url>,

    /// How many seconds a person has to finish a connect
    #[arg(long, env = "LATCHKEY_CONNECT_LIFETIME", default_value = "600", value_name = "SECONDS", value_parser = parse_seconds)]
    pub connect_lifetime: Duration,

    /// How many connects a workspace may have open at once
    #[arg(long, env = "LATCHKEY_MAX_OPEN_CONNECTS", default_value_t = MAX_OPEN_CONNECTS, value_parser = clap::value_parser!(i64).range(1..))]
    pub max_open_connects: i64,

    /// How many messages may wait in the outbox before no POST and no producer's request is taken, and the
    /// API's /readyz says no; an organisation's own events and replies may be a quarter of it
    #[arg(long, env = "LATCHKEY_OUTBOX_MAX", default_value_t = OUTBOX_MAX, value_parser = clap::value_parser!(i64).range(1..))]
    pub outbox_max: i64,
    /// Ports that webhooks, and calls to the servers of Bluesky accounts, may reach, comma-separated;
    /// ranges as in 8000-8999
    #[arg(long, env = "LATCHKEY_OUTBOUND_PORTS", value_delimiter = ',', default_values = ["80", "443"])]
    pub outbound_ports: Vec<Ports>,

    /// What is logged: a level, or target=level,…
    #[arg(long, env = "LATCHKEY_LOG", default_value = "info")]
    pub log: String,

    /// How it is logged
    #[arg(long, env = "LATCHKEY_LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

impl CommonSettings {
    /// Reads the keyring from wherever it is.
    ///
    /// # Errors
    /// [`SealError::Malformed`] when there is none, or it cannot be read.
    pub fn read_keyring(&self) -> Result<Keyring, SealError> {
        read_keyring(self.keyring.as_ref(), self.keyring_file.as_deref())
    }
}

/// Reads the keyring from the setting itself, or from the file that is named instead.
///
/// # Errors
/// [`SealError::Malformed`] when there is neither, or it cannot be read.
pub fn read_keyring(
    keyring: Option<&SecretString>,
    file: Option<&Path>,
) -> Result<Keyring, SealError> {
    match (keyring, file) {
        (Some(keyring), _) => Keyring::parse(keyring.expose_secret()),
        (None, Some(path)) => {
            let read = read_file(path).and_then(|text| check_mode(path).map(|()| text));
            Keyring::parse(read.map_err(SealError::Malformed)?.expose_secret())
        }
        (None, None) => Err(SealError::Malformed(
            "there is none: set LATCHKEY_KEYRING or LATCHKEY_KEYRING_FILE".to_owned(),
        )),
    }
}

/// The address that people's browsers reach this installation by: makes every URL, never the Host header.
///
/// # Errors
/// A sentence for the person who set it.
pub fn parse_public_url(text: &str) -> Result<Url, String> {
    let url: Url = text.parse().map_err(|error| format!("not a URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err("must begin with https:// (or http:// on loopback) and a host".to_owned());
    }
    if url.query().is_some()
        || url.fragment().is_some()
        || !url.username().is_empty()
        || url.password().is_some()
    {
        return Err("must be scheme, host, port and path alone".to_owned());
    }
    if url.scheme() == "http" && !url.host_str().is_some_and(is_this_machine) {
        return Err(
            "must be https://: codes and cookies pass there, and http is for loopback alone"
                .to_owned(),
        );
    }
    Ok(url)
}

/// Reads a number of seconds. No wait of ours is longer than a day.
///
/// # Errors
/// A sentence for the person who set it.
pub fn parse_seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds @ 1..=86_400) => Ok(Duration::from_secs(seconds)),
        _ => Err("must be a whole number of seconds, 1 to 86400".to_owned()),
    }
}

fn parse_prefix(text: &str) -> Result<String, String> {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if plain && (1..=64).contains(&text.len()) {
        Ok(text.to_owned())
    } else {
        Err("must be 1 to 64 letters, digits, `-`, `_` or `.`".to_owned())
    }
}

/// Where a secret of the platforms file is.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretRef {
    /// In this environment variable.
    Env(String),
    /// In this file; white space around it does not count.
    File(PathBuf),
    /// Here. For tests and trying out.
    Value(SecretString),
}

impl SecretRef {
    /// Fetches the secret.
    ///
    /// # Errors
    /// A sentence that names the variable or file, never its content.
    #[expect(clippy::disallowed_methods, reason = "this is the home of the environment")]
    pub fn resolve(self) -> Result<SecretString, String> {
        match self {
            Self::Value(secret) => Ok(secret),
            Self::File(path) => read_file(&path),
            Self::Env(name) => std::env::var(&name)
                .map(SecretString::from)
                .map_err(|_| format!("environment variable {name} is not set")),
        }
    }
}

/// Whether an environment variable is set to nothing.
#[expect(clippy::disallowed_methods, reason = "this is the home of the environment")]
fn is_empty(variable: &OsStr) -> bool {
    std::env::var(variable).is_ok_and(|value| value.is_empty())
}

/// Keys that others may read are theirs, and a file that others may write is not ours.
fn check_mode(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt as _;
    const OTHERS: u32 = 0o027;
    let read = std::fs::metadata(path);
    let mode = read.map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    let mode = mode.permissions().mode() & 0o777;
    if mode & OTHERS == 0 {
        return Ok(());
    }
    Err(format!(
        "{} has mode {mode:03o}: nobody but its owner may write it, and its owner and group alone may read it \
         (chmod 600, or 640)",
        path.display()
    ))
}

fn read_file(path: &Path) -> Result<SecretString, String> {
    std::fs::read_to_string(path)
        .map(|text| SecretString::from(text.trim()))
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))
}
