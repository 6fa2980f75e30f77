//! Real processes of this app, to be killed.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, ensure};
use secrecy::ExposeSecret as _;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use super::{PATIENCE, TestApp, eventually};

/// A process of Latchkey, or one that speaks with it. Killed when dropped.
pub struct Process {
    child: Child,
    printed: Kept,
    log: Kept,
}

/// What came through a pipe so far.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<String>>);

impl Kept {
    /// Keeps reading: a full pipe would block its writer.
    fn lines_of(pipe: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let (kept, mut lines) = (Self::default(), BufReader::new(pipe).lines());
        let writer = kept.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let mut text = writer.0.lock().unwrap_or_else(PoisonError::into_inner);
                text.push_str(&line);
                text.push('\n');
            }
        });
        kept
    }

    fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
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
    pub async fn terminate(self) -> anyhow::Result<ExitStatus> {
        self.signal("TERM").await?;
        self.ended().await
    }

    /// Its id.
    ///
    /// # Errors
    /// When it does not run.
    pub fn id(&self) -> anyhow::Result<u32> {
        self.child.id().context("it has ended")
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let pid = self.id()?.to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status().await?;
        ensure!(sent.success(), "the signal was not sent");
        Ok(())
    }

    /// Starts a command, such as [`command`] or [`TestApp::command`] makes.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(mut command: Command) -> anyhow::Result<Self> {
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn()?;
        let printed = Kept::lines_of(child.stdout.take().context("what it prints is piped")?);
        let log = Kept::lines_of(child.stderr.take().context("its log is piped")?);
        Ok(Self { child, printed, log })
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn ended(mut self) -> anyhow::Result<ExitStatus> {
        Ok(tokio::time::timeout(PATIENCE, self.child.wait()).await??)
    }

    /// What it logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// What it printed so far, the log aside.
    #[must_use]
    pub fn printed(&self) -> String {
        self.printed.text()
    }

    /// Waits until it says this in its log.
    ///
    /// # Errors
    /// When it does not, with what it said instead.
    pub async fn says(&self, text: &str) -> anyhow::Result<()> {
        eventually(|| async { Ok(self.log().contains(text).then_some(())) })
            .await
            .with_context(|| format!("it never said `{text}`:\n{}", self.log()))
    }
}

impl TestApp {
    /// Starts a worker as a process of its own. Its clock moves with the others.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn spawn_worker(&self, pools: &str) -> anyhow::Result<Process> {
        self.spawn_worker_with(pools, &[]).await
    }

    /// The same with more in its environment, such as `LATCHKEY_TEST_FAILPOINTS`.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn spawn_worker_with(
        &self,
        pools: &str,
        more: &[(&str, &str)],
    ) -> anyhow::Result<Process> {
        let mut command = self.command("latchkey-worker")?;
        command.env("LATCHKEY_POOLS", pools).envs(more.iter().copied());
        let worker = Process::start(command)?;
        worker.says("worker started").await?;
        Ok(worker)
    }

    /// Starts an API as a process of its own, with a broker that may be elsewhere. Answers it with
    /// its address.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn spawn_api(&self, amqp_url: &str) -> anyhow::Result<(Process, String)> {
        self.spawn_api_with(amqp_url, &[]).await
    }

    /// The same with more in its environment.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn spawn_api_with(
        &self,
        amqp_url: &str,
        more: &[(&str, &str)],
    ) -> anyhow::Result<(Process, String)> {
        let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
        let base = format!("http://127.0.0.1:{port}");
        let mut command = self.command("latchkey-api")?;
        command
            .arg("serve")
            .env("AMQP_URL", amqp_url)
            .env("LATCHKEY_LISTEN", format!("127.0.0.1:{port}"))
            .env("LATCHKEY_PUBLIC_URL", &base)
            .env("LATCHKEY_CALLBACK_WAIT", "1")
            .envs(more.iter().copied());
        let api = Process::start(command)?;
        api.says("serving").await?;
        Ok((api, base))
    }

    /// A binary with this app's environment, as both processes have it.
    ///
    /// # Errors
    /// When it is not built.
    pub fn command(&self, name: &str) -> anyhow::Result<Command> {
        let keyring = self.common.keyring.as_ref().context("a test's keyring is no file")?;
        let mut command = command(name)?;
        command
            .env("AMQP_URL", self.common.amqp_url.expose_secret())
            .env("DATABASE_URL", self.common.database_url.expose_secret())
            .env("LATCHKEY_BROKER_PREFIX", &self.common.broker_prefix)
            .env("LATCHKEY_KEYRING", keyring.expose_secret())
            .env("LATCHKEY_PLATFORMS_FILE", &self.common.platforms_file)
            .env("LATCHKEY_OUTBOUND_ALLOW", "127.0.0.0/8")
            .env("LATCHKEY_OUTBOUND_PORTS", "1-65535")
            .env("LATCHKEY_METRICS_LISTEN", "127.0.0.1:0")
            .env("LATCHKEY_REFUSAL_CONFIRM", self.options.refusal_confirm.as_secs().to_string())
            .env("LATCHKEY_BRAKE_AFTER", self.options.brake_after.clamp(2, 30).to_string())
            .env("LATCHKEY_TEST_CLOCK", self.files.clock());
        if let Some(url) = &self.common.public_url {
            command.env("LATCHKEY_PUBLIC_URL", url.as_str());
        }
        if let Some(file) = &self.common.ca_file {
            command.env("LATCHKEY_CA_FILE", file);
        }
        Ok(command)
    }
}

/// A binary of the workspace, with nothing of ours in its environment.
///
/// # Errors
/// When it is not built.
pub fn command(name: &str) -> anyhow::Result<Command> {
    let mut command = Command::new(binary(name)?);
    for variable in ["DATABASE_URL", "AMQP_URL"] {
        command.env_remove(variable);
    }
    Ok(command)
}

/// The binary beside this test's own; `scripts/test` builds it before the tests run.
fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let test = std::env::current_exe()?;
    let folder = test.parent().and_then(|deps| deps.parent()).context("no target folder")?;
    let path = folder.join(name);
    ensure!(path.exists(), "{} is not built: cargo build --workspace --bins", path.display());
    Ok(path)
}
