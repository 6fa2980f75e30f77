//! `SANDBOX`: our own authorization server, for trying out, for tests and for benchmarks.

use std::time::Duration;

use super::{ClientAuth, IdentityMapping, Pkce, Reach, RefreshModel, Spec};

/// A strict server: refresh tokens rotate, and a spent one presented again ends the consent.
pub const SANDBOX: Spec = Spec {
    id: "SANDBOX",
    name: "Sandbox",
    base_url: None,
    authorize: "authorize",
    token: "token",
    revoke: Some(("revoke", Reach::Token)),
    identity: "userinfo",
    client_auth: ClientAuth::Basic,
    pkce: Pkce::S256,
    scope_separator: " ",
    default_scopes: &["profile", "posts.write", "offline_access"],
    token_lifetime: Duration::from_secs(3600),
    refresh: RefreshModel::Rotating { grace: None },
    identity_mapping: IdentityMapping::OPENID,
};
