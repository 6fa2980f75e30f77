//! Every route, and the layers around them.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::code::Code;
use crate::problem::Problem;
use crate::routes::{
    accounts, api_keys, apps, connects, events, health, platforms, profiles, refresh_debt,
    webhook_endpoints, workspaces,
};
use crate::state::App;
use crate::{asyncapi, browser_headers, compat, extract, keyed, openapi, reference, request, web};

/// The routes with their descriptions. The OpenAPI document is made from the same lists.
pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(openapi::base()).merge(keyed_routes()).merge(open_routes())
}

/// Those that need a key.
fn keyed_routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(workspaces::create, workspaces::list))
        .routes(routes!(workspaces::get, workspaces::update, workspaces::delete))
        .routes(routes!(api_keys::create, api_keys::list))
        .routes(routes!(api_keys::revoke))
        .routes(routes!(platforms::list))
        .routes(routes!(connects::create, connects::list))
        .routes(routes!(connects::get, connects::cancel))
        .routes(routes!(connects::list_candidates))
        .routes(routes!(connects::select))
        .routes(routes!(connects::claim_connect))
        .routes(routes!(accounts::list))
        .routes(routes!(accounts::get, accounts::disconnect))
        .routes(routes!(accounts::history))
        .routes(routes!(accounts::refresh))
        .routes(routes!(refresh_debt::get))
        .routes(routes!(profiles::create, profiles::list))
        .routes(routes!(profiles::get, profiles::update, profiles::delete))
        .routes(routes!(apps::create, apps::list))
        .routes(routes!(apps::get, apps::update, apps::delete))
        .routes(routes!(apps::add_secret))
        .routes(routes!(apps::delete_secret))
        .routes(routes!(webhook_endpoints::create, webhook_endpoints::list))
        .routes(routes!(
            webhook_endpoints::get,
            webhook_endpoints::update,
            webhook_endpoints::delete
        ))
        .routes(routes!(webhook_endpoints::rotate_secret))
        .routes(routes!(webhook_endpoints::test))
        .routes(routes!(webhook_endpoints::list_deliveries))
        .routes(routes!(webhook_endpoints::redeliver))
        .routes(routes!(webhook_endpoints::replay))
        .routes(routes!(events::list))
}

/// Those for browsers and orchestrators.
fn open_routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(web::callback::callback))
        .route("/v1/connect/{platform}/callback/", get(web::callback::callback))
        .routes(routes!(web::connect_page::show))
        .routes(routes!(web::start::start))
        .route("/connect/{con}/start", get(web::picker::look))
        .routes(routes!(web::picker::choose))
        .route("/connect/{con}/selection", get(web::picker::look))
        .routes(routes!(web::sign_in::show, web::sign_in::sign_in))
        .routes(routes!(web::sign_in::sign_out))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
}

/// The service.
pub(crate) fn router(app: Arc<App>) -> Router {
    let (keyed_router, _) = keyed_routes().split_for_parts();
    let (open_router, _) = open_routes().split_for_parts();
    let router = keyed_router
        .route_layer(from_fn_with_state(app.clone(), keyed::run))
        .merge(open_router)
        .merge(compat::router(&app))
        .route("/openapi.json", reference::document(&openapi::document()))
        .route("/asyncapi.json", reference::document(&asyncapi::document()))
        .merge(reference::router())
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .layer(DefaultBodyLimit::max(extract::BODY_LIMIT))
        .layer(from_fn_with_state(app.clone(), request::run))
        .with_state(app.clone());
    browser_headers::layer(router, &app.public_url)
}

async fn unknown_path() -> Problem {
    Problem::new(Code::NotFound, "No route has this path: `/openapi.json` lists them all.")
}

async fn unknown_method() -> Problem {
    Problem::new(
        Code::MethodNotAllowed,
        "The header `Allow` names the methods that this path takes.",
    )
}
