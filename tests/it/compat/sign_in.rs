//! Signing in with an API key: the session, its cookie, and where the browser may be led.

use chrono::TimeDelta;
use latchkey_tests::TestApp;
use latchkey_tests::app::{Answer, Options};
use latchkey_worker::sweeps::Sweep;
use reqwest::redirect::Policy;
use serde_json::json;

use super::{count, key, text};

/// A browser: keeps cookies, follows nothing by itself.
pub(super) struct Browser<'a> {
    app: &'a TestApp,
    http: reqwest::Client,
    cookies: Vec<(String, String)>,
}

impl<'a> Browser<'a> {
    pub(super) fn new(app: &'a TestApp) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().redirect(Policy::none()).build()?;
        Ok(Self { app, http, cookies: Vec::new() })
    }

    pub(super) async fn get(&mut self, url: &str) -> anyhow::Result<Answer> {
        let request = self.http.get(self.whole(url));
        self.send(request).await
    }

    /// Sends a form of a page of ours.
    pub(super) async fn post(
        &mut self,
        url: &str,
        form: &[(&str, &str)],
    ) -> anyhow::Result<Answer> {
        self.post_from(None, url, form).await
    }

    pub(super) async fn post_from(
        &mut self,
        origin: Option<&str>,
        url: &str,
        form: &[(&str, &str)],
    ) -> anyhow::Result<Answer> {
        let mut request = self.http.post(self.whole(url)).form(form);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        self.send(request).await
    }

    pub(super) async fn sign_in(&mut self, key: &str) -> anyhow::Result<Answer> {
        self.post("/sign-in", &[("key", key)]).await?.expect(200)
    }

    async fn send(&mut self, request: reqwest::RequestBuilder) -> anyhow::Result<Answer> {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let answer = self.app.http.send(request.header("cookie", cookies.join("; "))).await?;
        for set in answer.headers.get_all("set-cookie") {
            let pair = set.to_str()?.split(';').next().unwrap_or_default();
            if let Some((name, value)) = pair.split_once('=') {
                self.cookies.retain(|(known, _)| known != name);
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        Ok(answer)
    }

    /// The API listens on another port than its public URL says.
    fn whole(&self, url: &str) -> String {
        let base = self.app.http.base();
        match url::Url::parse(url) {
            Ok(url) if url.scheme() == "http" => {
                let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
                format!("{base}{}{query}", url.path())
            }
            _ => format!("{base}{url}"),
        }
    }

    /// Whether a page that needs somebody to be signed in lets this browser in.
    async fn is_signed_in(&mut self) -> anyhow::Result<bool> {
        let workspace = self.app.owner.workspace_id.to_string();
        let start =
            format!("/compat/ocoya/api/social-connect/start?provider=x&workspaceId={workspace}");
        let answer = self.get(&start).await?;
        anyhow::ensure!([200, 303].contains(&answer.status), "{}", answer.text);
        Ok(answer.status == 200)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_lives_twelve_hours_and_is_pruned() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let mut browser = Browser::new(&app)?;
    assert!(!browser.is_signed_in().await?);
    let answer = browser.sign_in(app.owner.expose_key()).await?;
    let cookie = answer.headers["set-cookie"].to_str()?.to_owned();
    assert!(
        cookie.starts_with("lk_session=") && cookie.contains("; HttpOnly; SameSite=Lax"),
        "{cookie}"
    );
    assert!(browser.is_signed_in().await?);
    let stored = app.row("SELECT encode(hash, 'hex') AS hash FROM sessions").await?;
    let value = &browser.cookies[0].1;
    assert!(value.len() == 43 && !text(&stored["hash"]).contains(&hex::encode(value)));
    app.clock.advance(TimeDelta::hours(11));
    assert!(browser.is_signed_in().await?);
    app.clock.advance(TimeDelta::minutes(61));
    assert!(!browser.is_signed_in().await?);
    Sweep::Prune.run(app.worker_context()).await?;
    assert_eq!(count(&app, "sessions").await?, 0);
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_dies_with_its_key() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let body = json!({ "name": "second", "role": "admin" });
    let second = app.http.post("/v1/api-keys", &body).await?.expect(201)?.json();
    let mut browser = Browser::new(&app)?;
    browser.sign_in(text(&second["key"])).await?;
    assert!(browser.is_signed_in().await?);
    app.http.delete(&format!("/v1/api-keys/{}", text(&second["id"]))).await?.expect(204)?;
    assert!(!browser.is_signed_in().await?);
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_ends_the_session_for_every_copy_of_the_cookie() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let mut browser = Browser::new(&app)?;
    browser.sign_in(app.owner.expose_key()).await?;
    let copied = browser.cookies.clone();
    let refused = browser.post_from(Some("https://evil.example"), "/sign-out", &[]).await?;
    assert_eq!(refused.status, 403);
    assert!(browser.is_signed_in().await?);
    browser.post("/sign-out", &[]).await?.expect(303)?;
    assert!(!browser.is_signed_in().await?);
    browser.cookies = copied;
    assert!(!browser.is_signed_in().await?);
    browser.sign_in(app.owner.expose_key()).await?;
    browser.sign_in(app.owner.expose_key()).await?;
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
    let mut browser = Browser::new(&app)?;
    for wrong in ["lk_wrong", "", "password"] {
        let again =
            browser.post("/sign-in", &[("key", wrong), ("next", "/a?b=c")]).await?.expect(401)?;
        assert!(
            again.text.contains("role=\"alert\"") && again.text.contains("/a?b=c"),
            "{}",
            again.text
        );
        assert!(!again.text.contains("lk_wrong"), "what was written is not shown again");
    }
    let put_off = browser.post("/sign-in", &[("key", &other)]).await?.expect(429)?;
    assert!(put_off.headers.contains_key("retry-after"));
    let foreign =
        browser.post_from(Some("https://evil.example"), "/sign-in", &[("key", &other)]).await?;
    assert_eq!(foreign.status, 403);
    assert_eq!(count(&app, "sessions").await?, 0);
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_in_leads_to_no_address_but_ours() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let mut browser = Browser::new(&app)?;
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
        let answer = browser.post("/sign-in", &form).await?.expect(200)?;
        assert_eq!(answer.location(), None, "{foreign}");
    }
    let form = [("key", app.owner.expose_key()), ("next", "/docs?a=b")];
    let led = browser.post("/sign-in", &form).await?.expect(303)?;
    assert!(
        led.location().is_some_and(|to| to.starts_with("http://") && to.ends_with("/docs?a=b"))
    );
    app.finish().await
}
