//! A connect's own page: progress while it is open, the choice while there is one, then on to the
//! application or to the result.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use latchkey_shared::db::connects::{self, Connect};
use latchkey_shared::ids::ConnectId;
use url::Url;

use super::page::Page;
use super::{cookie, picker};
use crate::problem::Problem;
use crate::request::RequestId;
use crate::state::App;

/// The query by which the page answers a form: it leads nowhere itself, its next look does.
pub(super) const CHOSEN: &str = "chosen";

/// The page that shows a person how their connect goes, and lets them choose what to connect. Otherwise
/// it finishes by itself.
#[utoipa::path(
    get, path = "/connect/{con}", tag = "browser", operation_id = "connectPage", security(()),
    params(("con" = String, Path, description = "The connect")),
    responses(
        (status = OK, description = "Progress, a choice, or the result", content_type = "text/html", body = String),
        (status = SEE_OTHER, description = "To `redirectUrl`, once the connect has ended"),
        (status = NOT_FOUND, description = "A page: the browser does not hold this connect's cookie", content_type = "text/html", body = String),
    ),
)]
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    Extension(request_id): Extension<RequestId>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let chosen = query.as_deref() == Some(CHOSEN);
    match open(&app, &id, &headers, chosen).await {
        Ok(response) => response,
        Err(problem) => super::problem_page(&problem, &request_id),
    }
}

async fn open(
    app: &Arc<App>,
    id: &str,
    headers: &HeaderMap,
    chosen: bool,
) -> Result<Response, Problem> {
    let connect = find(app, id, headers).await?.ok_or_else(Problem::not_found)?;
    let platform = super::platform_name(app, &connect.platform);
    if chosen {
        let next = address(app, &connect.id);
        return Ok(Page::progress(&platform).then(next).respond(StatusCode::OK));
    }
    if connect.status.is_final() {
        return super::end(app, &connect).await;
    }
    if picker::is_open(&connect) {
        return picker::show(app, &connect, None).await;
    }
    Ok(Page::progress(&platform).respond(StatusCode::OK))
}

/// Where the page is.
pub(super) fn address(app: &App, id: &ConnectId) -> String {
    app.url(&format!("/connect/{id}"))
}

/// The link to a connect's first page: opening it consumes nothing, its button does.
pub(crate) fn link(app: &App, id: &ConnectId, link: &str) -> Url {
    let url = format!("{}?link={link}", address(app, id));
    url.parse().expect("an address of ours with a token is a URL")
}

/// The connect whose cookie the browser holds.
pub(super) async fn find(
    app: &App,
    id: &str,
    headers: &HeaderMap,
) -> Result<Option<Connect>, Problem> {
    let Ok(id) = id.parse::<ConnectId>() else {
        return Ok(None);
    };
    let Some(page_hash) = cookie::hash_of(headers, &app.public_url) else {
        return Ok(None);
    };
    let mut conn = app.conn().await?;
    Ok(connects::find_by_page(&mut conn, &id, &page_hash).await?)
}
