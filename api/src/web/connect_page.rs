//! A connect's own page: how to begin, progress while it is open, the choice while there is one, then on to
//! the application or to the result.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use latchkey_shared::db::connects::{self, Connect, ConnectStatus};
use latchkey_shared::ids::ConnectId;
use latchkey_shared::operations::start_connect::{self, LINK};
use latchkey_shared::platforms::Flow;
use url::form_urlencoded;

use super::page::Page;
use super::start::{self, Visit};
use super::{cookie, onward, picker};
use crate::problem::Problem;
use crate::request::RequestId;
use crate::routes::connects::find_platform;
use crate::state::App;

/// The query by which the page answers a form. Browsers hold every redirect after a form to the policy of
/// the page that it was on: so the answer is a page of ours, which leads on by itself.
pub(super) const GO: &str = "go";

/// The page of a connect. With `link`, which `connectUrl` has, it shows the person what is about to be
/// connected; opening it consumes nothing. Under the cookie it shows how the connect goes, and lets the
/// person choose what to connect; otherwise it finishes by itself.
#[utoipa::path(
    get, path = "/connect/{con}", tag = "browser", operation_id = "connectPage", security(()),
    params(
        ("con" = String, Path, description = "The connect"),
        ("link" = Option<String>, Query, description = "What `connectUrl` came with; a browser that holds the connect's cookie needs none"),
    ),
    responses(
        (status = OK, description = "The first page, progress, a choice, or the result", content_type = "text/html", body = String),
        (status = SEE_OTHER, description = "To `redirectUrl`, once the connect has ended or is to be claimed"),
        (status = BAD_REQUEST, description = "A page: `STATE_UNKNOWN`, the link is not this connect's", content_type = "text/html", body = String),
        (status = NOT_FOUND, description = "A page: neither link nor cookie", content_type = "text/html", body = String),
        (status = CONFLICT, description = "A page: `LINK_USED`, in another browser; `STATE_USED`, the connect has gone on or was cancelled", content_type = "text/html", body = String),
        (status = GONE, description = "A page: `STATE_EXPIRED`", content_type = "text/html", body = String),
        (status = SERVICE_UNAVAILABLE, description = "A page: `PLATFORM_UNAVAILABLE` or `UNAVAILABLE`", content_type = "text/html", body = String),
    ),
)]
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    Extension(request_id): Extension<RequestId>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let query = query.unwrap_or_default();
    let link = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == LINK);
    let opened = match link {
        Some((_, link)) => start::open(&app, &id, link.into_owned(), &headers).await,
        None => open(&app, &id, &headers, query == GO).await,
    };
    match opened {
        Ok(response) => response,
        Err(problem) => super::problem_page(&problem, &request_id),
    }
}

async fn open(
    app: &Arc<App>,
    id: &str,
    headers: &HeaderMap,
    going: bool,
) -> Result<Response, Problem> {
    let connect = find(app, id, headers).await?.ok_or_else(Problem::not_found)?;
    let platform = super::platform_name(app, &connect.platform);
    if connect.status == ConnectStatus::Pending {
        return begin(app, connect, &platform, going).await;
    }
    if going {
        let next = address(app, &connect.id);
        return Ok(Page::progress(&platform).then(&next).respond(StatusCode::OK));
    }
    if let Some(url) = super::destination(app, &connect).await? {
        return Ok(Redirect::to(url.as_str()).into_response());
    }
    if connect.status.is_final() {
        return super::end(app, &connect).await;
    }
    if picker::is_open(&connect) {
        return picker::show(app, &connect).await;
    }
    Ok(Page::progress(&platform).respond(StatusCode::OK))
}

/// The person has pressed the button, and is not back yet.
async fn begin(
    app: &Arc<App>,
    connect: Connect,
    platform: &str,
    going: bool,
) -> Result<Response, Problem> {
    let approves = find_platform(app, &connect.platform)?.flow == Flow::AuthorizationCode;
    let visit = Visit::under_cookie(connect);
    visit.check(app)?;
    if going && approves {
        let url = onward::authorize_url(app, visit.connect()).await?;
        return Ok(Page::leaving(platform, &url).respond(StatusCode::OK));
    }
    visit.show(app, None).await
}

/// Where the page is.
pub(super) fn address(app: &App, id: &ConnectId) -> String {
    start_connect::page(&app.public_url, id)
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
    let Some(page_hash) = cookie::hash_of(headers, &id, &app.public_url) else {
        return Ok(None);
    };
    let mut conn = app.conn().await?;
    Ok(connects::find_by_page(&mut conn, &id, &page_hash).await?)
}
