//! Where the endpoints are: OpenID Connect Discovery 1.0 §3, RFC 8414 §2.

use std::sync::Arc;

use axum::extract::{ConnectInfo, State};
use axum::response::Response;
use serde_json::{Value, json};

use super::answer::Answer;
use super::call::{self, Call};
use super::config::ClientAuthentication;
use super::dialect::STANDARD;
use super::faults::Endpoint;
use super::ledger::Kind;
use super::state::Shared;
use crate::loopback::OnLink;

pub(super) async fn metadata(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(link): OnLink,
) -> Response {
    let call = Call::new(Endpoint::Metadata, "", &STANDARD);
    call::run(&shared, &link, call, |books, note| {
        note.say(books, Kind::Metadata, Answer::ok(document(&shared)))
    })
    .await
}

fn document(shared: &Shared) -> Value {
    let url = &shared.url;
    let client_authentication: &[&str] = match shared.config.client_authentication {
        ClientAuthentication::Either => &["client_secret_basic", "client_secret_post"],
        ClientAuthentication::Basic => &["client_secret_basic"],
        ClientAuthentication::Body => &["client_secret_post"],
    };
    let mut document = json!({
        "issuer": url,
        "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": format!("{url}/token"),
        "token_endpoint_auth_methods_supported": client_authentication,
        "revocation_endpoint": format!("{url}/revoke"),
        "revocation_endpoint_auth_methods_supported": client_authentication,
        "userinfo_endpoint": format!("{url}/userinfo"),
        "response_types_supported": ["code"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
    });
    for (member, value) in &shared.config.metadata {
        document[member] = value.clone();
    }
    if let Value::Object(members) = &mut document {
        members.retain(|_, value| !value.is_null());
    }
    document
}
