//! From our first page on to the platform: the same authorize URL that the answer to `POST …/connects` had,
//! made again of what is sealed on the row.

use diesel_async::AsyncPgConnection;
use latchkey_shared::authorize::{self, Request};
use latchkey_shared::db::connects::{self, Connect};
use latchkey_shared::db::{apps, workspaces};
use latchkey_shared::operations::start_connect::operator_client;
use latchkey_shared::platforms::Platform;
use secrecy::ExposeSecret as _;
use url::Url;

use crate::code::Code;
use crate::problem::Problem;
use crate::routes::connects::find_platform;
use crate::state::App;

/// Where the person of a pending connect approves.
///
/// # Errors
/// When something that it is made of is gone, or cannot be opened.
pub(super) async fn authorize_url(app: &App, connect: &Connect) -> Result<Url, Problem> {
    let platform = find_platform(app, &connect.platform)?;
    let (client_id, state, verifier) = {
        let mut conn = app.conn().await?;
        let state = match &connect.sealed_state {
            Some(sealed) => conn.decrypt_text(connects::state_aad(connect.key()), sealed).await?,
            None => return Err(Problem::new(Code::StateUsed, "")),
        };
        let verifier = match &connect.sealed_verifier {
            Some(sealed) => {
                Some(conn.decrypt_text(connects::verifier_aad(connect.key()), sealed).await?)
            }
            None => None,
        };
        (client_id(&mut conn, connect, platform).await?, state, verifier)
    };
    let endpoints = app.platforms.endpoints(platform, app.clock()).await;
    let endpoints = endpoints.map_err(|_| Problem::platform_unavailable(&platform.name))?;
    let asked = Request {
        client_id: &client_id,
        redirect_uri: &connect.redirect_uri,
        scopes: &connect.scopes,
        state: state.expose_secret(),
        verifier: verifier.as_ref(),
    };
    Ok(authorize::authorize_url(platform, &endpoints, &asked))
}

async fn client_id(
    conn: &mut AsyncPgConnection,
    connect: &Connect,
    platform: &Platform,
) -> Result<String, Problem> {
    let Some(app) = &connect.app_id else {
        return Ok(operator_client(platform)?.id.clone());
    };
    let organisation = workspaces::organisation_of(conn, &connect.workspace_id).await?;
    let app = apps::find(conn, &organisation, &connect.workspace_id, app).await?;
    app.map(|app| app.client_id).ok_or_else(|| Problem::new(Code::AppNotFound, ""))
}
