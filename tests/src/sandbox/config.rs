//! What a sandbox can be told before it starts.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use chrono::TimeDelta;
use latchkey_shared::clock::Clock;
use serde_json::{Map, Value};

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

/// How the client must prove who it is (RFC 6749 §2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuthentication {
    /// As it likes.
    Either,
    /// HTTP Basic alone.
    Basic,
    /// In the form alone.
    Body,
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
    /// How that client must prove who it is.
    pub client_authentication: ClientAuthentication,
    /// What each request to the token endpoint must say besides what the standard asks for.
    pub token_parameters: BTreeMap<String, String>,
    /// Whether an authorization without PKCE is refused.
    pub requires_pkce: bool,
    /// What the metadata say otherwise than they should; null leaves a member out.
    pub metadata: Map<String, Value>,
    /// Whom the ID token names that comes with a code's tokens; none is no ID token. Nobody signs it.
    pub id_token_subject: Option<String>,
    /// The redirect URIs registered for the client; none means any https or loopback URL.
    pub redirect_uris: Vec<String>,
    /// How long access tokens live, unless the person chose otherwise on the consent page.
    pub access_lifetime: Duration,
    /// How long each refresh token lives, reported as `refresh_token_expires_in`; none is for ever.
    pub refresh_lifetime: Option<Duration>,
    /// What a refresh does to the refresh token.
    pub rotation: Rotation,
    /// How long the standard's codes live. RFC 6749 §4.1.2 allows ten minutes at most, X gives 30 seconds.
    pub code_lifetime: Duration,
    /// Whether `offline_access` counts only with `prompt=consent` (OpenID Connect Core 1.0 §11): without both there
    /// is no refresh token then, and no answer repeats it.
    pub offline_by_consent: bool,
    /// Whether LinkedIn gives refresh tokens: only apps that it has approved get them.
    pub linkedin_refresh_tokens: bool,
    /// Whether Instagram answers a code flat, as seen in the field, and not as its documents say.
    pub instagram_flat: bool,
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
            client_authentication: ClientAuthentication::Either,
            token_parameters: BTreeMap::new(),
            requires_pkce: true,
            metadata: Map::new(),
            id_token_subject: None,
            redirect_uris: Vec::new(),
            access_lifetime: Duration::from_secs(3600),
            refresh_lifetime: None,
            rotation: Rotation::Strict,
            code_lifetime: Duration::from_secs(60),
            offline_by_consent: false,
            linkedin_refresh_tokens: true,
            instagram_flat: false,
            ledger_file: None,
            clock: Clock::system(),
        }
    }
}

/// Saturates: nobody configures a lifetime that chrono cannot hold and means it.
pub(super) fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}
