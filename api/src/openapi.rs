//! The OpenAPI document: made from the routes, with what all of them have in common added here.

use latchkey_shared::db::api_keys::Role;
use utoipa::OpenApi as _;
use utoipa::openapi::path::{Operation, ParameterIn, PathItem};
use utoipa::openapi::schema::ArrayItems;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    Components, ContentBuilder, OpenApi, Ref, RefOr, Response, ResponseBuilder, Schema,
};

use crate::code::Code;
use crate::problem::{FieldError, ProblemBody};
use crate::router;

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
        (name = "profiles", description = "Your end users."),
        (name = "apps", description = "OAuth clients of your own."),
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
    refer_to_rows(components);
    for (path, item) in &mut document.paths.paths {
        for operation in operations(item) {
            document_problems(path, operation);
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
