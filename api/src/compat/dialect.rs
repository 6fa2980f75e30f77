//! What the dialects have in common: where a product expects its key, and in which form it tells of errors.
//! Who may do what, how often, and whether there is room is judged as for the native API.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use super::openapi;
use crate::code::Code;
use crate::idempotency::InWords;
use crate::keyed;
use crate::problem::Problem;
use crate::request::RequestId;
use crate::state::App;

/// A product whose contract we keep.
pub(super) struct Dialect {
    /// Stands in the path, after `/compat/`.
    pub(super) name: &'static str,
    /// What its clients have in their base URL after that.
    pub(super) base: &'static str,
    /// The scheme of its document by which a key is brought.
    pub(super) key: Key,
    /// The form of its errors.
    pub(super) errors: Errors,
    /// What it says otherwise than we do: some statuses, some words.
    pub(super) reword: fn(Problem) -> Problem,
    /// Its document before any route is added.
    pub(super) describe: fn() -> OpenApi,
    /// The routes that need a key.
    pub(super) keyed: fn() -> OpenApiRouter<Arc<App>>,
    /// Those that need none.
    pub(super) open: fn() -> OpenApiRouter<Arc<App>>,
    /// Those that are beside its base, for browsers.
    pub(super) beside: fn() -> Router<Arc<App>>,
}

/// Where the key is.
pub(super) struct Key {
    /// The name of the security scheme in the product's document.
    pub(super) scheme: &'static str,
    /// A header of its own; `None`: `Authorization: Bearer …`.
    pub(super) header: Option<&'static str>,
}

/// A form of errors.
pub(super) struct Errors {
    /// Its media type.
    pub(super) kind: &'static str,
    /// Its schema's name.
    pub(super) schema: &'static str,
    /// Its JSON.
    pub(super) form: fn(&Problem, &str) -> serde_json::Result<String>,
}

impl Errors {
    /// Our own, where a product publishes none.
    pub(super) const PROBLEM: Self = Self {
        kind: "application/problem+json",
        schema: "Problem",
        form: |problem, request_id| serde_json::to_string(&problem.body(request_id)),
    };
}

impl Dialect {
    /// Everything below `/compat/<name>`.
    pub(super) fn router(&'static self, app: &Arc<App>) -> Router<Arc<App>> {
        let (keyed, _) = (self.keyed)().split_for_parts();
        let (open, _) = (self.open)().split_for_parts();
        let gate = from_fn_with_state(app.clone(), keyed::run);
        let routes = keyed.route_layer(gate).merge(open);
        let routes =
            if self.base.is_empty() { routes } else { Router::new().nest(self.base, routes) };
        let mut document = openapi::document(self);
        openapi::serve_at(&mut document, &app.url(&format!("/compat/{}{}", self.name, self.base)));
        routes
            .merge((self.beside)())
            .route("/openapi.json", crate::reference::document(&document))
            .fallback(move || async { self.unknown_path() })
            .method_not_allowed_fallback(unknown_method)
            .layer(from_fn(move |request, next| self.speak(request, next)))
    }

    /// Brings the key to where ours is expected, and the error to the form that is expected there.
    async fn speak(&'static self, mut request: Request, next: Next) -> Response {
        if let Some(header) = self.key.header {
            move_key(request.headers_mut(), header);
        }
        let request_id = request.extensions().get::<RequestId>().cloned();
        let request_id = request_id.as_ref().map_or("", RequestId::as_str);
        let write = move |response: Response, request_id: &str| self.write(response, request_id);
        request.extensions_mut().insert(InWords(Arc::new(write)));
        let response = next.run(request).await;
        self.write(response, request_id)
    }

    /// Writes the refusal that is on a response, if there is one.
    fn write(&self, mut response: Response, request_id: &str) -> Response {
        if let Some(problem) = response.extensions_mut().remove::<Problem>() {
            let problem = self.say(problem);
            *response.status_mut() = problem.status();
            response.extensions_mut().insert(problem);
        }
        let form = self.errors.form;
        Problem::write_as(response, self.errors.kind, |problem| form(problem, request_id))
    }

    fn say(&self, problem: Problem) -> Problem {
        let problem = match (problem.code(), self.key.header) {
            (Code::Unauthorized, Some(header)) => {
                problem.worded(format!("Send a key that is not revoked, as `{header}: lk_…`."))
            }
            // Products that say 409 at all mean something else by it.
            (Code::TooManyOpenConnects, _) => problem.answered(StatusCode::TOO_MANY_REQUESTS),
            (Code::ReferenceGone, _) => problem.answered(StatusCode::NOT_FOUND),
            _ => problem,
        };
        (self.reword)(problem)
    }

    fn unknown_path(&self) -> Problem {
        let detail = format!(
            "No route has this path: `/compat/{}/openapi.json` lists those of this dialect.",
            self.name
        );
        Problem::new(Code::NotFound, detail)
    }
}

async fn unknown_method() -> Problem {
    Problem::new(
        Code::MethodNotAllowed,
        "The header `Allow` names the methods that this path takes.",
    )
}

/// A product with a header of its own takes no other.
fn move_key(headers: &mut HeaderMap, header: &str) {
    headers.remove(AUTHORIZATION);
    let Some(key) = headers.remove(header) else { return };
    let bearer = [b"Bearer ", key.as_bytes()].concat();
    if let Ok(mut value) = HeaderValue::from_bytes(&bearer) {
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_products_header_is_the_only_one() {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer lk_other"));
        move_key(&mut headers, "x-access-key");
        assert!(headers.is_empty());
        headers.insert("x-access-key", HeaderValue::from_static("lk_abc"));
        move_key(&mut headers, "x-access-key");
        assert_eq!(headers[AUTHORIZATION], "Bearer lk_abc");
        assert!(!headers.contains_key("x-access-key"));
    }
}
