//! Bad input gets a clear error and leaves the rows right.

use latchkey_tests::TestApp;
use latchkey_tests::app::{Answer, Options};
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

async fn start_with(app: &TestApp, body: &Value) -> anyhow::Result<Answer> {
    app.http.post(&app.path("/connects"), body).await
}

async fn no_connects(app: &TestApp) -> anyhow::Result<()> {
    let row = app.row("SELECT (SELECT count(*) FROM connects) AS connects, (SELECT count(*) FROM outbox) AS messages").await?;
    anyhow::ensure!(row["connects"] == 0 && row["messages"] == 0, "something was written: {row}");
    Ok(())
}

/// A body, and the status, code and pointer that it gets.
type Case = (Value, u16, &'static str, &'static str);

async fn assert_refused(app: &TestApp, (body, status, code, pointer): Case) -> anyhow::Result<()> {
    let answer = start_with(app, &body).await?;
    let problem = answer.json();
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{body}: {problem}");
    assert_eq!(answer.headers[CONTENT_TYPE], "application/problem+json");
    assert_eq!(problem["errors"][0]["pointer"], pointer, "{body}: {problem}");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.len() > 10), "{problem}");
    assert_eq!(problem["requestId"], answer.headers["x-request-id"].to_str()?);
    Ok(())
}

fn credentials(identifier: &str, password: &str) -> Value {
    json!({ "identifier": identifier, "password": password })
}

fn with(field: &str, value: impl Into<Value>) -> Value {
    json!({ "platform": "SANDBOX", field: value.into() })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connect_request_says_what_is_wrong_with_it() -> anyhow::Result<()> {
    const INVALID: &str = "VALIDATION_FAILED";
    let app = TestApp::start().await?;
    let long = json!({ "x": "y".repeat(5000) });
    let bound = json!({ "identifier": "a.b", "password": "abcd-efgh-2345-z7z7" });
    let bound = json!({ "platform": "SANDBOX", "credentials": bound, "binding": "browser" });
    let cases: [Case; 14] = [
        (with("binding", "somebody"), 400, INVALID, "/binding"),
        (with("binding", "claim"), 400, INVALID, "/redirectUrl"),
        (bound, 400, INVALID, "/binding"),
        (with("credentials", json!({})), 400, INVALID, "/credentials/identifier"),
        (with("credentials", credentials("a.b", "x")), 400, INVALID, "/credentials"),
        (with("scopes", json!([])), 400, INVALID, "/scopes"),
        (json!({ "platform": "MYSPACE" }), 400, "PLATFORM_UNKNOWN", "/platform"),
        (json!({ "platform": "sandbox" }), 400, "PLATFORM_UNKNOWN", "/platform"),
        (json!({}), 400, INVALID, "/platform"),
        (json!({ "platform": 7 }), 400, INVALID, "/platform"),
        (with("color", "red"), 400, INVALID, "/color"),
        (with("metadata", "x"), 400, INVALID, "/metadata"),
        (with("metadata", long), 400, INVALID, "/metadata"),
        (with("appId", "con_1"), 400, INVALID, "/appId"),
    ];
    for case in cases {
        assert_refused(&app, case).await?;
    }
    no_connects(&app).await?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connect_request_may_not_lead_the_browser_astray() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    for url in [
        "javascript:alert(1)",
        "http://example.com/",
        "https://user:pw@example.com/",
        "//example.com",
        "/relative",
        "ftp://example.com/",
        "http://localhost.example.com/",
    ] {
        let case = (with("redirectUrl", url), 400, "REDIRECT_NOT_ALLOWED", "/redirectUrl");
        assert_refused(&app, case).await?;
    }
    no_connects(&app).await?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connect_request_names_only_what_its_workspace_has() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let ulid = "01JCZ5M2V8Q4T6W8Y0A2B4C6D8";
    let cases: [Case; 3] = [
        (with("accountId", format!("acc_{ulid}")), 404, "ACCOUNT_NOT_FOUND", "/accountId"),
        (with("profileId", format!("prof_{ulid}")), 404, "PROFILE_NOT_FOUND", "/profileId"),
        (with("appId", format!("app_{ulid}")), 404, "APP_NOT_FOUND", "/appId"),
    ];
    for case in cases {
        assert_refused(&app, case).await?;
    }
    no_connects(&app).await?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_without_credentials_is_told_apart_from_an_unknown_one() -> anyhow::Result<()> {
    let app = TestApp::start_with(Options { configured: false, ..Options::default() }).await?;
    let answer = start_with(&app, &json!({ "platform": "SANDBOX" })).await?;
    assert_eq!((answer.status, answer.code().as_str()), (422, "PLATFORM_NOT_CONFIGURED"));
    let platforms = app.http.get("/v1/platforms").await?.expect(200)?.json();
    assert_eq!(platforms["data"][0]["configured"], false);
    no_connects(&app).await?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_no_json_is_told_so() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let path = app.path("/connects");
    let send = |kind: &'static str, body: String| {
        let request = app.http.request(Method::POST, &path).header(CONTENT_TYPE, kind).body(body);
        app.http.send(request)
    };
    let json = "application/json";
    for (kind, body, status, code) in [
        (json, "{\"platform\":".to_owned(), 400, "INVALID_JSON"),
        (json, String::new(), 400, "INVALID_JSON"),
        (json, "[]".to_owned(), 400, "VALIDATION_FAILED"),
        ("text/plain", "{}".to_owned(), 415, "UNSUPPORTED_MEDIA_TYPE"),
        (json, format!("{{\"platform\":\"{}\"}}", "x".repeat(70_000)), 413, "BODY_TOO_LARGE"),
    ] {
        let answer = send(kind, body).await?;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{}", answer.text);
    }
    no_connects(&app).await?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_paths_methods_and_queries_are_checked() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let unknown = "01JCZ5M2V8Q4T6W8Y0A2B4C6D8";
    for path in [
        app.path(&format!("/accounts/acc_{unknown}")),
        app.path("/accounts/not-an-id"),
        app.path(&format!("/accounts/con_{unknown}")),
        app.path(&format!("/connects/con_{unknown}")),
        format!("/v1/workspaces/ws_{unknown}"),
        "/v1/nothing-here".to_owned(),
    ] {
        let answer = app.http.get(&path).await?;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (404, "NOT_FOUND"),
            "{path}: {}",
            answer.text
        );
    }
    let answer = app.http.delete("/v1/platforms").await?;
    assert_eq!((answer.status, answer.code().as_str()), (405, "METHOD_NOT_ALLOWED"));
    for query in ["limit=0", "limit=201", "limit=x", "cursor=%21%21", "status=sleeping"] {
        let answer = app.http.get(&app.path(&format!("/accounts?{query}"))).await?;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (400, "VALIDATION_FAILED"),
            "{query}: {}",
            answer.text
        );
    }
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_is_too_low_is_refused() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let key = |role: &'static str| {
        let app = &app;
        async move {
            let key = app
                .http
                .post("/v1/api-keys", &json!({ "name": role, "role": role }))
                .await?
                .expect(201)?
                .json();
            anyhow::Ok(app.http.with_key(key["key"].as_str().unwrap_or_default()))
        }
    };
    let (viewer, admin) = (key("viewer").await?, key("admin").await?);
    let connects = app.path("/connects");
    viewer.get(&connects).await?.expect(200)?;
    viewer.get(&app.path("/profiles")).await?.expect(200)?;
    let choice = app.path("/connects/con_01JCZ5M2V8Q4T6W8Y0A2B4C6D8");
    assert_eq!(viewer.get(&format!("{choice}/candidates")).await?.code(), "FORBIDDEN_ROLE");
    for (http, path, body) in [
        (&viewer, connects.as_str(), json!({ "platform": "SANDBOX" })),
        (&viewer, &format!("{choice}/selection"), json!({ "candidateIds": ["1"] })),
        (&viewer, &format!("{choice}/claim"), json!({ "claim": "x" })),
        (&viewer, "/v1/workspaces", json!({ "name": "x" })),
        (&viewer, "/v1/webhook-endpoints", json!({ "url": "https://example.com" })),
        (&viewer, &app.path("/profiles"), json!({ "name": "x" })),
        (&admin, "/v1/apps", json!({ "name": "x" })),
        (&admin, "/v1/api-keys", json!({ "name": "x", "role": "viewer" })),
    ] {
        let answer = http.post(path, &body).await?;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (403, "FORBIDDEN_ROLE"),
            "{path}: {}",
            answer.text
        );
    }
    no_connects(&app).await?;
    let keys = app.http.get("/v1/api-keys").await?.expect(200)?.json();
    let admins = keys["data"].as_array().into_iter().flatten().find(|key| key["role"] == "admin");
    let id = admins.and_then(|key| key["id"].as_str()).unwrap_or_default();
    app.http.delete(&format!("/v1/api-keys/{id}")).await?.expect(204)?;
    assert_eq!(admin.get(&connects).await?.status, 401, "a revoked key is no key");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_browser_may_go_is_the_workspace_s_to_say() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let list = json!({ "redirectAllowlist": ["https://app.example/done"] });
    app.http.patch(&app.path(""), &list).await?.expect(200)?;
    for (url, status) in [
        ("https://app.example/done", 201),
        ("https://app.example/done?free=1", 201),
        ("https://app.example/other", 400),
        ("https://app.example.evil.example/done", 400),
        ("http://app.example/done", 400),
        ("https://app.example:444/done", 400),
    ] {
        let answer =
            start_with(&app, &json!({ "platform": "SANDBOX", "redirectUrl": url })).await?;
        assert_eq!(answer.status, status, "{url}: {}", answer.text);
    }
    app.finish().await
}
