//! A connect's own page: progress while it is open, then on to the application or to the result.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use latchkey_shared::db::connects::{self, Connect};
use latchkey_shared::ids::ConnectId;

use super::cookie;
use super::page::Page;
use crate::problem::Problem;
use crate::request::RequestId;
use crate::state::App;

/// The page that shows a person how their connect goes. It finishes by itself.
#[utoipa::path(
    get, path = "/connect/{con}", tag = "browser", operation_id = "connectPage", security(()),
    params(("con" = String, Path, description = "The connect")),
    responses(
        (status = OK, description = "Progress, or the result", content_type = "text/html", body = String),
        (status = SEE_OTHER, description = "To `redirectUrl`, once the connect has ended"),
        (status = NOT_FOUND, description = "A page: the browser does not hold this connect's cookie", content_type = "text/html", body = String),
    ),
)]
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    Extension(request_id): Extension<RequestId>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    match open(&app, &id, &headers).await {
        Ok(response) => response,
        Err(problem) => super::problem_page(&problem, &request_id),
    }
}

async fn open(app: &Arc<App>, id: &str, headers: &HeaderMap) -> Result<Response, Problem> {
    let connect = find(app, id, headers).await?.ok_or_else(Problem::not_found)?;
    if connect.status.is_final() {
        return super::end(app, &connect).await;
    }
    let platform = super::platform_name(app, &connect.platform);
    Ok(Page::progress(&platform).respond(StatusCode::OK))
}

async fn find(app: &App, id: &str, headers: &HeaderMap) -> Result<Option<Connect>, Problem> {
    let Ok(id) = id.parse::<ConnectId>() else {
        return Ok(None);
    };
    let Some(page_hash) = cookie::hash_of(headers, &app.public_url) else {
        return Ok(None);
    };
    let mut conn = app.conn().await?;
    Ok(connects::find_by_page(&mut conn, &id, &page_hash).await?)
}
