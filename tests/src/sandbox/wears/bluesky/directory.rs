//! Who a handle belongs to, and where an account lives.

use std::sync::Arc;

use axum::extract::{ConnectInfo, Path, State};
use axum::response::Response;
use serde_json::{Value, json};

use super::{DIALECT, people};
use crate::loopback::OnLink;
use crate::sandbox::answer::Answer;
use crate::sandbox::call::{self, Call};
use crate::sandbox::faults::Endpoint;
use crate::sandbox::ledger::Kind;
use crate::sandbox::state::Shared;

/// `GET /plc.directory/{did}`.
pub(super) async fn document(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(link): OnLink,
    Path(did): Path<String>,
) -> Response {
    let user = shared.books().bluesky.user(&did).filter(|_| did.starts_with("did:plc:"));
    let call = Call { user: user.clone(), ..Call::new(Endpoint::Resolve, did, &DIALECT) };
    call::run(&shared, &link, call, |books, note| {
        let answer = match &user {
            Some(user) => Answer::ok(did_document(user, &shared.url)),
            None => Answer::of(404, json!({ "message": "DID not registered" })),
        };
        books.ledger.append(note.entry(Kind::Resolved, answer.outcome()));
        answer
    })
    .await
}

/// `GET /handles/{handle}/.well-known/atproto-did`, for everybody whom the DNS does not know.
pub(super) async fn well_known(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(link): OnLink,
    Path(handle): Path<String>,
) -> Response {
    let user = people::user_of_handle(&handle).map(str::to_owned);
    let call = Call { user: user.clone(), ..Call::new(Endpoint::Resolve, handle, &DIALECT) };
    call::run(&shared, &link, call, |books, note| {
        let answer = match user.filter(|user| !people::is_in_the_dns(user)) {
            Some(user) => Answer::plain(books.bluesky.meet(&user)),
            None => Answer::of(404, Value::Null),
        };
        books.ledger.append(note.entry(Kind::Resolved, answer.outcome()));
        answer
    })
    .await
}

pub(super) fn did_document(user: &str, url: &str) -> Value {
    let did = people::did(user);
    json!({
        "@context": ["https://www.w3.org/ns/did/v1"],
        "id": did,
        "alsoKnownAs": [format!("at://{}", people::handle(user))],
        "verificationMethod": [],
        "service": [{
            "id": "#atproto_pds",
            "type": "AtprotoPersonalDataServer",
            "serviceEndpoint": url,
        }],
    })
}
