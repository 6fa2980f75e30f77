//! One document per dialect, made from its routes, with what all of them have in common added here. Whatever
//! a product published keeps its names and shapes; the descriptions are ours.

use utoipa::openapi::path::{Operation, ParameterIn, PathItem};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    Components, ContentBuilder, OpenApi, Ref, RefOr, Response, ResponseBuilder, Server,
};
use utoipa_axum::router::OpenApiRouter;

use super::dialect::{Dialect, Errors, Key};
use crate::state::App;

const REPEATS: &str = " A POST may carry an `Idempotency-Key`: with the same key and body it runs once within 24 hours, and is answered \
                       the same.";

/// The whole document of a dialect.
pub(super) fn document(dialect: &Dialect) -> OpenApi {
    let mut keyed = (dialect.keyed)().into_openapi();
    for (path, item) in &mut keyed.paths.paths {
        for operation in operations(item) {
            document_errors(path, operation, &dialect.errors);
            let security = SecurityRequirement::new(dialect.key.scheme, [""; 0]);
            operation.security = Some(vec![security]);
        }
    }
    let open = (dialect.open)().into_openapi();
    let base = OpenApiRouter::<std::sync::Arc<App>>::with_openapi((dialect.describe)());
    let mut document = base.into_openapi();
    document.merge(keyed);
    document.merge(open);
    if document.paths.paths.values().any(|item| item.post.is_some()) {
        document.info.description.get_or_insert_default().push_str(REPEATS);
    }
    document.info.version = env!("CARGO_PKG_VERSION").to_owned();
    let components = document.components.get_or_insert_with(Components::new);
    components.add_security_scheme(dialect.key.scheme, scheme(&dialect.key));
    serve_at(&mut document, &format!("/compat/{}{}", dialect.name, dialect.base));
    document
}

/// Says where the paths of a document begin.
pub(super) fn serve_at(document: &mut OpenApi, url: &str) {
    document.servers = Some(vec![Server::new(url)]);
}

fn scheme(key: &Key) -> SecurityScheme {
    let description = "An API key of ours: `lk_` and 43 characters.";
    match key.header {
        Some(header) => SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(
            header,
            description,
        ))),
        None => SecurityScheme::Http(
            HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .bearer_format("API key")
                .description(Some(description))
                .build(),
        ),
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post, &mut item.delete].into_iter().flatten()
}

/// The errors that the operations share. Those of one operation stand at its handler.
fn document_errors(path: &str, operation: &mut Operation, errors: &Errors) {
    let mut common = vec![
        ("401", "No key, or none that is valid."),
        ("403", "The key's role or reach does not allow this."),
        (
            "429",
            "Too many requests, or too many open connects: come back after `Retry-After` seconds, if it says so.",
        ),
        ("500", "A failure of ours; the log has it under the request id."),
        ("503", "Come back after `Retry-After` seconds."),
    ];
    if operation.request_body.is_some() {
        common.push(("400", "The body is no JSON, or a field is wrong."));
        common.push(("408", "The body did not arrive in time."));
        common.push(("413", "The body is too large."));
        common.push(("415", "The body is not declared as `application/json`."));
    }
    if takes_a_query(operation) {
        common.push(("400", "A parameter is wrong."));
    }
    if path.contains('{') {
        common.push(("404", "Nothing of this id is within the key's reach."));
    }
    let responses = &mut operation.responses.responses;
    for (status, description) in common {
        responses.entry(status.to_owned()).or_insert_with(|| error(description, errors).into());
    }
}

fn takes_a_query(operation: &Operation) -> bool {
    let mut parameters = operation.parameters.iter().flatten();
    parameters.any(|parameter| match parameter {
        RefOr::T(parameter) => parameter.parameter_in == ParameterIn::Query,
        RefOr::Ref(_) => false,
    })
}

fn error(description: &str, errors: &Errors) -> Response {
    let schema = Ref::from_schema_name(errors.schema);
    let content = ContentBuilder::new().schema(Some(schema)).build();
    ResponseBuilder::new().description(description).content(errors.kind, content).build()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::words::{Ocoya, Postbreeze, Postpeer, Woopsocial, Word};
    use super::super::{ALL, openapi};

    fn words<W: Word>() -> Vec<Value> {
        W::ALL.iter().map(|row| Value::from(row.1)).collect()
    }

    /// The document is made by another macro than what reads the words: it once had our own names for them.
    #[test]
    fn the_documents_list_the_words_that_are_read() {
        let documents: Vec<Value> = ALL
            .iter()
            .map(|dialect| serde_json::to_value(openapi::document(dialect)).unwrap())
            .collect();
        for (document, pointer, words) in [
            (0, "ConnectChannelDto/properties/platform", words::<Postbreeze>()),
            (2, "Platform", words::<Postpeer>()),
            (3, "SocialPlatform", words::<Woopsocial>()),
            (4, "ConnectionRequest/properties/provider", words::<Ocoya>()),
        ] {
            let pointer = format!("/components/schemas/{pointer}");
            let schema = documents[document].pointer(&pointer).unwrap();
            assert_eq!(schema["type"], "string", "{pointer}");
            assert_eq!(schema["enum"], Value::from(words), "{pointer}");
        }
    }

    #[test]
    fn the_documents_are_as_they_were_read() {
        for (name, document) in super::super::documents() {
            insta::assert_json_snapshot!(name, document, { ".info.version" => "[version]" });
        }
    }
}
