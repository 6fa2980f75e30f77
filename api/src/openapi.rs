//! The OpenAPI document: made from the routes, with what all of them have in common added here.

use latchkey_shared::db::api_keys::Role;
use utoipa::OpenApi as _;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::schema::{ArrayItems, Object, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    Components, ContentBuilder, OpenApi, Ref, RefOr, Required, Response, ResponseBuilder, Schema,
};

use crate::code::Code;
use crate::problem::{FieldError, ProblemBody};
use crate::router;

const IDEMPOTENCY_KEY: &str = "IdempotencyKey";
const TOO_MANY_REQUESTS: &str = "TooManyRequests";

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Latchkey",
        description = "Connects people's social accounts over OAuth 2.0 and keeps their tokens alive. Ids are a prefix and a ULID, times are RFC 3339 in UTC, errors are problem details (RFC 9457), and no answer ever holds a token.",
    ),
    components(schemas(ProblemBody<'_>, FieldError, Code)),
    tags(
        (name = "workspaces", description = "The isolation boundary inside an organisation."),
        (name = "api-keys", description = "Who may call, and how far they reach."),
        (name = "platforms", description = "What can be connected."),
        (name = "connects", description = "Attempts to connect an account."),
        (name = "accounts", description = "The connected accounts."),
        (name = "webhook-endpoints", description = "Where applications hear of events."),
        (name = "events", description = "What happened."),
        (name = "browser", description = "For the person's browser, not for applications."),
        (name = "health", description = "For orchestrators."),
    ),
)]
struct Base;

/// The document before any route is added.
pub(crate) fn base() -> OpenApi {
    Base::openapi()
}

/// The whole document.
#[must_use]
pub fn document() -> OpenApi {
    let mut document = router::routes().into_openapi();
    document.info.version = env!("CARGO_PKG_VERSION").to_owned();
    let components = document.components.get_or_insert_with(Components::new);
    let key = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some(
            "An API key: `lk_` and 43 characters. Operations name the least role that it needs.",
        ))
        .build();
    components.add_security_scheme("apiKey", SecurityScheme::Http(key));
    components.parameters.insert(IDEMPOTENCY_KEY.to_owned(), idempotency_key().into());
    components.responses.insert(TOO_MANY_REQUESTS.to_owned(), too_many().into());
    refer_to_rows(components);
    for (path, item) in &mut document.paths.paths {
        for operation in operations(item) {
            document_problems(path, operation);
        }
        if let Some(post) = item.post.as_mut().filter(|post| least_role(post).is_some()) {
            document_idempotency(post);
        }
    }
    document
}

/// The schema of a page repeats that of its rows: a reference says the same.
fn refer_to_rows(components: &mut Components) {
    for (name, schema) in &mut components.schemas {
        let (Some(row), RefOr::T(Schema::Object(list))) = (name.strip_prefix("List_"), schema)
        else {
            continue;
        };
        if let Some(RefOr::T(Schema::Array(data))) = list.properties.get_mut("data") {
            let row = RefOr::Ref(Ref::from_schema_name(row));
            data.items = ArrayItems::RefOrSchema(Box::new(row));
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post, &mut item.patch, &mut item.delete].into_iter().flatten()
}

/// The problems that many operations share. Those of one operation stand at its handler.
fn document_problems(path: &str, operation: &mut Operation) {
    let Some(role) = least_role(operation) else {
        return;
    };
    let mut common = vec![
        ("401", "`UNAUTHORIZED`"),
        ("500", "`INTERNAL`"),
        ("503", "`UNAVAILABLE`: come back after `Retry-After` seconds"),
    ];
    if role != Role::Viewer.as_str() {
        common.push(("403", "`FORBIDDEN_ROLE`: the key's role is too low"));
    }
    if path.contains('{') {
        common.push(("404", "`NOT_FOUND`: nothing of this id is within the key's reach"));
    }
    if operation.request_body.is_some() {
        common.push(("400", "`INVALID_JSON`, `VALIDATION_FAILED`"));
        common.push(("408", "`REQUEST_TIMEOUT`"));
        common.push(("413", "`BODY_TOO_LARGE`"));
        common.push(("415", "`UNSUPPORTED_MEDIA_TYPE`"));
    }
    if takes_a_query(operation) {
        common.push(("400", "`VALIDATION_FAILED`"));
    }
    let responses = &mut operation.responses.responses;
    for (status, description) in common {
        responses.entry(status.to_owned()).or_insert_with(|| problem(description).into());
    }
    let too_many = Ref::from_response_name(TOO_MANY_REQUESTS);
    responses.insert("429".to_owned(), too_many.into());
}

/// The header that every POST takes.
fn idempotency_key() -> Parameter {
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "Sent again within 24 h with the same key and body, the request is not run again: the same answer comes back, with the header `Idempotent-Replayed: true`. 1 to 255 visible ASCII characters, kept per API key. Refusals (4xx) are kept as well; 429 and 5xx are not.",
        ))
        .schema(Some(Object::with_type(Type::String)))
        .example(Some("8e03978e-40d5-43e8-bc93-6894a57f9324".into()))
        .build()
}

/// What comes of that header.
fn document_idempotency(post: &mut Operation) {
    let key = Ref::new(format!("#/components/parameters/{IDEMPOTENCY_KEY}"));
    post.parameters.get_or_insert_default().push(RefOr::Ref(key));
    for (status, description) in [
        ("400", "`IDEMPOTENCY_KEY_INVALID`"),
        ("408", "`REQUEST_TIMEOUT`"),
        (
            "409",
            "`IDEMPOTENCY_KEY_IN_USE`: the first request with this key is running; come back after `Retry-After` seconds",
        ),
        ("413", "`BODY_TOO_LARGE`"),
        ("422", "`IDEMPOTENCY_KEY_REUSED`: the key came with another path or body"),
        ("503", "`OUTBOX_FULL`: too much work waits already"),
    ] {
        add(post, status, description);
    }
}

/// Adds to what a status means.
fn add(operation: &mut Operation, status: &str, description: &str) {
    let responses = &mut operation.responses.responses;
    match responses.entry(status.to_owned()).or_insert_with(|| problem(description).into()) {
        RefOr::T(response) if !response.description.contains(description) => {
            response.description = format!("{}; {description}", response.description);
        }
        _ => {}
    }
}

/// Past the budget of the key, or of the address.
fn too_many() -> Response {
    let mut response = problem("`RATE_LIMITED`: come back after `Retry-After` seconds");
    for (name, description) in [
        ("Retry-After", "Seconds until a request may fare better."),
        ("RateLimit-Limit", "Requests a minute; on every answer to a valid key."),
        ("RateLimit-Remaining", "How many may be sent at once now."),
        ("RateLimit-Reset", "Seconds until as many as the limit may be sent at once."),
    ] {
        let schema = Object::with_type(Type::Integer);
        let header = HeaderBuilder::new().schema(Some(schema)).description(Some(description));
        response.headers.insert(name.to_owned(), header.build().into());
    }
    response
}

/// The role that stands at the handler; `None` where no key is needed.
fn least_role(operation: &Operation) -> Option<String> {
    let security = serde_json::to_value(&operation.security).ok()?;
    security[0]["apiKey"][0].as_str().map(ToOwned::to_owned)
}

fn takes_a_query(operation: &Operation) -> bool {
    let parameters = operation.parameters.iter().flatten();
    parameters
        .filter_map(|parameter| match parameter {
            RefOr::T(parameter) => Some(&parameter.parameter_in),
            RefOr::Ref(_) => None,
        })
        .any(|place| *place == ParameterIn::Query)
}

fn problem(description: &str) -> Response {
    let schema = Ref::from_schema_name("Problem");
    let content = ContentBuilder::new().schema(Some(schema)).build();
    ResponseBuilder::new()
        .description(description)
        .content("application/problem+json", content)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_as_it_was_read() {
        insta::assert_json_snapshot!(document(), { ".info.version" => "[version]" });
    }

    #[test]
    fn a_key_is_asked_for_under_v1_but_for_browsers() {
        for (path, item) in &mut document().paths.paths {
            let keyed = path.starts_with("/v1/") && !path.starts_with("/v1/connect/");
            for operation in operations(item) {
                assert_eq!(least_role(operation).is_some(), keyed, "{path}");
            }
        }
    }

    #[test]
    fn every_operation_has_an_id_of_its_own() {
        let mut document = document();
        let mut ids: Vec<String> = document
            .paths
            .paths
            .values_mut()
            .flat_map(operations)
            .filter_map(|operation| operation.operation_id.clone())
            .collect();
        let all = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), all);
    }
}
