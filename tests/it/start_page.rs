//! A connect's first page: what it shows, whom it lets on, and where it leads.

use chrono::TimeDelta;
use latchkey_shared::telemetry;
use latchkey_tests::app::{Browser, Options, logs, worn};
use latchkey_tests::{Person, TestApp};
use serde_json::{Value, json};

use super::no_secrets::{assert_clean, dump};

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn link(connect: &Value) -> &str {
    text(&connect["connectUrl"])
}

async fn connect(app: &TestApp, id: &Value) -> anyhow::Result<Value> {
    Ok(app.http.get(&app.path(&format!("/connects/{}", text(id)))).await?.expect(200)?.json())
}

/// What was refused, of the connect's timeline.
async fn refused(app: &TestApp, id: &Value) -> anyhow::Result<Vec<String>> {
    let timeline = connect(app, id).await?["timeline"].as_array().cloned().unwrap_or_default();
    let refused = timeline.iter().filter_map(|step| step["refused"].as_str());
    Ok(refused.map(ToOwned::to_owned).collect())
}

/// Comes back from the sandbox as `user`.
async fn approve(browser: &Browser, url: &str, user: &str) -> anyhow::Result<Option<String>> {
    let callback = Person::new(user)?.approve(url).await?;
    let back = browser.open(callback.as_str()).await?.expect(303)?;
    Ok(back.location().map(ToOwned::to_owned))
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_what_is_about_to_be_connected_and_opening_it_consumes_nothing()
-> anyhow::Result<()> {
    let app = TestApp::start().await?;
    app.http.patch(&app.path(""), &json!({ "name": "Acme <b>" })).await?.expect(200)?;
    let started = app.start_connect(json!({})).await?;
    let before = app.row("SELECT to_jsonb(c) AS c FROM connects c").await?;
    let scanner = app.browser();
    for _ in 0..3 {
        let page = scanner.open(link(&started)).await?.expect(200)?;
        for shown in ["Connect your Sandbox account", "Acme &#60;b&#62;", "sign out or switch"] {
            assert!(page.text.contains(shown), "{shown} is not on {}", page.text);
        }
        let policy = page.headers["content-security-policy"].to_str()?;
        assert!(policy.contains("form-action 'self'") && !policy.contains("script"), "{policy}");
        assert_eq!(page.headers["referrer-policy"], "same-origin");
        assert_eq!(page.headers["cache-control"], "no-store");
        assert!(page.headers.contains_key("x-request-id") && !page.text.contains("<script"));
        assert_eq!(scanner.head(link(&started)).await?.status, 200);
    }
    assert_eq!(scanner.cookies(), 0);
    assert_eq!(app.row("SELECT to_jsonb(c) AS c FROM connects c").await?, before);
    app.finish().await
}

/// The page leads to the very URL that the API answered, and the browser keeps its one cookie.
#[tokio::test(flavor = "multi_thread")]
async fn its_button_leads_to_the_platform() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let client =
        json!({ "platform": "SANDBOX", "name": "Ours", "clientId": "acme", "clientSecret": "s3" });
    app.sandbox.set_client("acme", &["s3"]);
    let own = app.http.post("/v1/apps", &client).await?.expect(201)?.json();
    for more in [json!({}), json!({ "appId": own["id"], "scopes": ["read", "write"] })] {
        let mut more = more;
        more["redirectUrl"] = json!("https://app.example/back");
        let started = app.start_connect(more).await?;
        let browser = app.browser();
        let pressed = browser.press(&started, &[]).await?.expect(303)?;
        let set = pressed.headers["set-cookie"].to_str()?;
        assert!(set.starts_with("lk_con_") && set.contains("HttpOnly; SameSite=Lax"), "{set}");
        let page = format!("{}/connect/{}", app.http.base(), text(&started["connectId"]));
        assert_eq!(pressed.location(), Some(format!("{page}?go").as_str()));
        let onward = browser.open(&format!("{page}?go")).await?.expect(200)?;
        let url = text(&started["authorizeUrl"]);
        let escaped = url.replace('&', "&#38;");
        assert!(onward.text.contains(&format!("content=\"0; url={escaped}\"")), "{}", onward.text);
        assert!(onward.text.contains(&format!("href=\"{escaped}\"")));
        assert_eq!(onward.headers["referrer-policy"], "no-referrer");
        let again = browser.open(&page).await?.expect(200)?;
        assert!(again.text.contains("Continue to Sandbox"), "the way on again: {}", again.text);
        assert_eq!(browser.begin(&started).await?, url, "the button may be pressed again");
        let back = approve(&browser, url, "sam").await?.unwrap_or_default();
        assert!(back.starts_with("https://app.example/back?status=success"), "{back}");
        assert_eq!(browser.cookies(), 1);
        let done = browser.open(&page).await?.expect(303)?;
        assert_eq!(done.location(), Some(back.as_str()));
        let link = browser.open(link(&started)).await?.expect(303)?;
        assert_eq!(link.location(), Some(page.as_str()), "the link leads its browser to the page");
    }
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_browser_wins() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let started = app.start_connect(json!({})).await?;
    let (owner, other) = (app.browser(), app.browser());
    other.open(link(&started)).await?.expect(200)?;
    let url = owner.begin(&started).await?;
    let opened = other.open(link(&started)).await?.expect(409)?;
    assert!(opened.text.contains("LINK_USED"), "{}", opened.text);
    assert!(refused(&app, &started["connectId"]).await?.is_empty(), "a look is no refusal");
    let token = link(&started).split('=').next_back().unwrap_or_default();
    let path = format!("/connect/{}/start", text(&started["connectId"]));
    let pressed = other.submit(&path, &[("link", token)]).await?.expect(409)?;
    assert!(pressed.text.contains("LINK_USED") && pressed.location().is_none());
    assert_eq!(other.cookies(), 0);
    assert_eq!(refused(&app, &started["connectId"]).await?, ["LINK_USED"]);
    let lines = logs();
    let line = lines.lines().find(|line| line.contains("LINK_USED")).unwrap_or_default();
    assert!(line.contains(text(&started["connectId"])) && line.contains("WARN"), "{line}");
    assert!(!lines.contains(token), "the log has no link");
    approve(&owner, &url, "sam").await?;
    assert_eq!(app.ended(text(&started["connectId"])).await?["status"], "connected");
    let late = other.submit(&path, &[("link", token)]).await?.expect(409)?;
    assert!(late.text.contains("STATE_USED"));
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_press_at_once_one_wins() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let started = app.start_connect(json!({ "binding": "browser" })).await?;
    let browsers: Vec<Browser> = (0..8).map(|_| app.browser()).collect();
    let pressing = browsers.iter().map(|browser| async {
        let token = link(&started).split('=').next_back().unwrap_or_default();
        let path = format!("/connect/{}/start", text(&started["connectId"]));
        browser.submit(&path, &[("link", token)]).await
    });
    let answers = futures_util::future::try_join_all(pressing).await?;
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 303).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 303 | 409)), "{statuses:?}");
    let winner = browsers.iter().find(|browser| browser.cookies() == 1);
    let url = winner.expect("one has a cookie").begin(&started).await?;
    approve(winner.expect("as before"), &url, "sam").await?;
    assert_eq!(app.ended(text(&started["connectId"])).await?["status"], "connected");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_leads_nowhere_says_why() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let browser = app.browser();
    let ours = app.start_connect(json!({})).await?;
    let other = app.start_connect(json!({})).await?;
    let base = format!("{}/connect", app.http.base());
    let token = link(&other).split('=').next_back().unwrap_or_default().to_owned();
    let path = format!("{base}/{}", text(&ours["connectId"]));
    for (url, status, code) in [
        (format!("{path}?link=unknown"), 400, "STATE_UNKNOWN"),
        (format!("{path}?link={token}"), 400, "STATE_UNKNOWN"),
        (format!("{path}?link="), 400, "STATE_UNKNOWN"),
        (format!("{base}/con_1?link={token}"), 404, "NOT_FOUND"),
        (path.clone(), 404, "NOT_FOUND"),
        (format!("{path}?go"), 404, "NOT_FOUND"),
    ] {
        let page = browser.open(&url).await?;
        assert_eq!(page.status, status, "{url}: {}", page.text);
        assert!(page.text.contains(code) && page.location().is_none(), "{url}: {}", page.text);
    }
    for (fields, status, code) in [
        (&[("link", "unknown")][..], 400, "STATE_UNKNOWN"),
        (&[], 404, "NOT_FOUND"),
        (&[("link", token.as_str())], 400, "STATE_UNKNOWN"),
    ] {
        let page = browser.submit(&format!("{path}/start"), fields).await?;
        assert!(page.status == status && page.text.contains(code), "{fields:?}: {}", page.text);
    }
    let by_hand = browser.open(&format!("{path}/start")).await?.expect(303)?;
    assert_eq!(by_hand.location(), Some(path.as_str()));

    let cancelled = app.path(&format!("/connects/{}", text(&other["connectId"])));
    app.http.delete(&cancelled).await?.expect(200)?;
    assert!(browser.open(link(&other)).await?.expect(409)?.text.contains("STATE_USED"));
    app.clock.advance(TimeDelta::minutes(11));
    let token = link(&ours).split('=').next_back().unwrap_or_default().to_owned();
    for _ in 0..2 {
        assert!(browser.open(link(&ours)).await?.expect(410)?.text.contains("STATE_EXPIRED"));
        let late = browser.submit(&format!("{path}/start"), &[("link", &token)]).await?;
        assert!(late.expect(410)?.text.contains("STATE_EXPIRED"));
        app.ended(text(&ours["connectId"])).await?;
    }
    assert_eq!(refused(&app, &ours["connectId"]).await?, ["STATE_EXPIRED"; 2]);
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn its_form_must_be_on_a_page_of_ours() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let started = app.start_connect(json!({})).await?;
    for origin in ["https://evil.example", "null", "http://127.0.0.1:1"] {
        let refused = app.browser().at(origin).press(&started, &[]).await?.expect(403)?;
        assert!(refused.text.contains("ORIGIN_FOREIGN"), "{}", refused.text);
    }
    let hashes = app.row("SELECT count(page_hash) AS n FROM connects").await?;
    assert_eq!(hashes["n"], 0, "the link is as good as before");
    app.browser().begin(&started).await?;
    app.finish().await
}

/// Two connects at once in one browser, in whatever order they come back.
#[tokio::test(flavor = "multi_thread")]
async fn two_tabs_do_not_disturb_each_other() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let first = &app.browser();
    let second = &first.clone();
    for binding in ["none", "browser"] {
        let body = json!({ "binding": binding, "redirectUrl": "https://app.example/" });
        let one = app.start_connect(body.clone()).await?;
        let two = app.start_connect(body).await?;
        let (url_one, url_two) = (first.begin(&one).await?, second.begin(&two).await?);
        let back = approve(second, &url_two, "ann").await?.unwrap_or_default();
        assert!(
            back.contains("status=success") && back.contains(text(&two["connectId"])),
            "{back}"
        );
        let back = approve(first, &url_one, "sam").await?.unwrap_or_default();
        assert!(
            back.contains("status=success") && back.contains(text(&one["connectId"])),
            "{back}"
        );
        for connect in [&one, &two] {
            let page = format!("/connect/{}", text(&connect["connectId"]));
            first.open(&page).await?.expect(303)?;
        }
    }
    assert_eq!(first.cookies(), 4);
    app.finish().await
}

async fn bluesky(more: Value) -> anyhow::Result<(TestApp, Value)> {
    let options = Options { platforms: worn(&["BLUESKY"]), ..Options::default() };
    let app = TestApp::start_with(options).await?;
    let mut body = json!({ "platform": "BLUESKY", "redirectUrl": "https://app.example/back" });
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    let started = app.http.post(&app.path("/connects"), &body).await?.expect(201)?.json();
    Ok((app, started))
}

/// No consent page: the form is ours, and so is the URL that the API answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_bluesky_account_is_connected_by_a_form() -> anyhow::Result<()> {
    for binding in ["none", "browser"] {
        let (app, started) = bluesky(json!({ "binding": binding })).await?;
        let url = if binding == "none" { started["connectUrl"].clone() } else { Value::Null };
        assert_eq!(started["authorizeUrl"], url);
        let browser = app.browser();
        let page = browser.open(link(&started)).await?.expect(200)?;
        for shown in ["name=\"identifier\"", "type=\"password\"", "Make an app password"] {
            assert!(page.text.contains(shown), "{shown} is not on {}", page.text);
        }
        let password = app.sandbox.app_password("sam");
        let fields = [("identifier", "@sam.test "), ("password", password.as_str())];
        let pressed = browser.press(&started, &fields).await?.expect(303)?;
        let next = pressed.location().unwrap_or_default().to_owned();
        assert!(next.ends_with("?go"), "{next}");
        let progress = browser.open(&next).await?.expect(200)?;
        let page = next.trim_end_matches("?go");
        assert!(progress.text.contains(&format!("content=\"1; url={page}\"")), "{}", progress.text);
        let ended = app.ended(text(&started["connectId"])).await?;
        assert_eq!(ended["status"], "connected", "{ended:#}");
        let done = browser.open(page).await?.expect(303)?;
        let back = done.location().unwrap_or_default();
        assert!(back.starts_with("https://app.example/back?status=success"), "{back}");
        app.finish().await?;
    }
    Ok(())
}

/// What is wrong is said on the page, the password is not, and the link is as good as before.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_complained_of_and_never_shown_again() -> anyhow::Result<()> {
    let (app, started) = bluesky(json!({})).await?;
    let browser = app.browser();
    let own = app.sandbox.account_password("sam");
    let good = app.sandbox.app_password("sam");
    for (identifier, password, complaint) in [
        ("sam@mail.example", good.as_str(), "That is not a handle"),
        ("", good.as_str(), "That is not a handle"),
        ("sam.test\"><script>", own.as_str(), "That is not an app password"),
        ("sam.test", "", "That is not an app password"),
        ("sam.test", "hunter2-is-my-own-secret", "That is not an app password"),
    ] {
        let fields = [("identifier", identifier), ("password", password)];
        let page = browser.press(&started, &fields).await?.expect(400)?;
        assert!(page.text.contains(complaint), "{identifier}: {}", page.text);
        assert!(!page.text.contains("<script"), "{}", page.text);
        assert_eq!(browser.cookies(), 0, "nothing was traded");
    }
    let wrong = app.sandbox.app_password("ann");
    let fields = [("identifier", "sam.test"), ("password", wrong.as_str())];
    browser.press(&started, &fields).await?.expect(303)?;
    let ended = app.ended(text(&started["connectId"])).await?;
    assert_eq!(ended["reasonCode"], "APP_PASSWORD_REFUSED", "{ended:#}");
    let page = format!("/connect/{}", text(&started["connectId"]));
    let back = browser.open(&page).await?.expect(303)?;
    let to = back.location().unwrap_or_default();
    assert!(to.ends_with("&error=app_password_refused"), "{to}");
    let token = link(&started).split('=').next_back().unwrap_or_default();
    for (place, found) in [
        ("the database", dump(&app)?),
        ("the logs", logs()),
        ("the metrics", telemetry::metrics().render()),
        ("the answers", app.http.seen().replace(token, "")),
    ] {
        let passwords = [&own, &good, &wrong, "hunter2-is-my-own-secret"];
        let secrets = passwords.map(|password| ("a password", password.to_owned()));
        assert_clean(place, &found, secrets.into_iter());
        assert_clean(place, &found, [("the link", token.to_owned())].into_iter());
    }
    app.finish().await
}
