//! PostPeer's callback: the redirect URI of apps that were made through PostPeer.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};

use super::words;
use crate::compat::words::Word as _;
use crate::extract::Ids;
use crate::problem::Problem;
use crate::state::App;
use crate::web::callback::{Came, answer};

/// Where platforms send browsers back to whose app was made here. What it does is the native callback's.
pub(super) async fn callback(
    State(app): State<Arc<App>>,
    Ids(word): Ids<String>,
    came: Came,
) -> Response {
    match words::Postpeer::read(&word.to_ascii_lowercase()) {
        Some(platform) => answer(&app, platform.ours(), came).await,
        None => Problem::not_found().into_response(),
    }
}
