//! Who is signed in at a browser. The cookie is random and stands hashed in the database; it may do what its key
//! may, and dies with it.

use axum::http::HeaderMap;
use axum::response::Response;
use latchkey_shared::db::api_keys::ApiKey;
use latchkey_shared::db::sessions;
use latchkey_shared::{authorize, random};
use url::Url;

use super::cookie;
use crate::auth::Caller;
use crate::problem::Problem;
use crate::state::App;

/// Who is signed in, if somebody is.
pub(crate) async fn caller(app: &App, headers: &HeaderMap) -> Result<Option<Caller>, Problem> {
    let Some(cookie) = cookie::find(headers, name(&app.public_url)) else { return Ok(None) };
    let hash = authorize::hash(cookie);
    let key = sessions::authenticate(&mut *app.conn().await?, &hash).await?;
    Ok(key.map(Caller::of))
}

/// Signs a browser in. Whatever it showed before is worth nothing from now on, so that nobody can be given a
/// session that somebody else knows.
pub(super) async fn open(
    app: &App,
    headers: &HeaderMap,
    key: &ApiKey,
    response: &mut Response,
) -> Result<(), Problem> {
    let token = random::token();
    let mut conn = app.conn().await?;
    if let Some(old) = cookie::find(headers, name(&app.public_url)) {
        sessions::delete(&mut conn, &authorize::hash(old)).await?;
    }
    sessions::insert(&mut conn, key, &authorize::hash(&token)).await?;
    let seconds = u32::try_from(sessions::LIFETIME.num_seconds()).unwrap_or(u32::MAX);
    cookie::set(response, &app.public_url, name(&app.public_url), &token, seconds);
    Ok(())
}

/// Signs a browser out.
pub(super) async fn close(
    app: &App,
    headers: &HeaderMap,
    response: &mut Response,
) -> Result<(), Problem> {
    if let Some(cookie) = cookie::find(headers, name(&app.public_url)) {
        sessions::delete(&mut *app.conn().await?, &authorize::hash(cookie)).await?;
    }
    cookie::set(response, &app.public_url, name(&app.public_url), "", 0);
    Ok(())
}

fn name(public_url: &Url) -> &'static str {
    if cookie::is_https(public_url) { "__Host-lk_session" } else { "lk_session" }
}
