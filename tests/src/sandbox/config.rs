//! What a sandbox can be told before it starts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use chrono::TimeDelta;
use latchkey_shared::clock::Clock;

/// What happens to a refresh token when it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// Each refresh spends it; presenting a spent one again ends the family (RFC 9700 §4.14.2).
    Strict,
    /// As strict, but for this long after it was spent the same new pair is answered again.
    Grace(Duration),
    /// It stays the same, and refresh answers carry none.
    Stable,
}

/// The settings of one [`Sandbox`](super::Sandbox).
#[derive(Clone, Debug)]
pub struct SandboxConfig {
    /// Where to listen; port 0 takes any free one.
    pub listen: SocketAddr,
    /// The client that the sandbox knows from the start.
    pub client_id: String,
    /// That client's secret.
    pub client_secret: String,
    /// The redirect URIs registered for the client; none means any https or loopback URL.
    pub redirect_uris: Vec<String>,
    /// How long access tokens live, unless the person chose otherwise on the consent page.
    pub access_lifetime: Duration,
    /// How long each refresh token lives, reported as `refresh_token_expires_in`; none is for ever.
    pub refresh_lifetime: Option<Duration>,
    /// What a refresh does to the refresh token.
    pub rotation: Rotation,
    /// Where the ledger is also written, one JSON object a line.
    pub ledger_file: Option<PathBuf>,
    /// The time by which codes and tokens end.
    pub clock: Clock,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            client_id: "latchkey-sandbox-client".to_owned(),
            client_secret: "latchkey-sandbox-secret-for-development-only".to_owned(),
            redirect_uris: Vec::new(),
            access_lifetime: Duration::from_secs(3600),
            refresh_lifetime: None,
            rotation: Rotation::Strict,
            ledger_file: None,
            clock: Clock::system(),
        }
    }
}

/// Saturates: nobody configures a lifetime that chrono cannot hold and means it.
pub(super) fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}
