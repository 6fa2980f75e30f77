//! Who may finish a connect.

use latchkey_tests::app::Browser;
use latchkey_tests::{Person, TestApp};
use serde_json::{Value, json};

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

async fn bound(app: &TestApp) -> anyhow::Result<Value> {
    app.start_connect(json!({ "binding": "browser", "redirectUrl": "https://app.example/" })).await
}

async fn accounts(app: &TestApp) -> anyhow::Result<usize> {
    let list = app.http.get(&app.path("/accounts")).await?.expect(200)?.json();
    Ok(list["data"].as_array().map_or(0, Vec::len))
}

/// Comes back in another browser than the one it was begun in.
async fn comes_back_elsewhere(
    app: &TestApp,
    started: &Value,
    (callback, elsewhere): (&str, &Browser),
) -> anyhow::Result<()> {
    let refused = elsewhere.open(callback).await?.expect(403)?;
    assert!(refused.text.contains("BROWSER_MISMATCH") && refused.location().is_none());
    assert_eq!(elsewhere.cookies(), 0, "it gets no page of this connect");
    let id = text(&started["connectId"]);
    let ended = app.ended(id).await?;
    let reached = (text(&ended["status"]), text(&ended["reasonCode"]));
    assert_eq!(reached, ("failed", "BROWSER_MISMATCH"), "{ended:#}");
    app.event("connect.failed", id).await?;
    assert_eq!(app.sandbox.ledger().iter().filter(|entry| entry.family.is_some()).count(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connect_bound_to_a_browser_is_finished_in_it() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let started = bound(&app).await?;
    assert_eq!((&started["authorizeUrl"], &started["state"]), (&Value::Null, &Value::Null));
    let browser = app.browser();
    let url = browser.begin(&started).await?;
    let callback = Person::new("sam")?.approve(&url).await?;
    let back = browser.open(callback.as_str()).await?.expect(303)?;
    assert!(back.location().is_some_and(|to| to.contains("status=success")));
    assert!(!back.headers.contains_key("set-cookie"), "the cookie stays the one that was traded");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_browser_ends_it() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let started = bound(&app).await?;
    let (owner, thief) = (app.browser(), app.browser());
    let url = owner.begin(&started).await?;
    let callback = Person::new("sam")?.approve(&url).await?;
    comes_back_elsewhere(&app, &started, (callback.as_str(), &thief)).await?;
    let late = owner.open(callback.as_str()).await?.expect(409)?;
    assert!(late.text.contains("STATE_USED"), "the state is consumed: {}", late.text);
    let page = format!("/connect/{}", text(&started["connectId"]));
    let told = owner.open(&page).await?.expect(303)?;
    assert!(told.location().is_some_and(|to| to.ends_with("error=browser_mismatch")));
    assert_eq!(thief.open(&page).await?.status, 404);
    assert_eq!(accounts(&app).await?, 0);
    app.finish().await
}

/// Whoever got at the state without the page has nothing that could be compared.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_button_nobody_finishes_it() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let started = bound(&app).await?;
    let url = app.browser().begin(&started).await?;
    app.execute("UPDATE connects SET page_hash = NULL").await?;
    let callback = Person::new("sam")?.approve(&url).await?;
    comes_back_elsewhere(&app, &started, (callback.as_str(), &app.browser())).await?;
    assert_eq!(accounts(&app).await?, 0);
    app.finish().await
}

/// Mail scanners and chat previews open every link, some of them several times.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_a_scanner_opened_is_finished_by_its_owner() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    for binding in ["none", "browser"] {
        let started = app.start_connect(json!({ "binding": binding })).await?;
        let link = text(&started["connectUrl"]);
        let scanner = app.browser();
        for _ in 0..3 {
            scanner.head(link).await?.expect(200)?;
            scanner.open(link).await?.expect(200)?;
        }
        let owner = app.browser();
        let url = owner.begin(&started).await?;
        let callback = Person::new("sam")?.approve(&url).await?;
        assert_eq!(scanner.head(callback.as_str()).await?.status, 405, "nor does HEAD use a state");
        owner.open(callback.as_str()).await?.expect(303)?;
        assert_eq!(app.ended(text(&started["connectId"])).await?["status"], "connected");
    }
    app.finish().await
}
