//! Every operation of the published document, called wrongly in every way that the document lets one
//! think of: roles, ids, content types, fields.

use latchkey_tests::TestApp;
use latchkey_tests::app::{Answer, Http};
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::tenants::{Theirs, body_for};

/// An operation that needs a key.
struct Operation {
    method: Method,
    path: String,
    least_role: String,
    /// The schema of its body, if it takes one.
    body: Option<Value>,
    /// The names of what may be in its query.
    query: Vec<String>,
}

async fn operations(http: &Http) -> anyhow::Result<Vec<Operation>> {
    let document = http.get("/openapi.json").await?.expect(200)?.json();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in item.as_object().into_iter().flatten() {
            let Some(role) = operation["security"][0]["apiKey"][0].as_str() else { continue };
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            operations.push(Operation {
                method: method.to_uppercase().parse()?,
                path: path.clone(),
                least_role: role.to_owned(),
                body: (!schema.is_null()).then(|| resolve(&document, schema)),
                query: query_of(operation),
            });
        }
    }
    Ok(operations)
}

fn query_of(operation: &Value) -> Vec<String> {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let of_query = parameters.filter(|parameter| parameter["in"] == "query");
    of_query.filter_map(|parameter| Some(parameter["name"].as_str()?.to_owned())).collect()
}

/// The schema that is meant: behind references, and the one of two that is not `null`.
fn resolve(document: &Value, schema: &Value) -> Value {
    if let Some(name) = schema["$ref"].as_str() {
        let pointer = name.trim_start_matches('#');
        return resolve(document, document.pointer(pointer).unwrap_or(&Value::Null));
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let real = choices.iter().find(|choice| choice["type"] != "null");
        return resolve(document, real.unwrap_or(&Value::Null));
    }
    let mut schema = schema.clone();
    if let Some(properties) = schema["properties"].as_object_mut() {
        for property in properties.values_mut() {
            *property = resolve(document, property);
        }
    }
    schema
}

fn is_a(schema: &Value, kind: &str) -> bool {
    match &schema["type"] {
        Value::Array(kinds) => kinds.iter().any(|one| one == kind),
        one => one == kind,
    }
}

/// Values that a property does not take.
fn wrong_values(schema: &Value) -> Vec<Value> {
    let mut wrong = Vec::new();
    if schema["enum"].is_array() {
        wrong.extend([json!("no_such_word"), json!("")]);
    }
    if is_a(schema, "string") {
        // PostgreSQL keeps no NUL.
        wrong.extend([json!(7), json!({ "a": 1 }), json!(["a"]), json!("a\0b")]);
        if let Some(most) = schema["maxLength"].as_u64().and_then(|most| usize::try_from(most).ok())
        {
            wrong.push(json!("x".repeat(most + 1)));
        }
        if schema["minLength"].as_u64().is_some_and(|least| least > 0) {
            wrong.push(json!(""));
        }
    }
    if is_a(schema, "array") {
        wrong.extend([json!("a"), json!({ "a": 1 }), json!([7]), json!(["a\0b"])]);
        if let Some(most) = schema["maxItems"].as_u64() {
            let many: Vec<String> = (0..=most).map(|number| format!("x{number}")).collect();
            wrong.push(json!(many));
        }
    }
    if is_a(schema, "object") {
        wrong.extend([json!("a"), json!([1])]);
    }
    wrong
}

async fn send(
    http: &Http,
    operation: &Operation,
    path: &str,
    body: &Value,
) -> anyhow::Result<Answer> {
    let request = http.request(operation.method.clone(), path);
    http.send(if operation.body.is_some() { request.json(body) } else { request }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_wants_its_role() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let theirs = Theirs::make(&app).await?;
    let mut keys = Vec::new();
    for role in ["viewer", "admin"] {
        let body = json!({ "name": role, "role": role });
        let key = app.http.post("/v1/api-keys", &body).await?.expect(201)?.json();
        keys.push((role, app.http.with_key(key["key"].as_str().unwrap_or_default())));
    }
    let mut refused = 0;
    for operation in operations(&app.http).await? {
        let path = theirs.fill(&operation.path);
        let too_low = match operation.least_role.as_str() {
            "owner" => &keys[..],
            "admin" => &keys[..1],
            _ => &[],
        };
        for (role, http) in too_low {
            let answer = send(http, &operation, &path, &body_for(&operation.path)).await?;
            let what = (answer.status, answer.code());
            assert_eq!(what, (403, "FORBIDDEN_ROLE".to_owned()), "{role} {path}: {}", answer.text);
            refused += 1;
        }
    }
    assert!(refused > 20, "{refused} were refused");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_none_is_not_found() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let theirs = Theirs::make(&app).await?;
    for operation in operations(&app.http).await? {
        for (at, _) in operation.path.match_indices('{') {
            let (before, rest) = operation.path.split_at(at);
            let after = rest.split_once('}').map_or("", |(_, after)| after);
            for wrong in
                ["not-an-id", "con_01JCZ5M2V8Q4T6W8Y0A2B4C6D9", "ws_", "%00", "acc_%F0%9F%94%91"]
            {
                let path = format!("{}{wrong}{}", theirs.fill(before), theirs.fill(after));
                let answer = send(&app.http, &operation, &path, &body_for(&operation.path)).await?;
                let what = (answer.status, answer.code());
                assert_eq!(what, (404, "NOT_FOUND".to_owned()), "{path}: {}", answer.text);
            }
        }
    }
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_says_what_is_wrong_with_it_on_every_operation() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let theirs = Theirs::make(&app).await?;
    let mut fields = 0;
    for operation in operations(&app.http).await? {
        let Some(schema) = &operation.body else { continue };
        let path = theirs.fill(&operation.path);
        let raw = |kind: &'static str, body: String| {
            let request = app.http.request(operation.method.clone(), &path);
            app.http.send(request.header(CONTENT_TYPE, kind).body(body))
        };
        let good = body_for(&operation.path);
        for (kind, body, status, code) in [
            ("text/plain", good.to_string(), 415, "UNSUPPORTED_MEDIA_TYPE"),
            ("application/x-www-form-urlencoded", "a=b".to_owned(), 415, "UNSUPPORTED_MEDIA_TYPE"),
            ("application/json", "{\"".to_owned(), 400, "INVALID_JSON"),
            ("application/json", "[]".to_owned(), 400, "VALIDATION_FAILED"),
            ("application/json", "null".to_owned(), 400, "VALIDATION_FAILED"),
            ("application/json", format!("\"{}\"", "x".repeat(70_000)), 413, "BODY_TOO_LARGE"),
        ] {
            let answer = raw(kind, body).await?;
            let what = (answer.status, answer.code());
            assert_eq!(what, (status, code.to_owned()), "{path} {kind}: {}", answer.text);
        }
        let mut wrong = vec![("nobody".to_owned(), json!(1))];
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            wrong.extend(wrong_values(property).into_iter().map(|value| (name.clone(), value)));
        }
        for (name, value) in wrong {
            let mut body = good.clone();
            body[&name] = value;
            let answer = send(&app.http, &operation, &path, &body).await?;
            // Where it is too early for any body, that is what is said.
            if ["CONNECT_NOT_SELECTING", "CONNECT_NOT_CLAIMING"].contains(&answer.code().as_str()) {
                continue;
            }
            assert_eq!(answer.status, 400, "{path} {body}: {}", answer.text);
            let at = answer.json()["errors"][0]["pointer"].as_str().unwrap_or_default().to_owned();
            assert!(at.starts_with(&format!("/{name}")), "{path} {body}: {}", answer.text);
            fields += 1;
        }
    }
    assert!(fields > 60, "{fields} wrong fields");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nul_in_a_query_is_refused() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let theirs = Theirs::make(&app).await?;
    let mut parameters = 0;
    for operation in operations(&app.http).await? {
        for name in &operation.query {
            for value in ["%00", "a%00b", "a,%00"] {
                let path = format!("{}?{name}={value}", theirs.fill(&operation.path));
                let answer = send(&app.http, &operation, &path, &json!({})).await?;
                assert_eq!(answer.status, 400, "{path}: {}", answer.text);
                assert_eq!(answer.json()["errors"][0]["parameter"], name.as_str(), "{path}");
                parameters += 1;
            }
        }
    }
    assert!(parameters > 60, "{parameters} parameters");
    for product in ["postbreeze", "postato", "postpeer", "woopsocial", "ocoya"] {
        let document = format!("/compat/{product}/openapi.json");
        let document = app.http.get(&document).await?.expect(200)?.json();
        let base = document["servers"][0]["url"].as_str().unwrap_or_default();
        let base = base.trim_start_matches(app.http.base());
        for (path, item) in document["paths"].as_object().into_iter().flatten() {
            for name in query_of(&item["get"]) {
                let path = format!("{base}{}?{name}=%00", theirs.fill(path));
                let answer = app
                    .http
                    .request(Method::GET, &path)
                    .header("x-api-key", app.owner.expose_key());
                let answer = app.http.send(answer).await?;
                assert!(
                    (400..500).contains(&answer.status),
                    "{path}: {} {}",
                    answer.status,
                    answer.text
                );
            }
        }
    }
    app.finish().await
}
