//! Attacks on the way through the browser. Each is refused; the state is used up, where whoever has it must
//! not go on; and operators see it on the connect's timeline, in a metric and in the log.

use chrono::TimeDelta;
use latchkey_shared::telemetry;
use latchkey_tests::app::{Answer, Options, logs};
use latchkey_tests::sandbox::Kind;
use latchkey_tests::{Person, SandboxConfig, TestApp};
use serde_json::{Value, json};
use url::Url;

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// How many callbacks were refused so.
fn counted(reason: &str) -> u64 {
    let reason = reason.to_ascii_lowercase();
    let name = format!("latchkey_callbacks_refused_total{{reason=\"{reason}\"}} ");
    let metrics = telemetry::metrics().render();
    let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
    line.and_then(|count| count.parse().ok()).unwrap_or_default()
}

async fn status(app: &TestApp, started: &Value) -> anyhow::Result<Value> {
    let path = app.path(&format!("/connects/{}", text(&started["connectId"])));
    Ok(app.http.get(&path).await?.expect(200)?.json())
}

/// A page and no redirect; and what the refusal left behind.
async fn assert_refused(
    app: &TestApp,
    started: &Value,
    (answer, expected, reason): (&Answer, u16, &str),
) -> anyhow::Result<()> {
    assert_eq!((answer.status, answer.location()), (expected, None), "{reason}: {}", answer.text);
    assert!(answer.text.contains(reason) && answer.headers.contains_key("x-request-id"));
    assert!(!answer.headers.contains_key("set-cookie"), "{reason}: it gets no page");
    assert_noted(app, started, reason).await
}

async fn assert_noted(app: &TestApp, started: &Value, reason: &str) -> anyhow::Result<()> {
    assert!(counted(reason) > 0, "{reason} is counted");
    let connect = status(app, started).await?;
    let steps = connect["timeline"].as_array().cloned().unwrap_or_default();
    let told = |step: &Value| step["refused"] == reason || step["reason"] == reason;
    assert!(steps.iter().any(told), "{reason} is on the timeline: {steps:?}");
    let (logs, id) = (logs(), text(&started["connectId"]));
    let line = logs
        .lines()
        .find(|line| line.contains("WARN") && line.contains(reason) && line.contains(id));
    let line = line.unwrap_or_else(|| panic!("the log has {reason}"));
    assert!(line.contains("platform.id"), "{line}");
    assert!(!logs.contains(text(&started["state"])), "the log has no state");
    Ok(())
}

fn callback(app: &TestApp, platform: &str, query: &str) -> String {
    format!("{}/v1/connect/{platform}/callback?{query}", app.http.base())
}

async fn failed(app: &TestApp, started: &Value, reason: &str) -> anyhow::Result<()> {
    let ended = app.ended(text(&started["connectId"])).await?;
    assert_eq!((text(&ended["status"]), text(&ended["reasonCode"])), ("failed", reason));
    assert_eq!(ended["accountIds"], json!([]));
    app.event("connect.failed", text(&started["connectId"])).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_is_not_taken_twice() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let started = app.start_connect(json!({})).await?;
    let back = Person::new("sam")?.approve(text(&started["authorizeUrl"])).await?;
    app.http.browse(back.as_str()).await?.expect(303)?;
    let ended = app.ended(text(&started["connectId"])).await?;
    for _ in 0..2 {
        let again = app.http.browse(back.as_str()).await?;
        assert_refused(&app, &started, (&again, 409, "STATE_USED")).await?;
    }
    let other = format!("state={}&code=of-somebody-else", text(&started["state"]));
    let other = app.http.browse(&callback(&app, "sandbox", &other)).await?;
    assert_refused(&app, &started, (&other, 409, "STATE_USED")).await?;
    assert_eq!(counted("STATE_USED"), 3);
    let now = status(&app, &started).await?;
    assert_eq!((&now["status"], &now["accountIds"]), (&ended["status"], &ended["accountIds"]));
    app.finish().await
}

/// Whoever replays a state for ever fills no row.
#[tokio::test(flavor = "multi_thread")]
async fn a_timeline_takes_so_many_refusals() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let started = app.start_connect(json!({})).await?;
    app.approve(&started, &Person::new("sam")?).await?.expect(303)?;
    let query = format!("state={}&code=x", text(&started["state"]));
    for _ in 0..50 {
        assert_eq!(app.http.browse(&callback(&app, "sandbox", &query)).await?.status, 409);
    }
    let steps = status(&app, &started).await?["timeline"].as_array().map_or(0, Vec::len);
    assert_eq!((steps, counted("STATE_USED")), (40, 50));
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_platform_s_callback_ends_the_connect() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    for platform in ["youtube", "mine", "%20", "sandbox2"] {
        let more = json!({ "redirectUrl": "https://app.example/" });
        let started = app.start_connect(more).await?;
        let back = Person::new("sam")?.approve(text(&started["authorizeUrl"])).await?;
        let query = back.query().unwrap_or_default();
        let mixed_up = app.http.browse(&callback(&app, platform, query)).await?;
        assert_refused(&app, &started, (&mixed_up, 400, "CALLBACK_MISMATCH")).await?;
        failed(&app, &started, "CALLBACK_MISMATCH").await?;
        assert_eq!(app.http.browse(back.as_str()).await?.status, 409, "the state is used up");
    }
    let redeemed =
        app.sandbox.ledger().into_iter().filter(|entry| entry.kind == Kind::CodeExchanged);
    assert_eq!(redeemed.count(), 0, "no code was presented");
    let started = app.start_connect(json!({})).await?;
    let back = Person::new("sam")?.approve(text(&started["authorizeUrl"])).await?;
    let shouted = callback(&app, "SandBox", back.query().unwrap_or_default());
    app.http.browse(&shouted).await?.expect(303)?;
    assert_eq!(app.ended(text(&started["connectId"])).await?["status"], "connected");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_browser_is_counted_and_told() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let started = app.start_connect(json!({ "binding": "browser" })).await?;
    let url = app.browser().begin(&started).await?;
    let back = Person::new("sam")?.approve(&url).await?;
    let url = Url::parse(&url)?;
    let state = url.query_pairs().find(|(name, _)| name == "state");
    let state = state.map(|(_, state)| state.into_owned());
    let stolen = app.browser().open(back.as_str()).await?;
    let started = json!({ "connectId": started["connectId"], "state": state });
    assert_refused(&app, &started, (&stolen, 403, "BROWSER_MISMATCH")).await?;
    failed(&app, &started, "BROWSER_MISMATCH").await?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_or_wrong_issuer_ends_the_connect() -> anyhow::Result<()> {
    let SandboxConfig { client_id, client_secret, .. } = SandboxConfig::default();
    let platforms = format!(
        "[platforms.MINE]\nname = \"Mine\"\nissuer = \"{{sandbox}}\"\nscopes = [\"profile\"]\n\
         client_id = \"{client_id}\"\nclient_secret = {{ value = \"{client_secret}\" }}\n"
    );
    let app = TestApp::start_with(Options { platforms, ..Options::default() }).await?;
    for issuer in ["", "&iss=https%3A%2F%2Fevil.example"] {
        let started = app.start_connect(json!({ "platform": "MINE" })).await?;
        let back = Person::new("sam")?.approve(text(&started["authorizeUrl"])).await?;
        let code =
            back.query_pairs().find(|(name, _)| name == "code").map(|(_, code)| code.into_owned());
        let query =
            format!("state={}&code={}{issuer}", text(&started["state"]), code.unwrap_or_default());
        app.http.browse(&callback(&app, "mine", &query)).await?.expect(303)?;
        failed(&app, &started, "ISSUER_MISMATCH").await?;
        assert_noted(&app, &started, "ISSUER_MISMATCH").await?;
        assert_eq!(app.http.browse(back.as_str()).await?.status, 409, "the state is used up");
    }
    assert_eq!(counted("ISSUER_MISMATCH"), 2);
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_late_or_silent_answer_is_refused() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    for query in ["state=nobody-knows&code=x", "code=x", "", "state=&code=x", "state=%00"] {
        let answer = app.http.browse(&callback(&app, "sandbox", query)).await?;
        assert_eq!((answer.status, answer.location()), (400, None), "{query}");
        assert!(answer.text.contains("STATE_UNKNOWN"), "{query}");
    }
    assert_eq!(counted("STATE_UNKNOWN"), 5);
    let long =
        app.http.browse(&callback(&app, "state-in-the-path", "state=s3cr3t-of-theirs")).await?;
    assert_eq!(long.status, 400);
    let lines = logs();
    assert!(lines.contains("STATE_UNKNOWN") && !lines.contains("state-in-the-path"));
    assert!(!lines.contains("s3cr3t-of-theirs") && !lines.contains("nobody-knows"));

    let started = app.start_connect(json!({})).await?;
    let query = format!("state={}", text(&started["state"]));
    let silent = app.http.browse(&callback(&app, "sandbox", &query)).await?;
    assert_refused(&app, &started, (&silent, 400, "CALLBACK_INCOMPLETE")).await?;
    assert_eq!(status(&app, &started).await?["status"], "pending", "the answer may still come");
    app.clock.advance(TimeDelta::minutes(11));
    for _ in 0..2 {
        let late = app.http.browse(&callback(&app, "sandbox", &format!("{query}&code=x"))).await?;
        assert_refused(&app, &started, (&late, 410, "STATE_EXPIRED")).await?;
        app.ended(text(&started["connectId"])).await?;
    }
    app.finish().await
}

/// An error uses the state up like a code does.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_platform_uses_the_state_up() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    for (error, told, reason) in [
        ("access_denied", "access_denied", "ACCESS_DENIED"),
        ("user_cancelled_authorize", "access_denied", "ACCESS_DENIED"),
        ("user_cancelled_login", "access_denied", "ACCESS_DENIED"),
        ("server_error", "server_error", "PLATFORM_ERROR"),
    ] {
        let started = app.start_connect(json!({ "redirectUrl": "https://app.example/" })).await?;
        let state = text(&started["state"]);
        let query = format!("state={state}&error={error}");
        let back = app.http.browse(&callback(&app, "sandbox", &query)).await?.expect(303)?;
        assert!(back.location().is_some_and(|to| to.ends_with(&format!("&error={told}"))));
        failed(&app, &started, reason).await?;
        let code =
            app.http.browse(&callback(&app, "sandbox", &format!("state={state}&code=x"))).await?;
        assert_refused(&app, &started, (&code, 409, "STATE_USED")).await?;
    }
    app.finish().await
}

/// Whoever leads the person to the platform without the challenge, or with a weaker one, gets a code that
/// cannot be redeemed with our verifier (RFC 9700 §2.1.1).
#[tokio::test(flavor = "multi_thread")]
async fn a_weakened_challenge_connects_nothing() -> anyhow::Result<()> {
    let sandbox = SandboxConfig { requires_pkce: false, ..SandboxConfig::default() };
    let app = TestApp::start_with(Options { sandbox, ..Options::default() }).await?;
    let without = |url: &str, with: &[(&str, &str)]| -> anyhow::Result<String> {
        let mut url = Url::parse(url)?;
        let kept: Vec<(String, String)> = url
            .query_pairs()
            .into_owned()
            .filter(|(name, _)| !name.starts_with("code_challenge"))
            .collect();
        url.query_pairs_mut().clear().extend_pairs(kept).extend_pairs(with);
        Ok(url.into())
    };
    let started = app.start_connect(json!({})).await?;
    let stripped = without(text(&started["authorizeUrl"]), &[])?;
    let back = Person::new("sam")?.approve(&stripped).await?;
    app.http.browse(back.as_str()).await?.expect(303)?;
    failed(&app, &started, "EXCHANGE_REFUSED").await?;

    let other = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    let started = app.start_connect(json!({})).await?;
    let swapped = [("code_challenge", other), ("code_challenge_method", "S256")];
    let swapped = without(text(&started["authorizeUrl"]), &swapped)?;
    let back = Person::new("sam")?.approve(&swapped).await?;
    app.http.browse(back.as_str()).await?.expect(303)?;
    failed(&app, &started, "EXCHANGE_REFUSED").await?;

    let started = app.start_connect(json!({})).await?;
    let plain = [("code_challenge", other), ("code_challenge_method", "plain")];
    let plain = without(text(&started["authorizeUrl"]), &plain)?;
    let refused = app.http.browse(&plain).await?.expect(303)?;
    let back = refused.location().unwrap_or_default().to_owned();
    assert!(back.contains("error=invalid_request"), "{back}");
    app.http.browse(&back).await?.expect(303)?;
    failed(&app, &started, "PLATFORM_ERROR").await?;

    assert_eq!(app.row("SELECT count(*) AS n FROM accounts").await?["n"], 0);
    let issued = app.sandbox.ledger().into_iter().filter(|entry| entry.kind == Kind::CodeExchanged);
    assert_eq!(issued.count(), 0, "no token was made");
    app.finish().await
}

/// Where no workspace lets its browsers go, whatever its list says.
const NOWHERE: [&str; 42] = [
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "javascript://app.example/%0aalert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:msgbox",
    "file:///etc/passwd",
    "ftp://app.example/done",
    "blob:https://app.example/1",
    "myapp://done",
    "//app.example/done",
    "///app.example/done",
    "/done",
    "done",
    "",
    "?a=b",
    "#x",
    "https:",
    "https://",
    "https:app.example/done",
    "https:/app.example/done",
    "https:///app.example/done",
    "https:\\\\app.example\\done",
    "https://app.example\\@evil.example/done",
    "https://app.example/done\\..\\x",
    "\\\\evil.example/done",
    " https://app.example/done",
    "https://app.example/done ",
    "https://app.example/do ne",
    "https://app.example/done\n",
    "https://app.example/done\r\nSet-Cookie: a=b",
    "ht\ttps://app.example/done",
    "https://app.example/done\0",
    "https://user@app.example/done",
    "https://user:pw@app.example/done",
    "https://@app.example/done",
    "https://app.example@evil.example/done",
    "https://app\u{3002}example/done",
    "https://app\u{ff0e}example/done",
    "https://\u{ff41}pp.example/done",
    "https://app%2eexample/done",
    "https://app.example%2f@evil.example/done",
    "http://app.example/done",
];

/// What only a list keeps out: `https://app.example/done` is on it.
const NOT_LISTED: [&str; 21] = [
    "https://app.example/",
    "https://app.example/done/",
    "https://app.example/done/x",
    "https://app.example/DONE",
    "https://app.example/done;x",
    "https://app.example//done",
    "https://app.example/done/../evil",
    "https://app.example/done/%2e%2e/evil",
    "https://app.example/done%2f..%2fevil",
    "https://app.example/don%65",
    "https://app.example:444/done",
    "https://app.example:80/done",
    "https://app.example./done",
    "https://evil.app.example/done",
    "https://app.example.evil.example/done",
    "https://appxexample/done",
    "https://evil.example/?https://app.example/done",
    "https://evil.example/https://app.example/done",
    "https://evil.example/#https://app.example/done",
    "http://localhost/done",
    "http://127.0.0.1/done",
];

/// Loopback is this machine by its name or number, written plainly.
const NO_LOOPBACK: [&str; 8] = [
    "http://localhost.evil.example/",
    "http://127.0.0.1.evil.example/",
    "http://localhost@evil.example/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://127.1/",
    "http://0.0.0.0/",
    "http://[::ffff:127.0.0.1]/",
];

async fn redirect_to(app: &TestApp, url: &str) -> anyhow::Result<Answer> {
    let body = json!({ "platform": "SANDBOX", "redirectUrl": url });
    app.http.post(&app.path("/connects"), &body).await
}

async fn assert_no_redirect(app: &TestApp, url: &str) -> anyhow::Result<()> {
    let refused = redirect_to(app, url).await?;
    assert_eq!(refused.status, 400, "{url:?}: {}", refused.text);
    assert!(["REDIRECT_NOT_ALLOWED", "VALIDATION_FAILED"].contains(&refused.code().as_str()));
    assert_eq!(refused.json()["errors"][0]["pointer"], "/redirectUrl", "{url:?}");
    Ok(())
}

async fn assert_redirects(app: &TestApp, url: &str) -> anyhow::Result<()> {
    let started = redirect_to(app, url).await?.expect(201)?.json();
    let back = app.approve(&started, &Person::new("sam")?).await?.expect(303)?;
    // A result that the URL brings itself is replaced.
    let (before, fragment) = url.split_once('#').unwrap_or((url, ""));
    let kept = before.strip_suffix("&status=mine").unwrap_or(before);
    let joined = if kept.contains('?') { '&' } else { '?' };
    let joined = format!("{kept}{joined}status=success&");
    let there = |to: &str| to.starts_with(&joined) && to.ends_with(fragment);
    assert!(back.location().is_some_and(there), "{url}: {back:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_browser_is_led_astray() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    for url in NOWHERE.iter().chain(&NO_LOOPBACK) {
        assert_no_redirect(&app, url).await?;
    }
    for url in [
        "https://app.example/done",
        "https://app.example:8443/a/b?c=d%20e&status=mine",
        "http://127.0.0.1:3000/done",
        "http://localhost/done",
        "https://app.example/done#https://evil.example",
    ] {
        assert_redirects(&app, url).await?;
    }
    let list = json!({ "redirectAllowlist": ["https://app.example/done"] });
    app.http.patch(&app.path(""), &list).await?.expect(200)?;
    for url in NOWHERE.iter().chain(&NO_LOOPBACK).chain(&NOT_LISTED) {
        assert_no_redirect(&app, url).await?;
    }
    for url in [
        "https://app.example/done",
        "https://app.example/done?next=https://evil.example",
        "https://app.example/done#https://evil.example",
    ] {
        assert_redirects(&app, url).await?;
    }
    app.finish().await
}
