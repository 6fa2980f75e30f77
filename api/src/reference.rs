//! `/docs`: the OpenAPI documents as pages to read and to try, from files in the binary. They load nothing
//! from elsewhere and keep no key.

use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::routing::{MethodRouter, get};
use serde::Serialize;
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa_swagger_ui::{Config, SwaggerUi, Url};

/// What the pages are made of: scripts and styles of ours, and pictures that stand in the styles.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                      img-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Documents by their names, as addresses seen from `/docs/`.
const DOCUMENTS: [(&str, &str); 6] = [
    ("Latchkey", "../openapi.json"),
    ("Postbreeze", "../compat/postbreeze/openapi.json"),
    ("Postato", "../compat/postato/openapi.json"),
    ("PostPeer", "../compat/postpeer/openapi.json"),
    ("WoopSocial", "../compat/woopsocial/openapi.json"),
    ("Ocoya", "../compat/ocoya/openapi.json"),
];

/// A route that answers a document. It is written once: many who read slowly hold one copy.
pub(crate) fn document<S: Clone + Send + Sync + 'static>(
    document: &impl Serialize,
) -> MethodRouter<S> {
    let body = Bytes::from(serde_json::to_vec(document).expect("documents are always JSON"));
    get(move || async move { ([(CONTENT_TYPE, "application/json")], body) })
}

/// The routes.
pub(crate) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let urls = DOCUMENTS.map(|(name, url)| Url::new(name, url));
    let config = Config::new(urls).validator_url("none").display_operation_id(true);
    let pages: Router<S> = SwaggerUi::new("/docs").config(config).into();
    let headers = [(CONTENT_SECURITY_POLICY, POLICY), (CACHE_CONTROL, "max-age=3600")];
    headers.into_iter().fold(pages, |pages, (name, value)| {
        pages.layer(SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value)))
    })
}
