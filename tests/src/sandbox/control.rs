//! The control API: what the ledger and the families say, faults, and what people do at the platform.
//! [`HELP`] is its documentation, and `latchkey-sandbox serve --help` shows it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Password;
use super::faults::FaultRule;
use super::ledger::{Kind, LedgerEntry};
use super::state::Shared;
use super::wears::Page;

/// How to use the control API from a shell.
pub const HELP: &str = include_str!("control.txt");

/// Which entries are wanted; each member narrows.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    user: Option<String>,
    kind: Option<Kind>,
    after: Option<u64>,
}

impl Wanted {
    fn fits(&self, entry: &LedgerEntry) -> bool {
        (self.user.is_none() || self.user == entry.user)
            && self.kind.is_none_or(|kind| kind == entry.kind)
            && self.after.is_none_or(|after| entry.seq > after)
    }
}

pub(super) async fn ledger(
    State(shared): State<Arc<Shared>>,
    Query(wanted): Query<Wanted>,
) -> Json<Value> {
    let books = shared.books();
    let entries = books.ledger.entries().iter().filter(|entry| wanted.fits(entry));
    Json(json!({ "entries": entries.collect::<Vec<_>>() }))
}

/// Whose families are wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Whose {
    user: Option<String>,
}

pub(super) async fn families(
    State(shared): State<Arc<Shared>>,
    Query(whose): Query<Whose>,
) -> Json<Value> {
    let families = shared.books().families(whose.user.as_deref(), shared.now());
    Json(json!({ "families": families }))
}

pub(super) async fn faults(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(json!({ "faults": shared.books().faults.rules() }))
}

pub(super) async fn add_fault(
    State(shared): State<Arc<Shared>>,
    Json(rule): Json<FaultRule>,
) -> StatusCode {
    shared.books().faults.add(rule);
    StatusCode::NO_CONTENT
}

pub(super) async fn clear_faults(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.books().faults.clear();
    StatusCode::NO_CONTENT
}

pub(super) async fn remove_person(
    State(shared): State<Arc<Shared>>,
    Path(user): Path<String>,
) -> Json<Value> {
    Json(json!({ "families": shared.remove_person(&user) }))
}

/// What a person types in where Bluesky is connected.
pub(super) async fn app_password(
    State(shared): State<Arc<Shared>>,
    Path(user): Path<String>,
) -> Json<Value> {
    let password = shared.books().bluesky.tell(&user, Password::App);
    Json(json!({ "handle": format!("{user}.test"), "appPassword": password }))
}

pub(super) async fn set_pages(
    State(shared): State<Arc<Shared>>,
    Path(user): Path<String>,
    Json(pages): Json<Vec<Page>>,
) -> StatusCode {
    shared.books().pages.set(&user, pages);
    StatusCode::NO_CONTENT
}

pub(super) async fn end_page(
    State(shared): State<Arc<Shared>>,
    Path(page): Path<String>,
) -> StatusCode {
    shared.books().store.end_page(&page);
    StatusCode::NO_CONTENT
}

pub(super) async fn requests(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(json!({ "requests": shared.books().requests }))
}
