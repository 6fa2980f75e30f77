//! `SANDBOX`: our own authorization server, for trying out, for tests and for benchmarks.

use std::time::Duration;

use super::{ClientAuth, Flow, IdentityMapping, Pkce, Quirks, Reach, RefreshModel, Spec, Urls};

/// A strict server: refresh tokens rotate, and a spent one presented again ends the consent.
pub const SANDBOX: Spec = Spec {
    id: "SANDBOX",
    name: "Sandbox",
    flow: Flow::AuthorizationCode,
    version: None,
    urls: Urls { revoke: Some("revoke"), ..Urls::new("authorize", "token", "userinfo") },
    client_auth: Some(ClientAuth::Basic),
    pkce: Pkce::S256,
    scope_separator: " ",
    default_scopes: &["profile", "posts.write", "offline_access"],
    authorize_parameters: &[],
    token_lifetime: Some(Duration::from_secs(3600)),
    refresh: RefreshModel::Rotating { grace: None },
    reach: Reach::Token,
    identity_mapping: IdentityMapping::OPENID,
    // Tokens may live for seconds there: how often they are refreshed is what is tried out.
    quirks: Quirks { refresh_spacing: Duration::ZERO, ..Quirks::STANDARD },
};
