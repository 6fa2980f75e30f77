//! `Idempotency-Key` in the dialects: a POST that is repeated runs once, and is answered in the product's own words.

use latchkey_tests::TestApp;
use latchkey_tests::app::Answer;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Client, count, dressed, key, text, workspace};

const DOORS: [(&str, &str, &str); 4] = [
    ("postbreeze", "/compat/postbreeze/api/v1", "authorization"),
    ("postpeer", "/compat/postpeer", "x-access-key"),
    ("woopsocial", "/compat/woopsocial/v1", "authorization"),
    ("ocoya", "/compat/ocoya/api/_public/v1", "X-API-Key"),
];

/// Every POST of a product, with a body that succeeds and one that is refused.
fn posts(app: &TestApp, product: &str) -> Vec<(String, Value, Value)> {
    let workspace = workspace(app);
    let (good, bad) = match product {
        "postbreeze" => {
            let wanted = |platform: &str| json!({ "workspaceId": workspace, "platform": platform });
            return vec![("/social-accounts/connect".to_owned(), wanted("X"), wanted("MASTODON"))];
        }
        "woopsocial" => {
            let wanted = |platform: &str| json!({ "projectId": workspace, "platform": platform });
            let path = "/social-accounts/authorization-url".to_owned();
            return vec![(path, wanted("X"), wanted("MASTODON"))];
        }
        "ocoya" => {
            let path = format!("/social-profiles/connection-url?workspaceId={workspace}");
            return vec![(path, json!({ "provider": "x" }), json!({ "provider": "mastodon" }))];
        }
        _ => (
            json!({ "platform": "twitter", "name": "a", "clientId": "c", "clientSecret": "shh-0123456789" }),
            json!({ "platform": "mastodon", "name": "a", "clientId": "c", "clientSecret": "s" }),
        ),
    };
    let login = |password: &str| json!({ "identifier": "sam.test", "password": password });
    vec![
        ("/v1/apps/".to_owned(), good, bad),
        ("/v1/profiles/".to_owned(), json!({ "name": "Ann" }), json!({ "name": "" })),
        (
            "/v1/connect/bluesky/auth".to_owned(),
            login(&app.sandbox.app_password("sam")),
            login("no app password"),
        ),
    ]
}

async fn send(client: &Client<'_>, path: &str, key: &str, body: &Value) -> anyhow::Result<Answer> {
    let request = client.request(Method::POST, path).header("idempotency-key", key).json(body);
    client.send(request).await
}

fn is_replayed(answer: &Answer) -> bool {
    answer.headers.contains_key("idempotent-replayed")
}

/// The answer without the request's id.
fn told(answer: &Answer) -> (u16, Value, String) {
    let mut body = answer.json();
    if let Some(fields) = body.as_object_mut() {
        fields.remove("requestId");
    }
    let kind = answer.headers["content-type"].to_str().unwrap_or_default().to_owned();
    (answer.status, body, kind)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_post_of_a_dialect_runs_once() -> anyhow::Result<()> {
    let app = dressed(&["X", "BLUESKY"]).await?;
    for (product, base, header) in DOORS {
        let key = key(&app, "owner", Some(&workspace(&app))).await?;
        let client = Client::new(&app, (base, header), &key)?;
        for (n, (path, good, bad)) in posts(&app, product).into_iter().enumerate() {
            let (good_key, bad_key) = (format!("good-{n}"), format!("bad-{n}"));
            let first = send(&client, &path, &good_key, &good).await?;
            assert!(first.status < 300, "{product} {path}: {}", first.text);
            let tables = ["connects", "apps", "profiles", "app_secrets"];
            let mut before = Vec::new();
            for table in tables {
                before.push(count(&app, table).await?);
            }
            let again = send(&client, &path, &good_key, &good).await?;
            assert_eq!(told(&first), told(&again), "{product} {path}");
            assert!(!is_replayed(&first) && is_replayed(&again), "{product} {path}");
            for (table, before) in tables.iter().zip(before) {
                assert_eq!(count(&app, table).await?, before, "{product} {path}: {table}");
            }
            let other = send(&client, &path, &good_key, &bad).await?;
            assert_eq!(other.status, 422, "{product} {path}: {}", other.text);
            let refused = send(&client, &path, &bad_key, &bad).await?;
            let plain = client.post(&path, &bad).await?;
            assert_eq!(told(&refused), told(&plain), "{product} {path}: in its own words");
            let refused_again = send(&client, &path, &bad_key, &bad).await?;
            assert_eq!(told(&refused), told(&refused_again), "{product} {path}");
            assert!(is_replayed(&refused_again), "{product} {path}");
        }
    }
    app.finish().await
}

/// A secret that is replaced twice would push the one out that still works.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_replaced_once() -> anyhow::Result<()> {
    let app = dressed(&["X"]).await?;
    let key = key(&app, "owner", Some(&workspace(&app))).await?;
    let client = Client::new(&app, ("/compat/postpeer", "x-access-key"), &key)?;
    let new = json!({ "platform": "twitter", "name": "a", "clientId": "c", "clientSecret": "first-0123456789" });
    let made = client.post("/v1/apps/", &new).await?.expect(201)?.json();
    let path = format!("/v1/apps/{}/secret", text(&made["app"]["id"]));
    let secrets = "SELECT string_agg(id, ',' ORDER BY id) AS ids FROM app_secrets";
    let body = json!({ "clientSecret": "second-0123456789" });
    let first = send(&client, &path, "rotate", &body).await?.expect(200)?;
    let before = app.row(secrets).await?["ids"].clone();
    let again = send(&client, &path, "rotate", &body).await?.expect(200)?;
    assert_eq!(told(&first), told(&again));
    assert_eq!(app.row(secrets).await?["ids"], before);
    app.finish().await
}
