//! No tenant sees or touches anything of another, on any route.

use latchkey_tests::TestApp;
use latchkey_tests::app::Http;
use reqwest::Method;
use serde_json::{Value, json};

/// Everything that the first tenant has, by the name of the path parameter.
pub(crate) struct Theirs {
    ids: Vec<(&'static str, String)>,
}

impl Theirs {
    pub(crate) async fn make(app: &TestApp) -> anyhow::Result<Self> {
        let sam = app.connect("sam").await?;
        let open = app.start_connect(json!({})).await?;
        let key = app
            .http
            .post("/v1/api-keys", &json!({ "name": "k", "role": "viewer" }))
            .await?
            .expect(201)?
            .json();
        let endpoints = app.http.get("/v1/webhook-endpoints").await?.expect(200)?.json();
        let endpoint = endpoints["data"][0]["id"].as_str().unwrap_or_default();
        let deliveries = format!("/v1/webhook-endpoints/{endpoint}/deliveries");
        let deliveries = app.http.get(&deliveries).await?.expect(200)?.json();
        let profile = app.http.post(&app.path("/profiles"), &json!({ "name": "Ann" })).await?;
        let own = app.http.post("/v1/apps", &body_for("/v1/apps")).await?.expect(201)?.json();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(Self {
            ids: vec![
                ("ws", app.owner.workspace_id.to_string()),
                ("acc", sam.account_id),
                ("con", text(&open["connectId"])),
                ("id", text(&key["id"])),
                ("prof", text(&profile.expect(201)?.json()["id"])),
                ("app", text(&own["id"])),
                ("secret", text(&own["secrets"][0]["id"])),
                ("whe", text(&endpoints["data"][0]["id"])),
                ("dlv", text(&deliveries["data"][0]["id"])),
            ],
        })
    }

    pub(crate) fn fill(&self, path: &str) -> String {
        self.ids
            .iter()
            .fold(path.to_owned(), |path, (name, id)| path.replace(&format!("{{{name}}}"), id))
    }

    fn are_in(&self, text: &str) -> bool {
        self.ids.iter().any(|(_, id)| text.contains(id.as_str()))
    }
}

/// Every operation of the published document that needs a key.
pub(crate) async fn operations(http: &Http) -> anyhow::Result<Vec<(Method, String)>> {
    let document = http.get("/openapi.json").await?.expect(200)?.json();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        let public = !path.starts_with("/v1/") || path.starts_with("/v1/connect/");
        for (method, _) in item.as_object().into_iter().flatten().filter(|_| !public) {
            operations.push((method.to_uppercase().parse()?, path.clone()));
        }
    }
    Ok(operations)
}

pub(crate) fn body_for(path: &str) -> Value {
    match path {
        path if path.ends_with("/connects") => json!({ "platform": "SANDBOX" }),
        path if path.ends_with("/workspaces") => json!({ "name": "theirs" }),
        path if path.ends_with("/api-keys") => json!({ "name": "k", "role": "viewer" }),
        path if path.ends_with("/profiles") => json!({ "name": "theirs" }),
        path if path.ends_with("/apps") => {
            json!({ "platform": "SANDBOX", "name": "a", "clientId": "c", "clientSecret": "s" })
        }
        path if path.ends_with("/selection") => json!({ "candidateIds": ["1"] }),
        path if path.ends_with("/claim") => json!({ "claim": "x" }),
        path if path.ends_with("/secrets") => json!({ "clientSecret": "s" }),
        path if path.ends_with("/replay") => json!({ "after": "evt_01JCZ5M2V8Q4T6W8Y0A2B4C6D8" }),
        path if path.ends_with("/webhook-endpoints") => {
            json!({ "url": "https://example.com/hook" })
        }
        _ => json!({}),
    }
}

pub(crate) async fn call(
    http: &Http,
    method: &Method,
    path: &str,
) -> anyhow::Result<latchkey_tests::app::Answer> {
    let request = http.request(method.clone(), path);
    let with_body = *method == Method::POST || *method == Method::PATCH;
    http.send(if with_body { request.json(&body_for(path)) } else { request }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenant_s_key_sees_nothing_on_any_route() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let theirs = Theirs::make(&app).await?;
    let before = app.row("SELECT json_agg(a) AS all FROM accounts a").await?;
    let stranger = app.another_tenant().await?;
    let http = app.http.with_key(stranger.expose_key());
    let operations = operations(&app.http).await?;
    assert!(operations.len() >= 35, "the document lists the routes: {operations:?}");
    for (method, path) in &operations {
        let filled = theirs.fill(path);
        assert!(!filled.contains('{'), "this test must know an id for {path}");
        let answer = call(&http, method, &filled).await?;
        if filled == *path {
            assert!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.text);
        } else {
            assert_eq!(answer.status, 404, "{method} {path}: {}", answer.text);
        }
        let own = answer.text.replace(stranger.workspace_id.as_str(), "");
        assert!(
            !theirs.are_in(&own),
            "{method} {path} shows something of another tenant: {}",
            answer.text
        );
    }
    assert_eq!(
        app.row("SELECT json_agg(a) AS all FROM accounts a").await?,
        before,
        "nothing was touched"
    );
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_one_workspace_reaches_that_one_alone() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let theirs = Theirs::make(&app).await?;
    let other =
        app.http.post("/v1/workspaces", &json!({ "name": "Other" })).await?.expect(201)?.json();
    let limited = json!({ "name": "limited", "role": "owner", "workspaceId": other["id"] });
    let limited = app.http.post("/v1/api-keys", &limited).await?.expect(201)?.json();
    let http = app.http.with_key(limited["key"].as_str().unwrap_or_default());
    for (method, path) in operations(&app.http).await? {
        let answer = call(&http, &method, &theirs.fill(&path)).await?;
        let refused_reach = path == "/v1/workspaces" && method == Method::POST;
        let expected = if refused_reach {
            403
        } else if path.contains('{') {
            404
        } else {
            answer.status
        };
        assert_eq!(answer.status, expected, "{method} {path}: {}", answer.text);
        assert!(
            answer.status < 500 && !theirs.are_in(&answer.text),
            "{method} {path}: {}",
            answer.text
        );
    }
    let workspaces = http.get("/v1/workspaces").await?.expect(200)?.json();
    assert_eq!(workspaces["data"].as_array().map(Vec::len), Some(1));
    let path = format!("/v1/workspaces/{}/connects", other["id"].as_str().unwrap_or_default());
    http.post(&path, &json!({ "platform": "SANDBOX" })).await?.expect(201)?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_there_is_nothing() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let theirs = Theirs::make(&app).await?;
    for key in ["", "lk_wrong", "Basic", "lk_"] {
        let http = app.http.with_key(key);
        for (method, path) in operations(&app.http).await? {
            let answer = call(&http, &method, &theirs.fill(&path)).await?;
            assert_eq!(
                (answer.status, answer.code()),
                (401, "UNAUTHORIZED".to_owned()),
                "{method} {path}"
            );
            assert!(answer.headers.contains_key("www-authenticate"));
        }
    }
    app.finish().await
}
