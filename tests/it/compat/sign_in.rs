//! Signing in with an API key: the session, its cookie, and where the browser may be led.

use chrono::TimeDelta;
use latchkey_tests::TestApp;
use latchkey_tests::app::{Answer, Browser, Options};
use latchkey_worker::sweeps::Sweep;
use reqwest::Method;
use serde_json::json;

use super::{count, key, text};

/// Signs a browser in that is on the way nowhere.
pub(crate) async fn sign_in(browser: &Browser, key: &str) -> anyhow::Result<Answer> {
    browser.submit("/sign-in", &[("key", key)]).await?.expect(200)
}

/// A page that needs somebody to be signed in.
fn page(app: &TestApp) -> String {
    let workspace = &app.owner.workspace_id;
    format!("/compat/ocoya/api/social-connect/start?provider=x&workspaceId={workspace}")
}

/// Whether it lets this browser in.
async fn is_signed_in(app: &TestApp, browser: &Browser) -> anyhow::Result<bool> {
    let answer = browser.open(&page(app)).await?;
    anyhow::ensure!([200, 303].contains(&answer.status), "{}", answer.text);
    Ok(answer.status == 200)
}

/// The cookie that an answer set.
pub(crate) fn cookie(answer: &Answer) -> String {
    let set = answer.headers.get("set-cookie").and_then(|value| value.to_str().ok());
    set.and_then(|set| set.split(';').next()).unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_lives_twelve_hours_and_is_pruned() -> anyhow::Result<()> {
    let app = super::dressed(&["X"]).await?;
    let browser = app.browser();
    assert!(!is_signed_in(&app, &browser).await?);
    let answer = sign_in(&browser, app.owner.expose_key()).await?;
    let set = answer.headers["set-cookie"].to_str()?.to_owned();
    assert!(set.starts_with("lk_session=") && set.contains("; HttpOnly; SameSite=Lax"), "{set}");
    assert!(is_signed_in(&app, &browser).await?);
    let stored = app.row("SELECT encode(hash, 'hex') AS hash FROM sessions").await?;
    let (_, value) = cookie(&answer)
        .split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .unwrap_or_default();
    assert!(value.len() == 43 && !text(&stored["hash"]).contains(&hex::encode(&value)));
    app.clock.advance(TimeDelta::hours(11));
    assert!(is_signed_in(&app, &browser).await?);
    app.clock.advance(TimeDelta::minutes(61));
    assert!(!is_signed_in(&app, &browser).await?);
    Sweep::Prune.run(app.worker_context()).await?;
    assert_eq!(count(&app, "sessions").await?, 0);
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_dies_with_its_key() -> anyhow::Result<()> {
    let app = super::dressed(&["X"]).await?;
    let body = json!({ "name": "second", "role": "admin" });
    let second = app.http.post("/v1/api-keys", &body).await?.expect(201)?.json();
    let browser = app.browser();
    sign_in(&browser, text(&second["key"])).await?;
    assert!(is_signed_in(&app, &browser).await?);
    app.http.delete(&format!("/v1/api-keys/{}", text(&second["id"]))).await?.expect(204)?;
    assert!(!is_signed_in(&app, &browser).await?);
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_ends_the_session_for_every_copy_of_the_cookie() -> anyhow::Result<()> {
    let app = super::dressed(&["X"]).await?;
    let browser = app.browser();
    let copied = cookie(&sign_in(&browser, app.owner.expose_key()).await?);
    let refused = browser.at("https://evil.example").submit("/sign-out", &[]).await?;
    assert_eq!(refused.status, 403);
    assert!(is_signed_in(&app, &browser).await?);
    browser.submit("/sign-out", &[]).await?.expect(303)?;
    assert!(!is_signed_in(&app, &browser).await?);
    let request = app.http.request(Method::GET, &page(&app)).header("cookie", copied);
    app.http.send(request).await?.expect(303)?;
    sign_in(&browser, app.owner.expose_key()).await?;
    sign_in(&browser, app.owner.expose_key()).await?;
    assert_eq!(count(&app, "sessions").await?, 1, "a new session ends the one before it");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_told_on_the_form_and_costs_the_address() -> anyhow::Result<()> {
    let app = TestApp::start_with(Options {
        serve: |config| config.failure_limit = 3,
        ..Options::default()
    })
    .await?;
    let other = key(&app, "viewer", None).await?;
    let browser = app.browser();
    for wrong in ["lk_wrong", "", "password"] {
        let again =
            browser.submit("/sign-in", &[("key", wrong), ("next", "/a?b=c")]).await?.expect(401)?;
        assert!(
            again.text.contains("role=\"alert\"") && again.text.contains("/a?b=c"),
            "{}",
            again.text
        );
        assert!(!again.text.contains("lk_wrong"), "what was written is not shown again");
    }
    let put_off = browser.submit("/sign-in", &[("key", "lk_wrong")]).await?.expect(429)?;
    assert!(put_off.headers.contains_key("retry-after"));
    let foreign = browser.at("https://evil.example").submit("/sign-in", &[("key", &other)]).await?;
    assert_eq!(foreign.status, 403);
    assert_eq!(count(&app, "sessions").await?, 0);
    // A valid key passes, although the address's budget is spent.
    browser.submit("/sign-in", &[("key", &other)]).await?.expect(200)?;
    assert_eq!(count(&app, "sessions").await?, 1);
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_in_leads_to_no_address_but_ours() -> anyhow::Result<()> {
    let app = super::dressed(&["X"]).await?;
    let browser = app.browser();
    for foreign in [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "javascript:alert(1)",
        "@evil.example",
        ".evil.example",
        "/a\r\nset-cookie: a=b",
        " //evil.example",
        "https:evil.example",
    ] {
        let form = [("key", app.owner.expose_key()), ("next", foreign)];
        let answer = browser.submit("/sign-in", &form).await?.expect(200)?;
        assert_eq!(answer.location(), None, "{foreign}");
    }
    let form = [("key", app.owner.expose_key()), ("next", "/docs?a=b")];
    let led = browser.submit("/sign-in", &form).await?.expect(303)?;
    assert!(
        led.location().is_some_and(|to| to.starts_with("http://") && to.ends_with("/docs?a=b"))
    );
    app.finish().await
}
