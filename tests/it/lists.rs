//! Every list goes page by page, and says which parameter is wrong.

use latchkey_tests::TestApp;
use serde_json::{Value, json};

/// Every list that takes a cursor, with rows enough for two pages.
async fn lists(app: &TestApp) -> anyhow::Result<Vec<String>> {
    for number in 0..3 {
        let name = format!("n{number}");
        app.http.post("/v1/workspaces", &json!({ "name": name })).await?.expect(201)?;
        let key = json!({ "name": name, "role": "viewer" });
        app.http.post("/v1/api-keys", &key).await?.expect(201)?;
        let client =
            json!({ "platform": "SANDBOX", "name": name, "clientId": name, "clientSecret": "s" });
        app.http.post("/v1/apps", &client).await?.expect(201)?;
        let endpoint = json!({ "url": format!("https://{name}.example/") });
        app.http.post("/v1/webhook-endpoints", &endpoint).await?.expect(201)?;
        app.http.post(&app.path("/profiles"), &json!({ "name": name })).await?.expect(201)?;
        app.connect(&name).await?;
    }
    let sam = app.connect("n0").await?;
    app.connect("n0").await?;
    let history = format!("/accounts/{}/history", sam.account_id);
    let mut lists: Vec<String> =
        ["connects", "accounts", "profiles"].map(|list| app.path(&format!("/{list}"))).into();
    lists.extend(
        ["workspaces", "api-keys", "apps", "webhook-endpoints"].map(|l| format!("/v1/{l}")),
    );
    lists.push(app.path(&history));
    Ok(lists)
}

async fn read(app: &TestApp, path: &str) -> anyhow::Result<Value> {
    Ok(app.http.get(path).await?.expect(200)?.json())
}

fn rows(page: &Value) -> Vec<Value> {
    page["data"].as_array().cloned().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_of_a_list_are_the_whole_list() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    for list in lists(&app).await? {
        let whole = read(&app, &list).await?;
        assert!(whole["nextCursor"].is_null(), "{list}: {whole}");
        let (mut paged, mut query) = (Vec::new(), "?limit=2".to_owned());
        loop {
            let page = read(&app, &format!("{list}{query}")).await?;
            assert!((1..=2).contains(&rows(&page).len()), "{list}: {page}");
            paged.extend(rows(&page));
            let Some(cursor) = page["nextCursor"].as_str() else { break };
            query = format!("?limit=2&cursor={cursor}");
        }
        assert!(paged.len() >= 3, "{list}");
        assert_eq!(paged, rows(&whole), "{list}");
    }
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_parameter_is_named() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let mut lists = lists(&app).await?;
    lists.push("/v1/platforms".to_owned());
    // A good position, but of the event log.
    let foreign = read(&app, "/v1/events?limit=1").await?;
    let foreign = format!("cursor={}", foreign["nextCursor"].as_str().unwrap_or_default());
    for list in &lists {
        for (query, parameter) in [
            ("limit=0", "limit"),
            ("limit=201", "limit"),
            ("limit=-1", "limit"),
            ("limit=ten", "limit"),
            ("cursor=%21%21", "cursor"),
            ("cursor=", "cursor"),
            ("cursor=YWJj", "cursor"),
            (foreign.as_str(), "cursor"),
            ("colour=red", "colour"),
        ] {
            let answer = app.http.get(&format!("{list}?{query}")).await?;
            let problem = answer.json();
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (400, "VALIDATION_FAILED"),
                "{list}?{query}: {problem}"
            );
            assert_eq!(problem["errors"][0]["parameter"], parameter, "{list}?{query}: {problem}");
        }
    }
    for (query, parameter) in [("after=x", "after"), ("types=sung", "types"), ("wait=31", "wait")] {
        let problem = app.http.get(&format!("/v1/events?{query}")).await?.expect(400)?.json();
        assert_eq!(problem["errors"][0]["parameter"], parameter, "{problem}");
    }
    app.finish().await
}
