//! A PostgreSQL and a RabbitMQ of one test's own, to be stopped, killed, wiped and filled: never the
//! pair that other tests use.
//!
//! They are what `scripts/services` starts, from a copy of the scripts in a folder of its own. A
//! watcher takes them away when the test's process ends, however it ends.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use latchkey_shared::random;
use tokio::process::{Child, ChildStdin, Command};
use url::Url;

/// What `scripts/services` calls them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Server {
    /// PostgreSQL.
    Postgres,
    /// RabbitMQ.
    RabbitMq,
}

impl Server {
    fn as_str(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::RabbitMq => "rabbitmq",
        }
    }
}

/// What a user of the broker may do, as regular expressions on names.
#[derive(Clone, Copy, Debug)]
pub struct Permissions<'a> {
    /// Declare and delete.
    pub configure: &'a str,
    /// Publish to, and bind queues.
    pub write: &'a str,
    /// Consume from, and bind to exchanges.
    pub read: &'a str,
    /// On routing keys: an exchange, and what may be published and bound there.
    pub topics: &'a [(&'a str, &'a str, &'a str)],
}

/// Starting both takes about 6 s on an idle machine.
const START_PATIENCE: Duration = Duration::from_secs(120);

/// The pair. Ended when dropped.
pub struct PrivateServers {
    folder: PathBuf,
    /// Closed with this process, which tells the watcher.
    lifeline: Option<ChildStdin>,
    watcher: Child,
}

impl PrivateServers {
    /// Starts both and waits until they answer.
    ///
    /// # Errors
    /// When one does not start.
    pub async fn start() -> anyhow::Result<Self> {
        let name = format!("latchkey-servers-{}", hex::encode(random::bytes::<6>()));
        let folder = std::env::temp_dir().join(name);
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts");
        std::fs::create_dir_all(&folder)?;
        let copied = Command::new("cp").arg("-R").args([&scripts, &folder]).status().await?;
        ensure!(copied.success(), "the scripts were not copied");
        let mut watcher = Command::new("sh");
        // `cat` ends when this process has closed its end of the pipe, or is gone.
        watcher.args(["-c", "cat >/dev/null; \"$0\"/scripts/services down; rm -rf \"$0\""]);
        let mut watcher = foreign_to_us(watcher.arg(&folder))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let servers = Self { folder, lifeline: watcher.stdin.take(), watcher };
        servers.services(&["up"]).await?;
        Ok(servers)
    }

    /// The folder with their scripts and, below `.run`, their data.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where a server is. Stays the same when it is started again.
    ///
    /// # Errors
    /// When it was never started.
    pub fn url(&self, server: Server) -> anyhow::Result<String> {
        let file = self.folder.join(format!(".run/services/{}.url", server.as_str()));
        Ok(std::fs::read_to_string(file)?.trim().to_owned())
    }

    /// Stops a server in order.
    ///
    /// # Errors
    /// When it was not running.
    pub async fn stop(&self, server: Server) -> anyhow::Result<()> {
        self.services(&["down", server.as_str()]).await.map(drop)
    }

    /// Starts a server and waits until it answers.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_again(&self, server: Server) -> anyhow::Result<()> {
        self.services(&["up", server.as_str()]).await.map(drop)
    }

    /// Stops a server and forgets all its data.
    ///
    /// # Errors
    /// When it cannot be stopped.
    pub async fn wipe(&self, server: Server) -> anyhow::Result<()> {
        self.services(&["reset", server.as_str()]).await.map(drop)
    }

    /// Sends a signal to a server's process and waits until it is gone: `KILL`, or for PostgreSQL
    /// `QUIT`, its immediate shutdown.
    ///
    /// # Errors
    /// When it does not run, or does not end.
    pub async fn signal(&self, server: Server, signal: &str) -> anyhow::Result<()> {
        let file = self.folder.join(format!(".run/services/{}.pid", server.as_str()));
        let record = std::fs::read_to_string(file)?;
        let pid = record.lines().next().context("a record begins with the process's number")?;
        let sent = Command::new("kill").args(["-s", signal, pid]).status().await?;
        ensure!(sent.success(), "{} does not run", server.as_str());
        super::eventually(|| async {
            Ok(self.services(&["status", server.as_str()]).await.is_err().then_some(()))
        })
        .await
    }

    /// Runs RabbitMQ's own tool on the node.
    ///
    /// # Errors
    /// What it says when it fails.
    pub async fn rabbitmqctl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.services(&[&["rabbitmqctl", "--quiet"], arguments].concat()).await
    }

    /// Adds a user to the broker, who may do this and nothing else. Answers the address by which the user
    /// connects.
    ///
    /// # Errors
    /// When the broker does not run, or has such a user.
    pub async fn add_broker_user(
        &self,
        name: &str,
        permissions: &Permissions<'_>,
    ) -> anyhow::Result<String> {
        let password = random::token();
        self.rabbitmqctl(&["add_user", name, &password]).await?;
        let Permissions { configure, write, read, topics } = *permissions;
        self.rabbitmqctl(&["set_permissions", name, configure, write, read]).await?;
        for (exchange, write, read) in topics {
            self.rabbitmqctl(&["set_topic_permissions", name, exchange, write, read]).await?;
        }
        let mut url: Url = self.url(Server::RabbitMq)?.parse()?;
        let named = url.set_username(name).and_then(|()| url.set_password(Some(&password)));
        named.map_err(|()| anyhow::anyhow!("{url} takes no user"))?;
        Ok(url.into())
    }

    /// Stops both and removes their data.
    ///
    /// # Errors
    /// When the watcher cannot be waited for.
    pub async fn close(mut self) -> anyhow::Result<()> {
        drop(self.lifeline.take());
        let ended = tokio::time::timeout(START_PATIENCE, self.watcher.wait()).await??;
        ensure!(ended.success(), "the private servers were not taken away: {ended}");
        Ok(())
    }

    async fn services(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(self.folder.join("scripts/services"));
        let output =
            foreign_to_us(command.args(arguments)).stdin(Stdio::null()).kill_on_drop(true).output();
        let output = tokio::time::timeout(START_PATIENCE, output).await??;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complained = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "services {arguments:?}: {said}{complained}");
        Ok(said)
    }
}

/// The shared servers must not be taken for those of the copy.
fn foreign_to_us(command: &mut Command) -> &mut Command {
    command.env_remove("DATABASE_URL").env_remove("AMQP_URL")
}
