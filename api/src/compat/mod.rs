//! The dialects: other products' published contracts, translated to our operations and back. They hold no
//! rules and touch no table.

mod dialect;
mod lists;
mod ocoya;
mod openapi;
mod postato;
mod postbreeze;
mod postpeer;
mod woopsocial;

use std::sync::Arc;

use axum::Router;
use latchkey_shared::db::workspaces::Workspace;
use latchkey_shared::ids::WorkspaceId;
pub(crate) use latchkey_shared::words;
use url::Url;
use utoipa::openapi::OpenApi;

use crate::auth::Caller;
use crate::code::Code;
use crate::problem::Problem;
use crate::routes::connects::StartedConnect;
use crate::state::App;
use dialect::Dialect;

/// Every product that is spoken.
static ALL: [&Dialect; 5] = [
    &postbreeze::DIALECT,
    &postato::DIALECT,
    &postpeer::DIALECT,
    &woopsocial::DIALECT,
    &ocoya::DIALECT,
];

/// Their routes, each below `/compat/<name>`.
pub(crate) fn router(app: &Arc<App>) -> Router<Arc<App>> {
    ALL.iter().fold(Router::new(), |router, dialect| {
        router.nest(&format!("/compat/{}", dialect.name), dialect.router(app))
    })
}

/// The document of each dialect, by its name.
pub fn documents() -> impl Iterator<Item = (&'static str, OpenApi)> {
    ALL.iter().map(|dialect| (dialect.name, openapi::document(dialect)))
}

/// The workspace that a request is about: the one that it names, else the key's own.
async fn workspace(app: &App, caller: &Caller, named: Option<&str>) -> Result<Workspace, Problem> {
    let id: WorkspaceId = match named {
        Some(id) => id.parse().map_err(|_| Problem::not_found())?,
        None => caller.workspace_id.clone().ok_or_else(|| {
            Problem::new(
                Code::ForbiddenReach,
                "Use a key that is limited to a workspace: it says which one is meant, and this one \
                 reaches the whole organisation.",
            )
        })?,
    };
    caller.workspace(&mut *app.conn().await?, &id).await
}

/// Where the person's browser has to go.
fn url_of(started: &StartedConnect) -> Result<Url, Problem> {
    let url = started.authorize_url.clone();
    url.ok_or_else(|| Problem::internal(anyhow::anyhow!("no URL for {}", started.connect_id)))
}
