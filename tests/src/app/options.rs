//! What a test may want otherwise than usual.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use latchkey_api::ServeConfig;
use latchkey_shared::config::OUTBOX_MAX;
use latchkey_worker::settings::Pool;

use crate::SandboxConfig;
use crate::sandbox::Rotation;

/// What a test wants otherwise than usual.
#[derive(Clone, Debug)]
pub struct Options {
    /// How the sandbox treats refresh tokens.
    pub rotation: Rotation,
    /// What Latchkey is told of the sandbox's grace window.
    pub grace_seconds: Option<u64>,
    /// Whether accounts at the sandbox are looked at once a day: calls that most tests do not expect.
    pub daily_look: bool,
    /// How long access tokens live.
    pub access_lifetime: Duration,
    /// How long refresh tokens live, if they end.
    pub refresh_lifetime: Option<Duration>,
    /// Whether a worker runs from the start.
    pub worker: bool,
    /// The worker's pools.
    pub pools: Vec<Pool>,
    /// PostgreSQL and RabbitMQ, if not those that all tests share.
    pub servers: Option<(String, String)>,
    /// What the names in the broker begin with, if the test is about names.
    pub broker_prefix: Option<String>,
    /// The certificate authority of those servers.
    pub ca_file: Option<PathBuf>,
    /// The certificate authority of platforms and receivers.
    pub outbound_ca_file: Option<PathBuf>,
    /// The proxy through which they are called.
    pub outbound_proxy: Option<String>,
    /// Where the API thinks the broker is, if not where it is.
    pub api_amqp_url: Option<String>,
    /// Where API and workers find PostgreSQL and RabbitMQ, if not where they are.
    pub through: Option<[SocketAddr; 2]>,
    /// How long a callback waits for its outcome.
    pub callback_wait: Duration,
    /// How long calls to the platform may take, if not as long as usual.
    pub call_timeout: Option<Duration>,
    /// Where Latchkey thinks the token endpoint is, if not where it is.
    pub token_url: Option<String>,
    /// Whether the platforms file names the sandbox.
    pub configured: bool,
    /// More sections of the platforms file; `{sandbox}` stands for the sandbox's address, `{dns}` for its
    /// name server's.
    pub platforms: String,
    /// How far apart two clear refusals must be that end an account. Nothing here: a test of something else
    /// need not wait for the second.
    pub refusal_confirm: Duration,
    /// How many accounts that fail in a row put the brake on. Many: most tests let each account fail in a way
    /// of its own.
    pub brake_after: u16,
    /// Whether workers take requests from producers that no key stands behind.
    pub trust_producers: bool,
    /// Where webhooks may go besides public addresses; where nowhere, the receiver hears nothing.
    pub outbound_allow: Vec<IpNet>,
    /// How many messages may wait before the API and the workers refuse new work.
    pub outbox_max: i64,
    /// Whether every refresh is told as an event.
    pub refreshed_events: bool,
    /// The rest of the sandbox's settings.
    pub sandbox: SandboxConfig,
    /// What the API is told besides.
    pub serve: fn(&mut ServeConfig),
}

impl Default for Options {
    fn default() -> Self {
        Self {
            rotation: Rotation::Strict,
            grace_seconds: None,
            daily_look: false,
            access_lifetime: Duration::from_secs(3600),
            refresh_lifetime: None,
            worker: true,
            pools: vec![
                Pool::Requests,
                Pool::Connect,
                Pool::Refresh,
                Pool::Revocation,
                Pool::Webhook,
                Pool::Sweeps,
            ],
            servers: None,
            broker_prefix: None,
            ca_file: None,
            outbound_ca_file: None,
            outbound_proxy: None,
            api_amqp_url: None,
            through: None,
            callback_wait: Duration::from_secs(5),
            call_timeout: None,
            token_url: None,
            configured: true,
            platforms: String::new(),
            refusal_confirm: Duration::ZERO,
            brake_after: 1000,
            trust_producers: false,
            outbound_allow: vec!["127.0.0.0/8".parse().expect("this is a network")],
            outbox_max: OUTBOX_MAX,
            refreshed_events: false,
            sandbox: SandboxConfig::default(),
            serve: |_| {},
        }
    }
}
