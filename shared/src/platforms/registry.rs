//! The platforms file (TOML): credentials, and endpoints in another place than usual.
//!
//! ```toml
//! [platforms.SANDBOX]
//! base_url = "http://127.0.0.1:9090"
//! client_id = "latchkey-sandbox-client"
//! client_secret = { env = "LATCHKEY_SANDBOX_CLIENT_SECRET" }   # or { file = "/run/secrets/sandbox" }
//! ```

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::{BUILT_IN, Platform, RefreshModel, Spec};
use crate::config::SecretRef;

/// Why the platforms file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlatformsError {
    /// The file cannot be read.
    #[error("the platforms file {0} cannot be read: {1}")]
    Unreadable(String, std::io::Error),
    /// The file is not what it should be.
    #[error("the platforms file is malformed: {0}")]
    Malformed(#[from] toml::de::Error),
    /// One or more settings are wrong.
    #[error("the platforms file has problems:\n  {}", .0.join("\n  "))]
    Problems(Vec<String>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    platforms: BTreeMap<String, Settings>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    client_id: String,
    client_secret: SecretRef,
    base_url: Option<Url>,
    authorize_url: Option<Url>,
    token_url: Option<Url>,
    revoke_url: Option<Url>,
    identity_url: Option<Url>,
    scopes: Option<Vec<String>>,
    refresh: Option<Refresh>,
    rotation_grace_seconds: Option<u64>,
}

/// How tokens stay alive, where the operator knows better than the platform's description.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Refresh {
    Rotating,
    Stable,
}

/// The platforms that this installation can connect.
#[derive(Clone, Debug, Default)]
pub struct Platforms {
    configured: BTreeMap<String, Platform>,
}

impl Platforms {
    /// Reads the platforms file.
    ///
    /// # Errors
    /// [`PlatformsError`], all problems together.
    pub fn load(path: &Path) -> Result<Self, PlatformsError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| PlatformsError::Unreadable(path.display().to_string(), error))?;
        Self::parse(&text)
    }

    /// Reads the text of a platforms file.
    ///
    /// # Errors
    /// [`PlatformsError`], all problems together.
    pub fn parse(text: &str) -> Result<Self, PlatformsError> {
        let file: File = toml::from_str(text)?;
        let mut configured = BTreeMap::new();
        let mut problems = Vec::new();
        for (id, settings) in file.platforms {
            let spec = BUILT_IN.iter().find(|spec| spec.id == id);
            let platform = spec
                .ok_or_else(|| "is no platform we know".to_owned())
                .and_then(|spec| build(spec, settings));
            match platform {
                Ok(platform) => drop(configured.insert(id, platform)),
                Err(problem) => problems.push(format!("{id}: {problem}")),
            }
        }
        if problems.is_empty() {
            Ok(Self { configured })
        } else {
            Err(PlatformsError::Problems(problems))
        }
    }

    /// The platform of this id, if it is configured. Ids are upper case.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Platform> {
        self.configured.get(id)
    }

    /// Whether the id names a platform at all, configured or not.
    #[must_use]
    pub fn is_known(id: &str) -> bool {
        BUILT_IN.iter().any(|spec| spec.id == id)
    }
}

fn build(spec: &Spec, settings: Settings) -> Result<Platform, String> {
    let base = settings.base_url.clone().or_else(|| spec.base_url.and_then(|url| url.parse().ok()));
    let endpoint = |given: Option<Url>, path: &str| -> Result<Url, String> {
        let url = match (given, &base) {
            (Some(url), _) => url,
            (None, Some(base)) => join(base, path)?,
            (None, None) => path.parse().map_err(|_| "base_url is missing".to_owned())?,
        };
        check_endpoint(url)
    };
    let revoke = match spec.revoke {
        Some((path, reach)) => Some((endpoint(settings.revoke_url, path)?, reach)),
        None => None,
    };
    let scopes = settings
        .scopes
        .unwrap_or_else(|| spec.default_scopes.iter().map(ToString::to_string).collect());
    Ok(Platform {
        id: spec.id.to_owned(),
        name: spec.name.to_owned(),
        authorize_url: endpoint(settings.authorize_url, spec.authorize)?,
        token_url: endpoint(settings.token_url, spec.token)?,
        revoke,
        identity_url: endpoint(settings.identity_url, spec.identity)?,
        client_auth: spec.client_auth,
        pkce: spec.pkce,
        scope_separator: spec.scope_separator,
        default_scopes: scopes,
        token_lifetime: spec.token_lifetime,
        refresh: refresh(spec.refresh, settings.refresh, settings.rotation_grace_seconds),
        identity_mapping: spec.identity_mapping,
        client_id: settings.client_id,
        client_secret: settings.client_secret.resolve()?,
    })
}

fn join(base: &Url, path: &str) -> Result<Url, String> {
    let mut base = base.clone();
    if !base.path().ends_with('/') {
        base.set_path(&format!("{}/", base.path()));
    }
    base.join(path).map_err(|error| format!("base_url cannot carry `{path}`: {error}"))
}

/// Tokens and secrets go to these addresses: only encrypted, or to this very machine.
fn check_endpoint(url: Url) -> Result<Url, String> {
    let loopback = match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        // RFC 6761 §6.3: these names are this very machine, too.
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if loopback => Ok(url),
        _ => Err(format!("{url} must be https, or http on loopback")),
    }
}

fn refresh(model: RefreshModel, said: Option<Refresh>, grace: Option<u64>) -> RefreshModel {
    let model = match said {
        Some(Refresh::Rotating) => RefreshModel::Rotating { grace: None },
        Some(Refresh::Stable) => RefreshModel::Stable,
        None => model,
    };
    match (model, grace) {
        (RefreshModel::Rotating { .. }, Some(seconds)) => {
            RefreshModel::Rotating { grace: (seconds > 0).then(|| Duration::from_secs(seconds)) }
        }
        (model, _) => model,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "client_secret = { value = \"shh\" }";

    #[test]
    fn the_sandbox_needs_a_base_url_and_credentials() {
        let good = format!(
            "[platforms.SANDBOX]\nbase_url = \"http://127.0.0.1:9\"\nclient_id = \"c\"\n{SECRET}"
        );
        let platforms = Platforms::parse(&good).unwrap();
        assert_eq!(
            platforms.get("SANDBOX").unwrap().token_url.as_str(),
            "http://127.0.0.1:9/token"
        );
        let bare = format!("[platforms.SANDBOX]\nclient_id = \"c\"\n{SECRET}");
        assert!(Platforms::parse(&bare).unwrap_err().to_string().contains("base_url is missing"));
    }

    #[test]
    fn the_operator_says_how_tokens_stay_alive() {
        let model = |more: &str| {
            let text = format!(
                "[platforms.SANDBOX]\nbase_url = \"http://127.0.0.1:9\"\nclient_id = \"c\"\n{SECRET}\n{more}"
            );
            Platforms::parse(&text).unwrap().get("SANDBOX").unwrap().refresh
        };
        let grace = |seconds| RefreshModel::Rotating { grace: Some(Duration::from_secs(seconds)) };
        assert_eq!(model(""), RefreshModel::Rotating { grace: None });
        assert_eq!(model("rotation_grace_seconds = 30"), grace(30));
        assert_eq!(model("rotation_grace_seconds = 0"), RefreshModel::Rotating { grace: None });
        assert_eq!(model("refresh = \"stable\""), RefreshModel::Stable);
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let text = format!(
            "[platforms.NOWHERE]\nclient_id = \"c\"\n{SECRET}\n\
             [platforms.SANDBOX]\nbase_url = \"http://example.com\"\nclient_id = \"c\"\n{SECRET}"
        );
        let message = Platforms::parse(&text).unwrap_err().to_string();
        assert!(message.contains("NOWHERE") && message.contains("must be https"), "{message}");
    }

    #[test]
    fn a_secret_does_not_show_in_debug() {
        let text = format!(
            "[platforms.SANDBOX]\nbase_url = \"https://s.example\"\nclient_id = \"c\"\n{SECRET}"
        );
        assert!(!format!("{:?}", Platforms::parse(&text).unwrap()).contains("shh"));
    }
}
