//! Where PostgreSQL is, and how it is spoken to: in plain, or over TLS with chain and host name
//! verified. There is nothing between the two, and no way back from TLS to plain.

use std::fmt;
use std::time::Duration;

use diesel::{ConnectionError, ConnectionResult, sql_query};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::sync::CancellationToken;

use super::Yes;
use super::wire::{Watch, open};
use crate::net_guard::is_this_machine;
use crate::tls::Trust;

/// Limits that no statement of ours may pass: a stuck query must not hold locks for ever. And the server ends a session
/// whose client went silent.
const SESSION_LIMITS: &str = "-c statement_timeout=8s -c lock_timeout=5s \
    -c idle_in_transaction_session_timeout=10s -c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 \
    -c tcp_keepalives_count=3 -c tcp_user_timeout=15000";
/// Whether they are in force.
const ARE_LIMITED: &str = "SELECT current_setting('statement_timeout')::interval BETWEEN '1ms' AND '8s' \
    AND current_setting('lock_timeout') <> '0' \
    AND current_setting('idle_in_transaction_session_timeout') <> '0' AS yes";
/// A server that lives answers each statement sooner: with the statement's end, if with nothing else.
const PATIENCE: Duration = Duration::from_secs(9);
/// How soon a network that drops everything is noticed, where the URL does not say: by data that is not acknowledged,
/// and by a probe that is not.
const UNACKNOWLEDGED: Duration = PATIENCE;
const PROBE_AFTER: Duration = Duration::from_secs(10);
const PROBE_EVERY: Duration = Duration::from_secs(3);
const PROBES: u32 = 3;
/// What the client has if the URL does not say.
const UNSAID_PROBE_AFTER: Duration = Duration::from_hours(2);
const SHAPE: &str = "must be postgres://user:password@host:port/database";

/// A PostgreSQL server.
#[derive(Clone)]
pub struct Server {
    config: Config,
    tls: Option<MakeRustlsConnect>,
    /// Whether the URL leaves it to us how to speak to a server on another machine.
    unsaid: bool,
    is_patient: bool,
}

impl Server {
    /// Reads a URL; its `sslmode` is `verify-full`, `disable`, or not there.
    ///
    /// # Errors
    /// A sentence for the operator, without the URL's content.
    pub fn new(url: &str, trust: &Trust) -> Result<Self, String> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(SHAPE.to_owned());
        }
        let (url, mode) = take_parameter(url, "sslmode");
        if take_parameter(&url, "sslrootcert").1.is_some() {
            return Err("takes no sslrootcert: name the file with LATCHKEY_CA_FILE".to_owned());
        }
        let mut config: Config =
            url.parse().map_err(|error: tokio_postgres::Error| unreadable(&error))?;
        if config.get_hosts().is_empty() {
            return Err(SHAPE.to_owned());
        }
        let socket = !config.get_hosts().iter().all(|host| matches!(host, Host::Tcp(_)));
        let tls = match mode.as_deref() {
            None | Some("disable") => None,
            Some("verify-full") if socket => {
                return Err(
                    "asks for sslmode=verify-full on a socket, which has no TLS: leave it \
                            out, or name a host"
                        .to_owned(),
                );
            }
            Some("verify-full") => Some(MakeRustlsConnect::new(trust.client_config()?)),
            Some("allow" | "prefer" | "require" | "verify-ca") => {
                return Err("asks for an sslmode that does not check who answers: use \
                            sslmode=verify-full (with LATCHKEY_CA_FILE for a CA of your own), or \
                            sslmode=disable for none"
                    .to_owned());
            }
            Some(_) => return Err("has an sslmode other than verify-full and disable".to_owned()),
        };
        probe(&mut config);
        config
            .ssl_mode(if tls.is_some() { SslMode::Require } else { SslMode::Disable })
            .options(SESSION_LIMITS)
            .application_name("latchkey")
            .connect_timeout(Duration::from_secs(5));
        Ok(Self { config, tls, unsaid: mode.is_none(), is_patient: false })
    }

    /// Whether it is on another machine and spoken to in plain without anybody having asked for it.
    #[must_use]
    pub fn is_plain_by_accident(&self) -> bool {
        let here = |host: &Host| match host {
            Host::Tcp(name) => is_this_machine(name),
            Host::Unix(_) => true,
        };
        self.unsaid && !self.config.get_hosts().iter().all(here)
    }

    /// Opens a session that ends when the server goes silent, and itself when `suspicion` is raised while it is idle.
    pub(super) async fn connect(
        &self,
        suspicion: CancellationToken,
    ) -> ConnectionResult<AsyncPgConnection> {
        if self.is_patient {
            return self.connect_patiently().await;
        }
        let watch = Watch { patience: PATIENCE, suspicion };
        let mut conn = open(&self.config, self.tls.clone(), Some(watch)).await?;
        let limits = sql_query(ARE_LIMITED).get_result::<Yes>(&mut conn).await;
        if !limits.map_err(ConnectionError::CouldntSetupConfiguration)?.yes {
            let user = self.config.get_user().unwrap_or("latchkey");
            return Err(ConnectionError::BadConnection(format!(
                "a pooler such as PgBouncer left out the limits of the session: give them to the role, by ALTER ROLE \
                 {user} SET statement_timeout = '8s', SET lock_timeout = '5s' and SET \
                 idle_in_transaction_session_timeout = '10s', a statement each, and reconnect the pooler"
            )));
        }
        Ok(conn)
    }

    /// Opens a session whose statements may take as long as they take.
    pub(super) async fn connect_patiently(&self) -> ConnectionResult<AsyncPgConnection> {
        open(&self.config, self.tls.clone(), None).await
    }

    /// The same server, whose sessions may lift their limits: for what takes long, and what no person waits for.
    #[must_use]
    pub fn patient(mut self) -> Self {
        self.is_patient = true;
        self
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = self.config.get_hosts();
        f.debug_struct("Server").field("hosts", &hosts).finish_non_exhaustive()
    }
}

/// The URL without a parameter, and the parameter's value. The client knows only the modes that do
/// not verify, and would refuse the others.
fn take_parameter(url: &str, name: &str) -> (String, Option<String>) {
    // A password may hold a question mark; the client reads user and password up to the first `@`.
    let host_at = url.find('@').unwrap_or(0);
    let Some(query_at) = url[host_at..].find('?').map(|at| host_at + at) else {
        return (url.to_owned(), None);
    };
    let mut value = None;
    let kept: Vec<&str> = (url[query_at + 1..].split('&'))
        .filter(|pair| match pair.split_once('=') {
            Some((key, given)) if key == name => {
                value = Some(given.to_owned());
                false
            }
            _ => true,
        })
        .collect();
    let question = if kept.is_empty() { "" } else { "?" };
    (format!("{}{question}{}", &url[..query_at], kept.join("&")), value)
}

/// The client's word for it names an option, never its value.
fn unreadable(error: &tokio_postgres::Error) -> String {
    let source = std::error::Error::source(error).map(ToString::to_string);
    match source.filter(|source| source.contains("option")) {
        Some(source) => format!("cannot be read: {source}"),
        None => SHAPE.to_owned(),
    }
}

/// The same as the URL's `tcp_user_timeout` and `keepalives_…` (PostgreSQL documentation, 34.1.2), which come first.
fn probe(config: &mut Config) {
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(UNACKNOWLEDGED);
    }
    if config.get_keepalives_idle() == UNSAID_PROBE_AFTER {
        config.keepalives_idle(PROBE_AFTER);
    }
    if config.get_keepalives_interval().is_none() {
        config.keepalives_interval(PROBE_EVERY);
    }
    if config.get_keepalives_retries().is_none() {
        config.keepalives_retries(PROBES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> Result<Server, String> {
        Server::new(url, &Trust::default())
    }

    #[test]
    fn only_modes_that_verify_or_say_that_they_do_not_are_taken() {
        let at = |query: &str| server(&format!("postgres://u:p?w@db.example:5432/d{query}"));
        assert!(at("?sslmode=verify-full&connect_timeout=3").unwrap().tls.is_some());
        assert!(at("?channel_binding=require&sslmode=verify-full").unwrap().tls.is_some());
        for query in ["", "?sslmode=disable", "?connect_timeout=3"] {
            let server = at(query).unwrap();
            assert!(server.tls.is_none());
            assert_eq!(server.config.get_ssl_mode(), SslMode::Disable);
        }
        for mode in ["allow", "prefer", "require", "verify-ca"] {
            let why = at(&format!("?sslmode={mode}")).unwrap_err();
            assert!(why.contains("use sslmode=verify-full"), "{why}");
        }
        assert!(at("?sslmode=on").is_err());
        assert!(at("?sslrootcert=/ca.pem").unwrap_err().contains("LATCHKEY_CA_FILE"));
        assert!(server("postgres:///d?host=/run/pg&sslmode=verify-full").is_err());
    }

    #[test]
    fn plain_to_another_machine_is_noticed_unless_it_was_asked_for() {
        for (url, accident) in [
            ("postgres://u@db.example/d", true),
            ("postgres://u@10.0.0.7,127.0.0.1/d", true),
            ("postgres://u@db.example/d?sslmode=disable", false),
            ("postgres://u@db.example/d?sslmode=verify-full", false),
            ("postgres://u@localhost/d", false),
            ("postgres://u@127.0.0.1/d", false),
            ("postgres:///d?host=/run/postgresql&user=u", false),
        ] {
            assert_eq!(server(url).unwrap().is_plain_by_accident(), accident, "{url}");
        }
    }

    #[test]
    fn what_is_said_of_a_wrong_url_does_not_show_it() {
        for url in [
            "shh",
            "host=h password=shh",
            "postgres://u:shh@h:port/d",
            "postgres://u:shh@h/d?shh",
            "postgres://u:shh@h/d?connect_timeout=shh",
            "postgres://u:%ff@h/d?password=%ffshh",
        ] {
            let why = server(url).unwrap_err();
            assert!(!why.contains("shh"), "{url}: {why}");
        }
        assert!(!format!("{:?}", server("postgres://u:shh@h/d").unwrap()).contains("shh"));
    }
}
