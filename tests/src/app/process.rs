//! Real processes of this app, to be killed.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use anyhow::{Context as _, ensure};
use secrecy::ExposeSecret as _;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use super::{PATIENCE, TestApp};

/// A process of Latchkey. Killed when dropped.
pub struct Process {
    child: Child,
}

impl Process {
    /// Kills it at once, as a crash or an operator would: `kill -9`.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Asks it to stop (SIGTERM), and answers how it ended.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn terminate(mut self) -> anyhow::Result<ExitStatus> {
        let pid = self.child.id().context("it runs")?.to_string();
        let sent = Command::new("kill").arg("-TERM").arg(pid).status().await?;
        ensure!(sent.success(), "the signal was not sent");
        Ok(tokio::time::timeout(PATIENCE, self.child.wait()).await??)
    }
}

impl TestApp {
    /// Starts a worker as a process of its own. Its clock is the machine's.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn spawn_worker(&self, pools: &str) -> anyhow::Result<Process> {
        self.spawn_worker_with(pools, &[]).await
    }

    /// The same with settings of its own.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn spawn_worker_with(
        &self,
        pools: &str,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Process> {
        let mut command = self.command("latchkey-worker")?;
        command.env("LATCHKEY_POOLS", pools).env("LATCHKEY_DRAIN", PATIENCE.as_secs().to_string());
        command.env("AMQP_URL", self.common.amqp_url.expose_secret());
        command.envs(settings.iter().copied());
        start(command, "worker started").await
    }

    /// Starts an API as a process of its own, with a broker that may be elsewhere. Answers it with
    /// its address.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn spawn_api(&self, amqp_url: &str) -> anyhow::Result<(Process, String)> {
        let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
        let base = format!("http://127.0.0.1:{port}");
        let mut command = self.command("latchkey-api")?;
        command
            .arg("serve")
            .env("AMQP_URL", amqp_url)
            .env("LATCHKEY_LISTEN", format!("127.0.0.1:{port}"))
            .env("LATCHKEY_PUBLIC_URL", &base)
            .env("LATCHKEY_CALLBACK_WAIT", "1");
        Ok((start(command, "serving").await?, base))
    }

    fn command(&self, name: &str) -> anyhow::Result<Command> {
        let keyring = self.common.keyring.as_ref().context("a test's keyring is no file")?;
        let mut command = Command::new(binary(name)?);
        command
            .env("DATABASE_URL", self.common.database_url.expose_secret())
            .env("LATCHKEY_BROKER_PREFIX", &self.common.broker_prefix)
            .env("LATCHKEY_KEYRING", keyring.expose_secret())
            .env("LATCHKEY_PLATFORMS_FILE", &self.common.platforms_file)
            .env("LATCHKEY_OUTBOUND_ALLOW", "127.0.0.0/8")
            .env("LATCHKEY_METRICS_LISTEN", "127.0.0.1:0")
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        Ok(command)
    }
}

/// Waits until the process says in its log that it is up.
async fn start(mut command: Command, says: &str) -> anyhow::Result<Process> {
    let mut child = command.spawn()?;
    let log = child.stderr.take().context("its log is piped")?;
    let mut lines = BufReader::new(log).lines();
    let up = async {
        while let Some(line) = lines.next_line().await? {
            if line.contains(says) {
                return anyhow::Ok(());
            }
        }
        anyhow::bail!("the process ended before it was up")
    };
    tokio::time::timeout(PATIENCE, up).await??;
    // A full pipe would block it.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok(Process { child })
}

/// The binary beside this test's own; `scripts/test` builds it before the tests run.
fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let test = std::env::current_exe()?;
    let folder = test.parent().and_then(|deps| deps.parent()).context("no target folder")?;
    let path = folder.join(name);
    ensure!(path.exists(), "{} is not built: cargo build --workspace --bins", path.display());
    Ok(path)
}
