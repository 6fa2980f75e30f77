//! `TestApp`: a whole Latchkey for one test, on real parts.
//!
//! Its own database (from a template), its own names in the broker, an API on a free port, a worker,
//! a sandbox and a webhook receiver, and one clock that moves for all of them. [`TestApp::finish`]
//! asserts that nothing was left behind; a test that forgets it fails.

mod broker;
mod browser;
mod crowd;
mod database;
mod documented;
mod finish;
mod flows;
mod http;
mod logs;
mod options;
mod process;
mod producer;
mod rows;
pub mod seed;
mod selecting;
mod servers;
mod subscriber;
mod wardrobe;

pub use broker::Tap;
pub use browser::Browser;
pub use crowd::{Crowd, Seen};
pub use database::ROWS_ROLE;
pub use flows::Connected;
pub use http::{Answer, Http};
pub use logs::logs;
pub use options::Options;
pub use process::{Process, command};
pub use producer::{Ask, DIRECT_REPLY_TO, Producer, Told};
pub use selecting::{Selecting, candidate};
pub use servers::{Permissions, PrivateServers, Server};
pub use wardrobe::{WORN, sections, worn, worn_for_own_apps};

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use latchkey_api::ServeConfig;
use latchkey_shared::boot;
use latchkey_shared::clock::Clock;
use latchkey_shared::config::{
    CONNECT_LIFETIME, CommonSettings, LogFormat, MAX_OPEN_CONNECTS, SecretRef,
};
use latchkey_shared::db::Db;
use latchkey_shared::keyring::KeyStore;
use latchkey_shared::net_guard::Ports;
use latchkey_shared::random;
use latchkey_shared::tls::Trust;
use latchkey_worker::settings::{Pool, WorkerSettings};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use url::Url;

use crate::sandbox::Rotation;
use crate::{Receiver, Sandbox, SandboxConfig};

/// How long anything in a test may take before it is taken for lost.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A whole Latchkey.
pub struct TestApp {
    /// Moves for API, worker and sandbox together.
    pub clock: Clock,
    /// The platform.
    pub sandbox: Arc<Sandbox>,
    /// Takes webhooks, signed with the secret of an endpoint that hears everything.
    pub receiver: Receiver,
    /// Calls the API with the owner's key.
    pub http: Http,
    /// The organisation, workspace and key that were bootstrapped.
    pub owner: latchkey_api::Bootstrapped,
    options: Options,
    common: CommonSettings,
    database: database::TestDatabase,
    api: Option<latchkey_api::Running>,
    workers: Vec<latchkey_worker::Running>,
    dead_letters_expected: usize,
    finished: bool,
    files: Files,
}

/// The folder of one test.
struct Files(PathBuf);

impl Files {
    fn create() -> anyhow::Result<Self> {
        let name = format!("latchkey-test-{}", hex::encode(random::bytes::<8>()));
        let files = Self(std::env::temp_dir().join(name));
        std::fs::create_dir_all(&files.0)?;
        Ok(files)
    }

    fn clock(&self) -> PathBuf {
        self.0.join("clock")
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

impl TestApp {
    /// Starts with the usual options.
    ///
    /// # Errors
    /// When a part does not start.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(Options::default()).await
    }

    /// Starts.
    ///
    /// # Errors
    /// When a part does not start.
    pub async fn start_with(options: Options) -> anyhow::Result<Self> {
        logs::capture();
        let files = Files::create()?;
        let clock = Clock::in_file(files.clock());
        let (database_url, amqp_url) = match &options.servers {
            Some((database, amqp)) => (database.clone().into(), amqp.clone().into()),
            None => (secret("DATABASE_URL")?, secret("AMQP_URL")?),
        };
        let sandbox = Sandbox::start(SandboxConfig {
            access_lifetime: options.access_lifetime,
            refresh_lifetime: options.refresh_lifetime,
            rotation: options.rotation,
            clock: clock.clone(),
            ..options.sandbox.clone()
        })
        .await?;
        let receiver = Receiver::start_with(clock.clone()).await?;
        let trust = Trust::read(options.ca_file.as_deref()).map_err(anyhow::Error::msg)?;
        let database = database::TestDatabase::create(&database_url, trust).await?;
        let platforms_file = write_platforms(&sandbox, &options, &files.0)?;
        let [database_url, amqp_url] =
            reached(&options, [database.rows_url()?, amqp_url.expose_secret().to_owned()])?;
        let common = CommonSettings {
            database_url,
            amqp_url,
            ca_file: options.ca_file.clone(),
            broker_prefix: (options.broker_prefix.clone())
                .unwrap_or_else(|| format!("t{}", hex::encode(random::bytes::<6>()))),
            keyring: Some(format!("test:{}", STANDARD.encode([7; 32])).into()),
            keyring_file: None,
            platforms_file,
            outbound_allow: options.outbound_allow.clone(),
            outbound_ports: Ports::ALL.to_vec(),
            outbound_ca_file: options.outbound_ca_file.clone(),
            outbound_proxy: options.outbound_proxy.clone().map(Into::into),
            public_url: None,
            connect_lifetime: CONNECT_LIFETIME,
            max_open_connects: MAX_OPEN_CONNECTS,
            outbox_max: options.outbox_max,
            log: String::new(),
            log_format: LogFormat::Text,
        };
        let owner = bootstrap(&common, &clock, "Acme").await?;
        let api = latchkey_api::start(serve_config(&common, &options), clock.clone()).await?;
        // Workers make URLs, too, and a port is known once it is taken.
        let common = CommonSettings { public_url: Some(api.public_url.clone()), ..common };
        let http = Http::new(&format!("http://{}", api.addr), owner.expose_key())?;
        let mut app = Self {
            clock,
            sandbox: Arc::new(sandbox),
            receiver,
            http,
            owner,
            options,
            common,
            database,
            api: Some(api),
            workers: Vec::new(),
            dead_letters_expected: 0,
            finished: false,
            files,
        };
        if !app.options.outbound_allow.is_empty() {
            app.register_receiver().await?;
        }
        if app.options.worker {
            app.add_worker().await?;
        }
        app.until_broker_is_up().await?;
        Ok(app)
    }

    /// The API serves before it has reached the broker and declared what is there.
    async fn until_broker_is_up(&self) -> anyhow::Result<()> {
        let ready = format!("{}/readyz", self.http.base());
        eventually(|| async {
            let said = self.http.browse(&ready).await?.json();
            Ok((said["broker"] == "up").then_some(()))
        })
        .await
    }

    /// Adds a worker with the options' pools.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn add_worker(&mut self) -> anyhow::Result<&latchkey_worker::Running> {
        let settings = self.worker_settings(self.options.pools.clone(), 8);
        self.add_worker_with(&settings).await
    }

    /// Adds a worker with settings of its own.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn add_worker_with(
        &mut self,
        settings: &WorkerSettings,
    ) -> anyhow::Result<&latchkey_worker::Running> {
        self.workers.push(latchkey_worker::start(settings, self.clock.clone()).await?);
        self.workers.last().context("a worker was just added")
    }

    /// Adds many workers at once, alike.
    ///
    /// # Errors
    /// When one does not start.
    pub async fn add_workers(
        &mut self,
        count: usize,
        settings: &WorkerSettings,
    ) -> anyhow::Result<()> {
        let starting = (0..count).map(|_| latchkey_worker::start(settings, self.clock.clone()));
        self.workers.extend(futures_util::future::try_join_all(starting).await?);
        Ok(())
    }

    /// Settings of a worker for this app.
    #[must_use]
    pub fn worker_settings(&self, pools: Vec<Pool>, concurrency: u16) -> WorkerSettings {
        WorkerSettings {
            common: self.common.clone(),
            pools,
            concurrency,
            webhook_concurrency: 4,
            db_connections: 2,
            metrics_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            call_timeout_rotating: self.options.call_timeout.unwrap_or(Duration::from_secs(120)),
            call_timeout: self.options.call_timeout.unwrap_or(Duration::from_secs(30)),
            drain: PATIENCE,
            in_doubt_lead: Duration::from_secs(30),
            refusal_confirm: self.options.refusal_confirm,
            brake_after: self.options.brake_after,
            trust_producers: self.options.trust_producers,
            refreshed_events: self.options.refreshed_events,
            event_days: 90,
            sweeps: Vec::new(),
        }
    }

    /// What handlers and sweeps of the first worker work with.
    ///
    /// # Panics
    /// When no worker runs.
    #[must_use]
    pub fn worker_context(&self) -> &latchkey_worker::context::Context {
        self.workers.first().expect("a worker runs").context()
    }

    /// What every process of this app is told.
    #[must_use]
    pub fn common(&self) -> &CommonSettings {
        &self.common
    }

    /// The URL of this app's database for its owner, as `migrate` needs it.
    #[must_use]
    pub fn owner_url(&self) -> &str {
        self.database.url()
    }

    /// A connection pool to this app's database, by the role that API and workers have.
    ///
    /// # Errors
    /// Never, as long as the database's address can be read.
    pub fn db(&self) -> anyhow::Result<Db> {
        let db = Db::new(&boot::servers(&self.common)?.0, 2, self.clock.clone());
        Ok(db.with_keys(KeyStore::new(self.common.read_keyring()?)))
    }

    /// Another organisation in the same installation.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn another_tenant(&self) -> anyhow::Result<latchkey_api::Bootstrapped> {
        bootstrap(&self.common, &self.clock, "Rival").await
    }

    /// One row of a query as JSON, for assertions on what the API does not show.
    ///
    /// # Errors
    /// When the query fails or brings no row.
    pub async fn row(&self, query: &str) -> anyhow::Result<Value> {
        self.database.row(query).await
    }

    /// Changes rows behind the processes' backs, as a crash would have left them.
    ///
    /// # Errors
    /// When the statement fails.
    pub async fn execute(&self, statement: &str) -> anyhow::Result<()> {
        self.database.execute(statement).await
    }

    /// Stops the API: what it committed and did not publish is the relay's work from now on.
    pub async fn stop_api(&mut self) {
        if let Some(api) = self.api.take() {
            api.stop().await;
        }
    }

    /// Watches an exchange of this app's broker from now on.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn tap(&self, exchange: &str) -> anyhow::Result<Tap> {
        Tap::on(&boot::servers(&self.common)?.1, &self.common.broker_prefix, exchange).await
    }

    /// Publishes a body that nobody expects to the exchange of commands.
    ///
    /// # Errors
    /// When the broker does not take it.
    pub async fn publish_raw(
        &self,
        kind: &str,
        routing_key: &str,
        body: &[u8],
    ) -> anyhow::Result<()> {
        let (server, prefix) = (boot::servers(&self.common)?.1, &self.common.broker_prefix);
        broker::publish(&server, &format!("{prefix}.commands"), (kind, routing_key), body).await
    }

    /// Says how many dead letters this test is about.
    pub fn expect_dead_letters(&mut self, count: usize) {
        self.dead_letters_expected = count;
    }
}

/// Looks every 25 ms until there is something to see.
///
/// # Errors
/// When the look fails, or nothing came in time.
pub async fn eventually<T, F, Fut>(look: F) -> anyhow::Result<T>
where
    F: Fn() -> Fut,
    Fut: Future<Output = anyhow::Result<Option<T>>>,
{
    let begun = tokio::time::Instant::now();
    loop {
        if let Some(seen) = look().await? {
            return Ok(seen);
        }
        if begun.elapsed() > PATIENCE {
            eprintln!("{}", logs::last_words());
            return Err(told(anyhow::anyhow!("it did not happen within {} s", PATIENCE.as_secs())));
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// Says at once what went wrong: the app is dropped before the test's own result is shown.
pub(crate) fn told(error: anyhow::Error) -> anyhow::Error {
    eprintln!("{error:?}");
    error
}

/// The URLs of both servers for API and workers.
fn reached(options: &Options, mut urls: [String; 2]) -> anyhow::Result<[SecretString; 2]> {
    for (url, address) in urls.iter_mut().zip(options.through.into_iter().flatten()) {
        *url = moved(url, address)?;
    }
    Ok(urls.map(SecretString::from))
}

fn moved(url: &str, address: SocketAddr) -> anyhow::Result<String> {
    let mut url: Url = url.parse()?;
    url.set_ip_host(address.ip()).map_err(|()| anyhow::anyhow!("{url} has no host"))?;
    url.set_port(Some(address.port())).map_err(|()| anyhow::anyhow!("{url} has no port"))?;
    Ok(url.into())
}

fn secret(variable: &str) -> anyhow::Result<SecretString> {
    SecretRef::Env(variable.to_owned()).resolve().map_err(|why| {
        anyhow::anyhow!(
            "{why}: run the tests with scripts/test, or `eval \"$(scripts/services env)\"` first"
        )
    })
}

async fn bootstrap(
    common: &CommonSettings,
    clock: &Clock,
    organisation: &str,
) -> anyhow::Result<latchkey_api::Bootstrapped> {
    let keys = KeyStore::new(common.read_keyring()?);
    let db = Db::new(&boot::servers(common)?.0, 1, clock.clone()).with_keys(keys);
    let names =
        latchkey_api::Names { organisation: organisation.to_owned(), workspace: "Demo".to_owned() };
    latchkey_api::bootstrap(&db, &names).await
}

fn serve_config(common: &CommonSettings, options: &Options) -> ServeConfig {
    let mut common = common.clone();
    if let Some(url) = &options.api_amqp_url {
        common.amqp_url = url.clone().into();
    }
    let callback_wait = options.callback_wait;
    let mut config = ServeConfig { callback_wait, ..ServeConfig::new(common) };
    (options.serve)(&mut config);
    config
}

fn sandbox_section(sandbox: &Sandbox, options: &Options) -> String {
    let SandboxConfig { client_id, client_secret, .. } = &options.sandbox;
    let url = sandbox.url();
    let mut text = format!(
        "[platforms.SANDBOX]\nbase_url = \"{url}\"\nclient_id = \"{client_id}\"\n\
         client_secret = {{ value = \"{client_secret}\" }}\ndaily_look = {}\n",
        options.daily_look
    );
    if let Some(url) = &options.token_url {
        text.push_str(&format!("token_url = \"{url}\"\n"));
    }
    if options.rotation == Rotation::Stable {
        text.push_str("refresh = \"stable\"\n");
    }
    if let Some(seconds) = options.grace_seconds {
        text.push_str(&format!("rotation_grace_seconds = {seconds}\n"));
    }
    text
}

fn write_platforms(sandbox: &Sandbox, options: &Options, folder: &Path) -> anyhow::Result<PathBuf> {
    let mut text =
        if options.configured { sandbox_section(sandbox, options) } else { String::new() };
    let dns = sandbox.dns_addr().to_string();
    text.push_str(&options.platforms.replace("{sandbox}", sandbox.url()).replace("{dns}", &dns));
    let path = folder.join("platforms.toml");
    std::fs::write(&path, text)?;
    Ok(path)
}
