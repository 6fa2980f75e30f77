//! How often, how much and how slowly a client may send.

use std::time::Duration;

use anyhow::Context as _;
use chrono::TimeDelta;
use latchkey_api::ServeConfig;
use latchkey_tests::TestApp;
use latchkey_tests::app::{Answer, Options, PATIENCE, eventually, logs};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

async fn start(serve: fn(&mut ServeConfig)) -> anyhow::Result<TestApp> {
    TestApp::start_with(Options { serve, ..Options::default() }).await
}

fn number(answer: &Answer, header: &str) -> i64 {
    let value = answer.headers.get(header).and_then(|value| value.to_str().ok());
    value.and_then(|value| value.parse().ok()).unwrap_or(-1)
}

fn refusal(answer: &Answer) -> (u16, String) {
    (answer.status, answer.code())
}

fn rate_limited() -> (u16, String) {
    (429, "RATE_LIMITED".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_asks_too_often_is_told_when_to_come_back() -> anyhow::Result<()> {
    let app = start(|config| config.rate_limit = 6).await?;
    let new = json!({ "name": "second", "role": "viewer" });
    let second = app.http.post("/v1/api-keys", &new).await?.expect(201)?.json();
    app.clock.advance(TimeDelta::minutes(1));
    for (path, status, left) in [
        ("/v1/platforms", 200, 5),
        ("/v1/events", 200, 4),
        ("/v1/platforms", 200, 3),
        ("/v1/workspaces/ws_1", 404, 2),
        ("/v1/events?limit=0", 400, 1),
        ("/v1/platforms", 200, 0),
    ] {
        let answer = app.http.get(path).await?.expect(status)?;
        assert_eq!(number(&answer, "ratelimit-limit"), 6, "{path}");
        assert_eq!(number(&answer, "ratelimit-remaining"), left, "{path}");
        assert!((1..=60).contains(&number(&answer, "ratelimit-reset")), "{path}");
    }
    let path = app.path("/connects");
    let request = app.http.request(Method::POST, &path).header("idempotency-key", "k");
    let answer = app.http.send(request.json(&json!({ "platform": "SANDBOX" }))).await?;
    assert_eq!(refusal(&answer), rate_limited());
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    assert_eq!(number(&answer, "ratelimit-remaining"), 0);
    let wait = number(&answer, "retry-after");
    assert!((1..=10).contains(&wait), "{wait}");

    let other = app.http.with_key(second["key"].as_str().unwrap_or_default());
    other.get("/v1/platforms").await?.expect(200)?;
    app.clock.advance(TimeDelta::seconds(wait));
    app.http.get("/v1/platforms").await?.expect(200)?;
    assert_eq!(app.http.get("/v1/platforms").await?.status, 429, "it fills evenly");
    app.clock.advance(TimeDelta::minutes(1));
    let answer = app.http.get("/v1/platforms").await?.expect(200)?;
    assert_eq!(number(&answer, "ratelimit-remaining"), 5);
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_limit_nobody_is_counted() -> anyhow::Result<()> {
    let app = start(|config| config.rate_limit = 0).await?;
    let answer = app.http.get("/v1/platforms").await?.expect(200)?;
    assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("ratelimit")));
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_guesses_keys_is_put_off_and_callers_beside_it_are_not()
-> anyhow::Result<()> {
    let app = start(|config| config.failure_limit = 3).await?;
    let new = json!({ "name": "second", "role": "viewer" });
    let second = app.http.post("/v1/api-keys", &new).await?.expect(201)?.json();
    let second = app.http.with_key(second["key"].as_str().unwrap_or_default());
    let guess = app.http.with_key("lk_guess");
    for _ in 0..3 {
        let request = guess.request(Method::GET, "/v1/platforms");
        let answer = guess.send(request.header("x-forwarded-for", "198.51.100.1")).await?;
        assert_eq!(refusal(&answer), (401, "UNAUTHORIZED".to_owned()));
    }
    for (header, value) in [("x-none", ""), ("x-forwarded-for", "198.51.100.2")] {
        let request = guess.request(Method::GET, "/v1/platforms").header(header, value);
        let answer = guess.send(request).await?;
        assert_eq!(refusal(&answer), rate_limited(), "what is forwarded is not believed");
        assert!((1..=20).contains(&number(&answer, "retry-after")));
    }
    // One that this process knows, and one that it sees for the first time; the guesser stays put off.
    app.http.get("/v1/platforms").await?.expect(200)?;
    second.get("/v1/platforms").await?.expect(200)?;
    assert_eq!(refusal(&guess.get("/v1/platforms").await?), rate_limited());
    app.clock.advance(TimeDelta::minutes(1));
    let answer = guess.get("/v1/platforms").await?;
    assert_eq!(refusal(&answer), (401, "UNAUTHORIZED".to_owned()));
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_says_whose_failure_it_was() -> anyhow::Result<()> {
    let app = start(|config| {
        config.failure_limit = 1;
        config.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
    })
    .await?;
    let guess = app.http.with_key("lk_guess");
    for (client, status) in [
        ("198.51.100.1", 401),
        ("198.51.100.1", 429),
        ("198.51.100.2", 401),
        ("198.51.100.3, 198.51.100.1", 429),
        ("2001:db8::1", 401),
        ("2001:db8::2", 429),
    ] {
        let request = guess.request(Method::GET, "/v1/platforms");
        let answer = guess.send(request.header("x-forwarded-for", client)).await?;
        assert_eq!(answer.status, status, "{client}: {}", answer.text);
    }
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_has_only_so_many_connects_open() -> anyhow::Result<()> {
    let app = start(|config| config.common.max_open_connects = 2).await?;
    let first = app.start_connect(json!({})).await?;
    app.start_connect(json!({})).await?;
    let body = json!({ "platform": "SANDBOX" });
    let third = app.http.post(&app.path("/connects"), &body).await?;
    assert_eq!(refusal(&third), (409, "TOO_MANY_OPEN_CONNECTS".to_owned()));
    let id = first["connectId"].as_str().unwrap_or_default();
    app.http.delete(&app.path(&format!("/connects/{id}"))).await?.expect(200)?;
    app.start_connect(json!({})).await?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn past_the_outbox_s_limit_no_work_is_taken_on() -> anyhow::Result<()> {
    let app = start(|config| config.common.outbox_max = 3).await?;
    app.execute(
        "INSERT INTO outbox (id, kind, routing_key, body, available_at, created_at)
         SELECT 'msg_' || n, 'event', 'x', '{}', now() + interval '1 day', now()
         FROM generate_series(1, 4) n",
    )
    .await?;
    let body = json!({ "name": "w" });
    let answer = || async { app.http.post("/v1/workspaces", &body).await };
    let full = eventually(|| async { Ok(Some(answer().await?).filter(|a| a.status != 201)) });
    let full = full.await?;
    assert_eq!(refusal(&full), (503, "OUTBOX_FULL".to_owned()));
    assert!(number(&full, "retry-after") > 0);
    let url = format!("{}/readyz", app.http.base());
    eventually(|| async {
        let ready = app.http.browse(&url).await?;
        Ok((ready.status == 503 && ready.json()["outbox"] == 4).then_some(()))
    })
    .await?;
    app.http.get("/v1/workspaces").await?.expect(200)?;
    app.execute("DELETE FROM outbox WHERE id LIKE 'msg\\__'").await?;
    eventually(|| async { Ok((answer().await?.status == 201).then_some(())) }).await?;
    app.finish().await
}

/// A client that writes what it likes.
struct Raw(TcpStream);

impl Raw {
    async fn open(app: &TestApp) -> anyhow::Result<Self> {
        let address = app.http.base().trim_start_matches("http://");
        Ok(Self(TcpStream::connect(address).await?))
    }

    async fn send(&mut self, text: &str) -> anyhow::Result<()> {
        Ok(self.0.write_all(text.as_bytes()).await?)
    }

    /// Everything that comes until the other side closes.
    async fn rest(mut self) -> anyhow::Result<String> {
        let mut text = Vec::new();
        let reading = self.0.read_to_end(&mut text);
        let read = tokio::time::timeout(PATIENCE, reading).await.context("it stays open")?;
        // Closed with data of ours unread: what came before that counts.
        drop(read);
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

fn head(app: &TestApp, method_and_path: &str, more: &str) -> String {
    let key = app.owner.expose_key();
    format!(
        "{method_and_path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\n{more}\r\n"
    )
}

fn problem(answer: &str) -> Value {
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_is_told_so_however_it_comes() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let post = format!("POST {}", app.path("/connects"));
    let chunk = format!("2000\r\n{}\r\n", "x".repeat(0x2000));
    for more in ["", "idempotency-key: k\r\n"] {
        for chunks in [9, 40] {
            let mut raw = Raw::open(&app).await?;
            let chunked = format!("{more}transfer-encoding: chunked\r\n");
            raw.send(&head(&app, &post, &chunked)).await?;
            raw.send(&chunk.repeat(chunks)).await?;
            raw.send("0\r\n\r\n").await?;
            assert_eq!(problem(&raw.rest().await?)["code"], "BODY_TOO_LARGE", "{chunks} chunks");
        }
        let mut raw = Raw::open(&app).await?;
        raw.send(&head(&app, &post, &format!("{more}content-length: 100000000\r\n"))).await?;
        // More than is read: from there on the other side may close.
        drop(raw.send(&"x".repeat(1_100_000)).await);
        let answer = raw.rest().await?;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413 "), "{answer}");
    }
    let mut raw = Raw::open(&app).await?;
    raw.send(&head(&app, &post, "content-length: 50\r\n")).await?;
    raw.send("{\"platform\":").await?;
    raw.0.shutdown().await?;
    let cut = raw.rest().await?;
    assert!(cut.is_empty() || problem(&cut)["code"] == "INVALID_JSON", "{cut}");
    let written = app.row(
        "SELECT (SELECT count(*) FROM connects) + (SELECT count(*) FROM idempotency_keys) AS n",
    );
    assert_eq!(written.await?["n"], 0);
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_too_large_is_refused_and_nothing_of_it_is_logged() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let padding = "PADDING-THAT-NOBODY-LOGS".repeat(2500);
    let callback = "GET /v1/connect/sandbox/callback?state=s&code=";
    let many = "x-some: header\r\n".repeat(200);
    let long_header = format!("x-long: {padding}\r\n");
    for (request, status) in [
        (head(&app, &format!("{callback}{padding}"), ""), "431"),
        (head(&app, "GET /v1/platforms", &long_header), "431"),
        (head(&app, "GET /v1/platforms", &many), "431"),
        (head(&app, &format!("{callback}{}", &padding[..20_000]), ""), "400"),
        (head(&app, &format!("GET /v1/events?after={}", &padding[..20_000]), ""), "400"),
        ("NONSENSE\r\n\r\n".to_owned(), "400"),
        ("GET /v1/platforms HTTP/1.1\r\nbad header\r\n\r\n".to_owned(), "400"),
    ] {
        let mut raw = Raw::open(&app).await?;
        drop(raw.send(&request).await);
        let answer = raw.rest().await?;
        let first = answer.lines().next().unwrap_or_default();
        assert!(first.starts_with(&format!("HTTP/1.1 {status}")), "{status}: {first}");
    }
    assert!(!logs().contains("NOBODY-LOGS"), "what was sent is in the log");
    app.http.get("/v1/platforms").await?.expect(200)?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_drips_its_head_is_cut_off() -> anyhow::Result<()> {
    let app = start(|config| config.idle_timeout = Duration::from_secs(1)).await?;
    let silent = Raw::open(&app).await?;
    let mut slow = Raw::open(&app).await?;
    let dripping = tokio::spawn(async move {
        slow.send("GET /v1/platforms HTTP/1.1\r\nhost: a\r\n").await?;
        // Until the other side has closed and says so.
        while slow.send("x: y\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        slow.rest().await
    });
    let rest = silent.rest().await?;
    assert!(!rest.contains("200 OK"), "{rest}");
    let rest = tokio::time::timeout(PATIENCE, dripping).await???;
    assert!(!rest.contains("200 OK"), "{rest}");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_drips_its_body_is_told_and_cut_off() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let drip = |path: String, more: &'static str| {
        let app = &app;
        async move {
            let mut raw = Raw::open(app).await?;
            let head = head(app, &format!("POST {path}"), &format!("{more}content-length: 50\r\n"));
            raw.send(&head).await?;
            raw.send("{\"platform\":").await?;
            raw.rest().await
        }
    };
    let unread = drip(app.path("/accounts/acc_1/refresh"), "");
    let connects = app.path("/connects");
    let (read, kept, unread) =
        tokio::join!(drip(connects.clone(), ""), drip(connects, "idempotency-key: k\r\n"), unread);
    for answer in [read?, kept?] {
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert_eq!(problem(&answer)["code"], "REQUEST_TIMEOUT");
    }
    assert!(unread?.starts_with("HTTP/1.1 404 "), "a body that nobody needs is not waited for");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_do_not_lock_others_out() -> anyhow::Result<()> {
    let app = start(|config| {
        config.max_connections = 2;
        config.idle_timeout = Duration::from_secs(2);
    })
    .await?;
    let mut silent = Vec::new();
    for _ in 0..10 {
        silent.push(Raw::open(&app).await?);
    }
    // Waits in the queue behind them, each of which is closed in its time.
    app.http.with_key(app.owner.expose_key()).get("/v1/platforms").await?.expect(200)?;
    let mut raw = Raw::open(&app).await?;
    raw.send(&head(&app, "GET /v1/platforms", "")).await?;
    assert!(raw.rest().await?.starts_with("HTTP/1.1 200 "));
    app.finish().await
}
