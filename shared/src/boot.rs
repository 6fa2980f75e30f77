//! How a process begins and ends: what both binaries check before they serve, how they are stopped,
//! and the code that they exit with.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

#[cfg(target_os = "linux")]
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::process::{Resource, Rlimit, setrlimit};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use crate::config::{Check, CommonSettings, NoSettings, Problem, read_keyring};
use crate::db::{Db, DbError, events};
use crate::egress::EgressProxy;
use crate::keyring::SealError;
use crate::net_guard::{NetGuard, Outbound};
use crate::platforms::{Platforms, PlatformsError};
use crate::tls::Trust;
use crate::{broker, db, telemetry};

/// How long a start waits for PostgreSQL: services are often started together.
const DATABASE_PATIENCE: Duration = Duration::from_secs(30);
const DATABASE_RETRY: Duration = Duration::from_millis(500);

/// Why a process ends otherwise than it should.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// PostgreSQL stayed away.
    #[error("gave up after {} s", DATABASE_PATIENCE.as_secs())]
    Database(#[source] DbError),
    /// A pooler in front of PostgreSQL is not set up for us.
    #[error("DATABASE_URL leads to a pooler")]
    Pooler(#[source] DbError),
    /// The keyring is another one than the database was sealed with.
    #[error("the keyring does not fit the database")]
    Keyring(#[source] SealError),
    /// The tables are not those of this build.
    #[error("the database is not as this build expects: run `latchkey-api migrate` first")]
    Schema(#[source] DbError),
    /// An address is taken, or not this machine's.
    #[error("cannot listen on {1} ({0})")]
    Listen(&'static str, SocketAddr, #[source] std::io::Error),
    /// Some work had not ended when the time for it was over.
    #[error("some work did not end within the time for it, and was cut off")]
    Drain,
}

/// How a process ended, as the operating system hears it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exit {
    /// Stopped when it was asked to, or did what it was told.
    Done = 0,
    /// Something that nobody foresaw; the message says what.
    Failed = 1,
    /// Settings are wrong.
    Settings = 2,
    /// PostgreSQL stayed away.
    Database = 3,
    /// The keyring does not fit the database.
    Keyring = 4,
    /// The schema does not fit the build.
    Schema = 5,
    /// Cannot listen.
    Listen = 6,
    /// Work was cut off at the end.
    Drain = 7,
}

/// The same for `--help`.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  stopped when asked to, or done
  1  something unforeseen
  2  settings are wrong
  3  PostgreSQL cannot be reached
  4  the keyring does not fit the database
  5  the schema does not fit this version: run `latchkey-api migrate`
  6  an address to listen on cannot be had
  7  the time to stop was over, and work was cut off";

impl Exit {
    /// Every way to end.
    pub const ALL: [Self; 8] = [
        Self::Done,
        Self::Failed,
        Self::Settings,
        Self::Database,
        Self::Keyring,
        Self::Schema,
        Self::Listen,
        Self::Drain,
    ];

    fn of(error: &anyhow::Error) -> Self {
        match (error.downcast_ref(), error.downcast_ref(), error.downcast_ref()) {
            (Some(Fatal::Database(_)), _, _) => Self::Database,
            (Some(Fatal::Pooler(_)), _, _) => Self::Settings,
            (Some(Fatal::Keyring(_)), _, _) => Self::Keyring,
            (Some(Fatal::Schema(_)), _, _) => Self::Schema,
            (Some(Fatal::Listen(..)), _, _) => Self::Listen,
            (Some(Fatal::Drain), _, _) => Self::Drain,
            (None, Some(DbError::Unavailable(_)), _) => Self::Database,
            (None, None, Some(SealError::UnknownKek(_) | SealError::WrongKek(_))) => Self::Keyring,
            _ => Self::Failed,
        }
    }
}

/// Tells whoever started the process how it ended.
#[must_use]
pub fn ended(binary: &str, result: anyhow::Result<()>) -> ExitCode {
    let exit = match result {
        Ok(()) => Exit::Done,
        Err(error) => {
            eprintln!("{binary}: {error:#}");
            Exit::of(&error)
        }
    };
    ExitCode::from(exit as u8)
}

/// Tells whoever started the process why it has no settings.
#[must_use]
pub fn refused(binary: &str, why: NoSettings) -> ExitCode {
    match why {
        NoSettings::Usage(message) => {
            // Nobody reads: there is nobody left to tell.
            drop(message.print());
            ExitCode::from(if message.use_stderr() { Exit::Settings } else { Exit::Done } as u8)
        }
        NoSettings::Wrong(lines) => {
            eprintln!("{binary}: the settings are wrong; see `{binary} --help`");
            for line in lines {
                eprintln!("  {line}");
            }
            ExitCode::from(Exit::Settings as u8)
        }
    }
}

/// The servers that the settings name, with a warning about those that anybody on the way can
/// listen to.
///
/// # Errors
/// A sentence for the operator.
pub fn servers(settings: &CommonSettings) -> anyhow::Result<(db::Server, broker::Server)> {
    let database = database(&settings.database_url, settings.ca_file.as_deref())?;
    let trust = Trust::read(settings.ca_file.as_deref()).map_err(anyhow::Error::msg)?;
    let broker = broker::Server::new(settings.amqp_url.expose_secret(), &trust)
        .map_err(|why| anyhow::anyhow!("AMQP_URL {why}"))?;
    if broker.is_plain_and_elsewhere() {
        tracing::warn!("RabbitMQ is on another machine and spoken to in plain: use amqps://");
    }
    Ok((database, broker))
}

/// How calls to platforms and receivers leave, and which addresses they may reach that others choose.
///
/// # Errors
/// A sentence for the operator.
pub async fn guard(settings: &CommonSettings) -> anyhow::Result<NetGuard> {
    let outbound = trusted_outside(settings.outbound_ca_file.as_deref())
        .map_err(|why| anyhow::anyhow!("LATCHKEY_OUTBOUND_CA_FILE: {why}"))?;
    let proxy = proxy(settings.outbound_proxy.as_ref())
        .map_err(|why| anyhow::anyhow!("LATCHKEY_OUTBOUND_PROXY {why}"))?;
    let outbound = outbound.by(proxy);
    let guard = NetGuard::new(&settings.outbound_allow, &settings.outbound_ports);
    Ok(guard.through(outbound).await?)
}

fn proxy(url: Option<&SecretString>) -> Result<Option<EgressProxy>, &'static str> {
    url.map(|url| url.expose_secret().parse()).transpose()
}

fn trusted_outside(file: Option<&Path>) -> Result<Outbound, String> {
    Outbound::trusting(&Trust::read(file)?).map_err(|error| error.to_string())
}

/// The database's server alone, as [`servers`].
///
/// # Errors
/// A sentence for the operator.
pub fn database(url: &SecretString, ca_file: Option<&Path>) -> anyhow::Result<db::Server> {
    let trust = Trust::read(ca_file).map_err(anyhow::Error::msg)?;
    let server = db::Server::new(url.expose_secret(), &trust)
        .map_err(|why| anyhow::anyhow!("DATABASE_URL {why}"))?;
    if server.is_plain_by_accident() {
        tracing::warn!(
            "PostgreSQL is on another machine and spoken to in plain: use sslmode=verify-full \
             (sslmode=disable says that it is meant)"
        );
    }
    Ok(server)
}

/// Refuses to start on a keyring that is not this database's; waits for a database that is away. On a
/// restored one the event log begins a new epoch.
///
/// # Errors
/// [`Fatal`].
pub async fn verify(db: &Db) -> Result<(), Fatal> {
    let deadline = Instant::now() + DATABASE_PATIENCE;
    loop {
        let checking = async {
            db.verify_statements().await?;
            let mut conn = db.conn().await?;
            db.keys().check(&mut conn).await?;
            Ok(events::begin_epoch(&mut conn).await?)
        };
        match checking.await {
            Ok(()) => return Ok(()),
            Err(SealError::Db(error)) if error.is_unavailable() => {
                if Instant::now() > deadline {
                    return Err(Fatal::Database(error));
                }
                tracing::warn!("waiting for the database: {error}");
                tokio::time::sleep(DATABASE_RETRY).await;
            }
            Err(SealError::Db(error @ DbError::Unfit(_))) => return Err(Fatal::Pooler(error)),
            Err(SealError::Db(error)) => return Err(Fatal::Schema(error)),
            Err(error) => return Err(Fatal::Keyring(error)),
        }
    }
}

/// Listens on the address of a setting.
///
/// # Errors
/// [`Fatal::Listen`].
pub async fn listen(setting: &'static str, address: SocketAddr) -> Result<TcpListener, Fatal> {
    TcpListener::bind(address).await.map_err(|error| Fatal::Listen(setting, address, error))
}

/// A core dump holds every token that was open just then.
fn forbid_core_dumps() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let forbidden = setrlimit(Resource::Core, none);
    // The limit holds for files. A core that the kernel pipes to a program (core(5)) is forbidden by this.
    #[cfg(target_os = "linux")]
    let forbidden = forbidden.and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable));
    if let Err(error) = forbidden {
        tracing::warn!("a crash may write a core dump, which holds secrets: {error}");
    }
}

/// Starts, serves until SIGTERM or SIGINT, and stops.
///
/// # Errors
/// What `start` says, or [`Fatal::Drain`] when `stop` answers false.
pub async fn run<R, F: Future<Output = bool>>(
    start: impl Future<Output = anyhow::Result<R>>,
    stop: impl FnOnce(R) -> F,
) -> anyhow::Result<()> {
    forbid_core_dumps();
    let mut signals = Signals::listen()?;
    let running = tokio::select! {
        running = start => running?,
        name = signals.next() => {
            tracing::info!("stopped by {name} before it served");
            return Ok(());
        }
    };
    let name = signals.next().await;
    tracing::info!("stopping on {name}: what has begun may end");
    let stopping = stop(running);
    tokio::pin!(stopping);
    loop {
        tokio::select! {
            in_time = &mut stopping => {
                anyhow::ensure!(in_time, Fatal::Drain);
                tracing::info!("stopped");
                return Ok(());
            }
            // Terminals and wrappers often send a second one, and a call cut off costs a token.
            name = signals.next() => {
                tracing::warn!("{name} again: still stopping; SIGKILL ends it at once");
            }
        }
    }
}

/// What a process is asked to stop with.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { terminate, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

impl Check for CommonSettings {
    fn problems(&self) -> Vec<Problem> {
        let database = DatabaseParts {
            url: &self.database_url,
            ca_file: self.ca_file.as_ref(),
            keyring: self.keyring.as_ref(),
            keyring_file: self.keyring_file.as_ref(),
            log: &self.log,
        };
        let mut problems = database.problems();
        // Of a file that cannot be read it was told already.
        let trust = Trust::read(self.ca_file.as_deref()).unwrap_or_default();
        if let Err(why) = broker::Server::new(self.amqp_url.expose_secret(), &trust) {
            problems.push(Problem::of("AMQP_URL", why));
        }
        if let Err(why) = trusted_outside(self.outbound_ca_file.as_deref()) {
            problems.push(Problem::of("LATCHKEY_OUTBOUND_CA_FILE", why));
        }
        if let Err(why) = proxy(self.outbound_proxy.as_ref()) {
            problems.push(Problem::of("LATCHKEY_OUTBOUND_PROXY", why));
        }
        problems.extend(platforms_problems(&self.platforms_file));
        problems
    }
}

/// What is wrong with the platforms file.
#[must_use]
pub fn platforms_problems(file: &Path) -> Vec<Problem> {
    match Platforms::load(file, &Outbound::default()) {
        Ok(_) => Vec::new(),
        Err(PlatformsError::Problems(all)) => all.into_iter().map(of_platforms).collect(),
        Err(error) => vec![of_platforms(error.to_string())],
    }
}

fn of_platforms(what: String) -> Problem {
    Problem::of("LATCHKEY_PLATFORMS_FILE", what)
}

/// What every subcommand with a database is told.
pub struct DatabaseParts<'a> {
    /// Where it is.
    pub url: &'a SecretString,
    /// Whom to trust.
    pub ca_file: Option<&'a PathBuf>,
    /// The keys, or
    pub keyring: Option<&'a SecretString>,
    /// the file that holds them.
    pub keyring_file: Option<&'a PathBuf>,
    /// What is logged.
    pub log: &'a str,
}

impl Check for DatabaseParts<'_> {
    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let trust = Trust::read(self.ca_file.map(PathBuf::as_path)).unwrap_or_else(|why| {
            problems.push(Problem::of("LATCHKEY_CA_FILE", why));
            Trust::default()
        });
        if let Err(why) = db::Server::new(self.url.expose_secret(), &trust) {
            problems.push(Problem::of("DATABASE_URL", why));
        }
        problems.extend(self.keyring_problem());
        if let Err(why) = telemetry::filter(self.log) {
            problems.push(Problem::of("LATCHKEY_LOG", format!("cannot be read: {why}")));
        }
        problems
    }
}

impl DatabaseParts<'_> {
    fn keyring_problem(&self) -> Option<Problem> {
        const BOTH: [&str; 2] = ["LATCHKEY_KEYRING", "LATCHKEY_KEYRING_FILE"];
        let setting = match (self.keyring, self.keyring_file) {
            (None, None) => {
                return Some(Problem::between(
                    &BOTH,
                    "one of the two is needed, and neither is set",
                ));
            }
            (Some(_), Some(_)) => {
                return Some(Problem::between(
                    &BOTH,
                    "both are set: keep one, the other is not read",
                ));
            }
            (Some(_), None) => BOTH[0],
            (None, Some(_)) => BOTH[1],
        };
        let read = read_keyring(self.keyring, self.keyring_file.map(PathBuf::as_path));
        read.err().map(|error| Problem::of(setting, error.to_string()))
    }
}
