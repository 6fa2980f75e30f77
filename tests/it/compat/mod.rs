//! The dialects, as their products' own clients call them: nothing but a base URL and a key is ours.

mod ocoya;
mod postato;
mod postbreeze;
mod postpeer;
mod repeated;
pub(crate) mod sign_in;
mod woopsocial;

use anyhow::Context as _;
use latchkey_tests::app::{Answer, Options, eventually, worn};
use latchkey_tests::{Person, TestApp};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

const ULID: &str = "01JCZ5M2V8Q4T6W8Y0A2B4C6D8";

/// Where nobody may be sent.
const HOSTILE: [&str; 8] = [
    "javascript:alert(1)",
    "data:text/html,x",
    "http://example.com/",
    "https://user:pw@example.com/",
    "//example.com",
    "/relative",
    "https://",
    "",
];

/// A client of a product.
#[derive(Clone)]
struct Client<'a> {
    app: &'a TestApp,
    base: &'static str,
    header: &'static str,
    key: String,
    http: reqwest::Client,
}

impl<'a> Client<'a> {
    fn new(
        app: &'a TestApp,
        (base, header): (&'static str, &'static str),
        key: &str,
    ) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        Ok(Self { app, base, header, key: key.to_owned(), http })
    }

    fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    fn without_key(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{}{path}", self.app.http.base(), self.base))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let key = match self.header {
            "authorization" => format!("Bearer {}", self.key),
            _ => self.key.clone(),
        };
        self.without_key(method, path).header(self.header, key)
    }

    async fn send(&self, request: RequestBuilder) -> anyhow::Result<Answer> {
        self.app.http.send(request).await
    }

    async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.send(self.request(Method::GET, path)).await
    }

    async fn delete(&self, path: &str) -> anyhow::Result<Answer> {
        self.send(self.request(Method::DELETE, path)).await
    }

    async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Answer> {
        self.send(self.request(Method::POST, path).json(body)).await
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Latchkey with these platforms beside the sandbox's own.
async fn dressed(ids: &[&str]) -> anyhow::Result<TestApp> {
    TestApp::start_with(Options { platforms: worn(ids), ..Options::default() }).await
}

fn workspace(app: &TestApp) -> String {
    app.owner.workspace_id.to_string()
}

/// A key of this role, of one workspace or of all.
async fn key(app: &TestApp, role: &str, workspace: Option<&str>) -> anyhow::Result<String> {
    let body = json!({ "name": "test", "role": role, "workspaceId": workspace });
    let made = app.http.post("/v1/api-keys", &body).await?.expect(201)?.json();
    Ok(text(&made["key"]).to_owned())
}

async fn another_workspace(app: &TestApp) -> anyhow::Result<String> {
    let body = json!({ "name": "Other" });
    let made = app.http.post("/v1/workspaces", &body).await?.expect(201)?.json();
    Ok(text(&made["id"]).to_owned())
}

/// Opens a URL as this person, approves, and lets the browser come back.
async fn approve(app: &TestApp, url: &Value, user: &str) -> anyhow::Result<Answer> {
    app.approve(&json!({ "authorizeUrl": url }), &Person::new(user)?).await
}

/// The callback of a URL, for who wants to do something else with it.
async fn consent(url: &Value, user: &str) -> anyhow::Result<url::Url> {
    Person::new(user)?.approve(text(url)).await
}

/// The parameters of an address, in order.
fn query(url: &str) -> Vec<(String, String)> {
    url::Url::parse(url).map(|url| url.query_pairs().into_owned().collect()).unwrap_or_default()
}

/// Waits until this client sees so many rows.
async fn rows(
    client: &Client<'_>,
    (path, list): (&str, &str),
    count: usize,
) -> anyhow::Result<Vec<Value>> {
    eventually(|| async {
        let answer = client.get(path).await?.expect(200)?.json();
        let rows = if list.is_empty() { &answer } else { &answer[list] };
        let rows = rows.as_array().context("a list")?.clone();
        Ok((rows.len() == count).then_some(rows))
    })
    .await
}

async fn count(app: &TestApp, table: &str) -> anyhow::Result<i64> {
    let row = app.row(&format!("SELECT count(*) AS n FROM {table}")).await?;
    row["n"].as_i64().context("a count")
}

/// How a product tells of an error.
type Check = fn(&Answer, u16, &str);

/// Where a product publishes no errors of its own.
fn problem(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{}", answer.text);
    assert_eq!(answer.headers[CONTENT_TYPE], "application/problem+json");
    let body = answer.json();
    assert_eq!((&body["status"], text(&body["code"])), (&json!(status), code), "{body}");
    assert_eq!(
        text(&body["requestId"]),
        answer.headers["x-request-id"].to_str().unwrap_or_default()
    );
    assert!(text(&body["detail"]).len() > 10, "{body}");
}

/// What is wrong with a request whatever it asks for.
async fn bad_requests(
    client: &Client<'_>,
    (path, good): (&str, &Value),
    check: Check,
) -> anyhow::Result<()> {
    let post = |kind: &'static str, body: String| {
        let request = client.request(Method::POST, path).header(CONTENT_TYPE, kind).body(body);
        client.send(request)
    };
    let before = count(client.app, "connects").await?;
    let invalid = "VALIDATION_FAILED";
    let json = "application/json";
    check(&post(json, "{\"a".to_owned()).await?, 400, "INVALID_JSON");
    check(&post(json, String::new()).await?, 400, "INVALID_JSON");
    check(&post(json, "[]".to_owned()).await?, 400, invalid);
    check(&post(json, "{}".to_owned()).await?, 400, invalid);
    check(
        &post(json, format!("{{\"a\":\"{}\"}}", "x".repeat(70_000))).await?,
        413,
        "BODY_TOO_LARGE",
    );
    check(&post("text/plain", good.to_string()).await?, 415, "UNSUPPORTED_MEDIA_TYPE");
    let bare = client.without_key(Method::POST, path).json(good);
    check(&client.send(bare).await?, 401, "UNAUTHORIZED");
    for wrong in ["lk_wrong", "", "Basic", "lk_", "pb_live_x"] {
        check(&client.with_key(wrong).post(path, good).await?, 401, "UNAUTHORIZED");
    }
    let none = client.request(Method::POST, "/no-such-path").json(good);
    check(&client.send(none).await?, 404, "NOT_FOUND");
    let method = client.send(client.request(Method::PATCH, path).json(good)).await?;
    check(&method, 405, "METHOD_NOT_ALLOWED");
    assert!(method.headers.contains_key("allow"));
    assert_eq!(count(client.app, "connects").await?, before, "nothing was begun");
    Ok(())
}

/// Each document is served, says where its paths begin, and is one of OpenAPI 3.1.
#[tokio::test(flavor = "multi_thread")]
async fn every_dialect_serves_its_document() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    for (name, base) in [
        ("postbreeze", "/api/v1"),
        ("postato", ""),
        ("postpeer", ""),
        ("woopsocial", "/v1"),
        ("ocoya", "/api/_public/v1"),
    ] {
        let path = format!("{}/compat/{name}/openapi.json", app.http.base());
        let document = app.http.browse(&path).await?.expect(200)?.json();
        assert_eq!(document["openapi"], "3.1.0", "{name}");
        let server = text(&document["servers"][0]["url"]);
        assert!(server.ends_with(&format!("/compat/{name}{base}")), "{server}");
        assert!(document["paths"].as_object().is_some_and(|paths| !paths.is_empty()));
    }
    app.finish().await
}
