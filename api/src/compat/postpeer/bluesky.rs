//! Bluesky through PostPeer: an app password in, the integration out, in one call.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use latchkey_shared::db::connects::{Connect, ConnectStatus};
use latchkey_shared::ids::{AccountId, ConnectKey};

use super::view::{BlueskyLogin, BlueskyQuery, CREDENTIALS, Integration, IntegrationMade};
use super::{DOOR, words};
use crate::auth::Admin;
use crate::code::Code;
use crate::compat;
use crate::compat::words::Word as _;
use crate::extract::{JsonBody, Params};
use crate::idempotency::Once;
use crate::problem::{Problem, ProblemBody};
use crate::routes::accounts::{self, AccountView};
use crate::routes::connects::credentials::Credentials;
use crate::routes::connects::{AskedThrough, StartConnect, StartedConnect, start};
use crate::state::App;
use crate::{waiting, web};

/// An answer comes within 15 s, the time to take a connect back included.
const WAIT: Duration = Duration::from_secs(14);

/// Connect a Bluesky account
///
/// `password` is an app password that the person made at https://bsky.app/settings/app-passwords; the password of
/// the account itself is refused. The answer comes within 15 seconds: after a 504 nothing is connected.
#[utoipa::path(
    post, path = "/v1/connect/bluesky/auth", tag = "Connect", operation_id = "connectBluesky",
    params(BlueskyQuery), request_body = BlueskyLogin,
    responses(
        (status = OK, description = "The integration; its `id` is the account's.", body = IntegrationMade),
        (status = BAD_REQUEST, description = "`APP_PASSWORD_REQUIRED`: this is no app password; `INVALID_JSON`, `VALIDATION_FAILED`", body = ProblemBody, content_type = "application/problem+json"),
        (status = NOT_FOUND, description = "`PROFILE_NOT_FOUND`", body = ProblemBody, content_type = "application/problem+json"),
        (status = CONFLICT, description = "`ACCOUNT_ALREADY_CONNECTED`: the workspace takes one account of each platform.", body = ProblemBody, content_type = "application/problem+json"),
        (status = UNPROCESSABLE_ENTITY, description = "`CONNECT_FAILED`: the detail says why.", body = ProblemBody, content_type = "application/problem+json"),
        (status = INTERNAL_SERVER_ERROR, description = "`PLATFORM_NOT_CONFIGURED`, or a failure of ours.", body = ProblemBody, content_type = "application/problem+json"),
        (status = GATEWAY_TIMEOUT, description = "`CONNECT_TIMEOUT`: Bluesky took too long.", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn connect(
    Admin(caller): Admin,
    State(app): State<Arc<App>>,
    Params(query): Params<BlueskyQuery>,
    once: Once,
    JsonBody(login): JsonBody<BlueskyLogin>,
) -> Result<Json<IntegrationMade>, Problem> {
    let workspace = compat::workspace(&app, &caller, None).await?;
    let BlueskyLogin { identifier, password, profile_id } = login;
    let request = StartConnect {
        platform: words::Postpeer::Bluesky.ours().to_owned(),
        credentials: Some(Credentials { identifier, password }),
        profile_id: profile_id.or(query.profile_id),
        ..StartConnect::default()
    };
    let begun = |started: StartedConnect| Ok((StatusCode::OK, started));
    let asked = AskedThrough { request, door: DOOR };
    let started = start::run(&app, &Once::default(), &workspace, asked, begun).await;
    let (_, Json(started)) =
        started.map_err(|problem| problem.about(|field| field.in_body(&CREDENTIALS)))?;
    let ended = waiting::for_the_end(
        &app,
        ConnectKey { workspace_id: &workspace.id, id: &started.connect_id },
        WAIT,
    )
    .await?;
    let account = account_of(&ended)?;
    let account = accounts::find(&app, &workspace.id, &account).await?;
    let integration = Integration::of(AccountView::from(account));
    let integration = integration.ok_or_else(Problem::not_found)?;
    let made = IntegrationMade { success: true, integration };
    // Kept at the end alone: to begin again is harmless, the account is the same.
    once.keep_alone(&app, StatusCode::OK, &made).await;
    Ok(Json(made))
}

fn account_of(connect: &Connect) -> Result<AccountId, Problem> {
    let account = connect.account_ids.first().and_then(|id| id.parse().ok());
    if let (ConnectStatus::Connected, Some(account)) = (connect.status, account) {
        return Ok(account);
    }
    let reason = connect.reason_code.as_deref().unwrap_or_default();
    let (_, what, _) = web::words::of_ending(connect.status, reason);
    Err(match reason {
        "APP_PASSWORD_REQUIRED" => Problem::new(Code::AppPasswordRequired, what).at("/password"),
        // A worker waits for less long than this door.
        "EXCHANGE_FAILED" if is_silence(connect) => waiting::too_slow(),
        "ACCOUNT_ALREADY_CONNECTED" => Problem::new(Code::AccountAlreadyConnected, what),
        _ => Problem::new(Code::ConnectFailed, format!("{what} ({reason})")),
    })
}

fn is_silence(connect: &Connect) -> bool {
    let cause = connect.platform_error.as_ref().and_then(|error| error["cause"].as_str());
    cause == Some("no_readable_answer")
}
