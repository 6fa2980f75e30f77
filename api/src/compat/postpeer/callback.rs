//! PostPeer's callback: the redirect URI of apps that were made through PostPeer.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::http::Method;
use axum::response::{IntoResponse as _, Response};

use super::words;
use crate::compat::words::Word as _;
use crate::problem::Problem;
use crate::request::RequestId;
use crate::state::App;
use crate::web;

/// Where platforms send browsers back to whose app was made here. What it does is the native callback's.
pub(super) async fn callback(
    app: State<Arc<App>>,
    request_id: Extension<RequestId>,
    method: Method,
    Path(word): Path<String>,
    query: RawQuery,
) -> Response {
    match words::Postpeer::read(&word.to_ascii_lowercase()) {
        Some(platform) => {
            let id = Path(platform.ours().to_owned());
            web::callback::callback(app, request_id, method, id, query).await
        }
        None => Problem::not_found().into_response(),
    }
}
