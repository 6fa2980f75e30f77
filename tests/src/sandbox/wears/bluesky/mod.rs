//! Bluesky, all of it at once: the directory of DIDs (`/plc.directory`), the hosts of handles (`/handles`
//! and a name server), and everybody's personal data server (`/xrpc`, at the root).
//!
//! Whoever is named `sam` goes by `sam.test`. What a name begins with says how it is found and how the
//! account stands: `dns-` by the DNS alone, `2fa-`, `takendown-`, `suspended-`, `deactivated-`. `impostor-sam` has
//! a server whose profile says that they are Sam.

mod accounts;
mod directory;
mod dns;
mod jwt;
mod people;
mod server;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use serde_json::json;

pub(in crate::sandbox) use accounts::Accounts;
pub(in crate::sandbox) use dns::NameServer;
pub(in crate::sandbox) use people::Password;

use crate::sandbox::answer::Answer;
use crate::sandbox::dialect::{Dialect, Problem};
use crate::sandbox::state::Shared;

pub(in crate::sandbox) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/plc.directory/{did}", get(directory::document))
        .route("/handles/{handle}/.well-known/atproto-did", get(directory::well_known))
        .route("/xrpc/com.atproto.server.createSession", post(server::create_session))
        .route("/xrpc/com.atproto.server.refreshSession", post(server::refresh_session))
        .route("/xrpc/com.atproto.server.deleteSession", post(server::delete_session))
        .route("/xrpc/app.bsky.actor.getProfile", get(server::profile))
}

const PLATFORM: &str = "BLUESKY";

/// In words of its own only where a fault asks for them: the server says what it means.
static DIALECT: Dialect = Dialect {
    platform: Some(PLATFORM),
    vendor: None,
    refuse: |problem, _| match problem {
        Problem::Code | Problem::Mismatch | Problem::Client => accounts::WRONG_PASSWORD.answer(),
        Problem::Refresh | Problem::Ended => accounts::REVOKED.answer(),
        Problem::Expired => accounts::EXPIRED.answer(),
        Problem::Token | Problem::Request | Problem::RoleLost => accounts::FORGED.answer(),
    },
};

/// An error in the shape of XRPC (<https://atproto.com/specs/xrpc#error-responses>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refusal {
    status: u16,
    error: &'static str,
    message: &'static str,
}

const fn refusal(status: u16, error: &'static str, message: &'static str) -> Refusal {
    Refusal { status, error, message }
}

impl Refusal {
    fn answer(self) -> Answer {
        Answer::of(self.status, json!({ "error": self.error, "message": self.message }))
    }
}
