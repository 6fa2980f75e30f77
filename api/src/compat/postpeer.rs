//! PostPeer: the workspace is always the key's own.

mod apps;
mod bluesky;
mod callback;
mod profiles;
mod view;

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Json, Router, routing};
use latchkey_shared::db::connects::ResultFormat;
use latchkey_shared::ids::{AccountId, AccountKey};
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::dialect::{Dialect, Errors, Key};
use super::{lists, url_of, words};
use crate::auth::{Admin, Viewer};
use crate::code::Code;
use crate::compat::words::Word as _;
use crate::extract::{Ids, Params};
use crate::idempotency::Once;
use crate::keyed;
use crate::problem::{FieldError, Problem, ProblemBody};
use crate::routes::accounts;
use crate::routes::connects::{AskedThrough, Door, StartConnect, StartedConnect, start};
use crate::state::App;
use view::{ConnectQuery, ConnectUrl, Done, Integration, IntegrationList, IntegrationsQuery};

pub(super) static DIALECT: Dialect = Dialect {
    name: "postpeer",
    base: "",
    key: Key { scheme: "accessKey", header: Some("x-access-key") },
    errors: Errors::PROBLEM,
    reword,
    describe: Base::openapi,
    keyed: || {
        OpenApiRouter::new()
            .routes(routes!(list))
            .routes(routes!(connect))
            .routes(routes!(disconnect))
            .routes(routes!(bluesky::connect))
            .routes(routes!(apps::create, apps::list))
            .route("/v1/apps", routing::get(apps::list).post(apps::create))
            .routes(routes!(apps::delete))
            .routes(routes!(apps::replace_secret))
            .routes(routes!(profiles::create, profiles::list))
            .route("/v1/profiles", routing::get(profiles::list).post(profiles::create))
    },
    open: || {
        OpenApiRouter::new()
            .route("/v1/connect/{platform}/callback", routing::get(callback::callback))
            .route("/v1/connect/{platform}/callback/", routing::get(callback::callback))
    },
    beside: Router::new,
};

/// Through this door.
const DOOR: Door = Door { result_format: ResultFormat::Postpeer, exclusive: false };

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "PostPeer API, spoken by Latchkey",
        description = "What clients of PostPeer use to connect accounts. Use a key that is limited to a workspace: it says which one is meant."
    ),
    components(schemas(ProblemBody<'_>, FieldError, Code, words::Postpeer)),
    tags(
        (name = "Connect", description = "Connecting accounts."),
        (name = "Apps", description = "OAuth clients of your own."),
        (name = "Profiles", description = "Your end users."),
    )
)]
struct Base;

fn reword(problem: Problem) -> Problem {
    match problem.code() {
        Code::PlatformNotConfigured => problem.answered(StatusCode::INTERNAL_SERVER_ERROR),
        _ => problem,
    }
}

/// Get a URL to connect an account
///
/// Open it in the person's browser. We take the callback, and lead the browser to `redirectUri`, if one is given, once
/// the account is connected; our own page says what went wrong. For `bluesky` the URL is our form, which asks for an app password.
#[utoipa::path(
    get, path = "/v1/connect/{platform}", tag = "Connect", operation_id = "connect",
    params(("platform" = words::Postpeer, Path, description = "The platform"), ConnectQuery),
    responses(
        (status = OK, description = "The URL.", body = ConnectUrl),
        (status = FORBIDDEN, description = "`PLATFORM_UNKNOWN`: this platform is not available; or the key's role or reach does not allow this.", body = ProblemBody, content_type = "application/problem+json"),
        (status = NOT_FOUND, description = "`PROFILE_NOT_FOUND`, `APP_NOT_FOUND`", body = ProblemBody, content_type = "application/problem+json"),
        (status = CONFLICT, description = "`ACCOUNT_ALREADY_CONNECTED`: the workspace takes one account of each platform.", body = ProblemBody, content_type = "application/problem+json"),
        (status = INTERNAL_SERVER_ERROR, description = "`PLATFORM_NOT_CONFIGURED`: the operator has given no credentials for this platform, and no app of your own is named; or a failure of ours.", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn connect(
    Admin(caller): Admin,
    State(app): State<Arc<App>>,
    Ids(word): Ids<String>,
    Params(query): Params<ConnectQuery>,
) -> Result<Json<ConnectUrl>, Problem> {
    let platform = words::Postpeer::read(&word).ok_or_else(not_available)?;
    keyed::check_room(&app, &caller.organisation_id).await?;
    let workspace = super::workspace(&app, &caller, None).await?;
    let request = StartConnect {
        platform: platform.ours().to_owned(),
        redirect_url: query.redirect_uri,
        profile_id: query.profile_id,
        app_id: query.app_id,
        ..StartConnect::default()
    };
    let answer =
        |started: StartedConnect| Ok((StatusCode::OK, ConnectUrl { url: url_of(&started)? }));
    let asked = AskedThrough { request, door: DOOR };
    let started = start::run(&app, &Once::default(), &workspace, asked, answer).await;
    let (_, url) =
        started.map_err(|problem| problem.about(|field| field.in_query(&view::PARAMETERS)))?;
    Ok(url)
}

fn not_available() -> Problem {
    let known = words::Postpeer::ALL.iter().map(|row| row.1).collect::<Vec<_>>();
    let detail = format!("This platform is not available. These are: {}.", known.join(", "));
    Problem::new(Code::PlatformUnknown, detail).answered(StatusCode::FORBIDDEN)
}

/// List integrations
///
/// The connected accounts, the newest first; disconnected ones are left out.
#[utoipa::path(
    get, path = "/v1/connect/integrations", tag = "Connect", operation_id = "listIntegrations",
    params(IntegrationsQuery),
    responses((status = OK, description = "The integrations.", body = IntegrationList)),
)]
async fn list(
    Viewer(caller): Viewer,
    State(app): State<Arc<App>>,
    Params(query): Params<IntegrationsQuery>,
) -> Result<Json<IntegrationList>, Problem> {
    let workspace = super::workspace(&app, &caller, None).await?;
    let accounts = lists::accounts(&app, &caller, &workspace, query.profile_id).await?;
    let integrations: Vec<_> = accounts.into_iter().rev().filter_map(Integration::of).collect();
    Ok(Json(IntegrationList { success: true, total: integrations.len(), integrations }))
}

/// Disconnect an integration
///
/// Its tokens are out of use at once, and revoked at the platform where that is possible. A later connect of the same
/// person brings it back under the same id. Latchkey adds this operation.
#[utoipa::path(
    delete, path = "/v1/connect/integrations/{id}", tag = "Connect", operation_id = "disconnectIntegration",
    params(("id" = String, Path, description = "The integration")),
    responses((status = OK, description = "Disconnected, also if it was before.", body = Done)),
)]
async fn disconnect(
    Admin(caller): Admin,
    State(app): State<Arc<App>>,
    Ids(id): Ids<AccountId>,
) -> Result<Json<Done>, Problem> {
    let workspace = super::workspace(&app, &caller, None).await?;
    accounts::disconnect::run(&app, &caller, AccountKey { workspace_id: &workspace.id, id: &id })
        .await?;
    Ok(Json(Done { success: true }))
}
