//! A POST that is repeated with its `Idempotency-Key` runs once, whatever happens in between.

use chrono::TimeDelta;
use diesel_async::SimpleAsyncConnection as _;
use latchkey_shared::db::Session;
use latchkey_tests::app::{Answer, Http, Options, candidate, eventually, logs};
use latchkey_tests::{Person, TestApp};
use latchkey_worker::sweeps::Sweep;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

fn with_key(http: &Http, path: &str, key: &str, body: &Value) -> RequestBuilder {
    http.request(Method::POST, path).header("idempotency-key", key).json(body)
}

async fn post(http: &Http, path: &str, key: &str, body: &Value) -> anyhow::Result<Answer> {
    http.send(with_key(http, path, key, body)).await
}

async fn connect(app: &TestApp, key: &str) -> anyhow::Result<Answer> {
    post(&app.http, &app.path("/connects"), key, &sandbox()).await
}

fn sandbox() -> Value {
    json!({ "platform": "SANDBOX" })
}

fn is_replayed(answer: &Answer) -> bool {
    answer.headers.contains_key("idempotent-replayed")
}

fn refusal(answer: &Answer) -> (u16, String) {
    (answer.status, answer.code())
}

async fn count(app: &TestApp, table: &str) -> anyhow::Result<i64> {
    let n = app.row(&format!("SELECT count(*) AS n FROM {table}")).await?;
    Ok(n["n"].as_i64().unwrap_or(-1))
}

/// Whoever writes a connect waits until this is let go, for up to 5 s.
async fn nobody_writes_connects(app: &TestApp) -> anyhow::Result<Session> {
    let mut conn = app.db()?.conn().await?;
    conn.batch_execute("BEGIN; LOCK TABLE connects IN SHARE MODE").await?;
    Ok(conn)
}

async fn let_go(mut lock: Session) -> anyhow::Result<()> {
    Ok(lock.batch_execute("ROLLBACK").await?)
}

/// Waits until so many requests are held up, sweeps left aside.
async fn until_waiting(app: &TestApp, requests: i64) -> anyhow::Result<()> {
    let waiting = "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() \
                   AND wait_event_type = 'Lock' AND query LIKE 'INSERT INTO \"connects\"%'";
    eventually(|| async { Ok((app.row(waiting).await?["n"] == requests).then_some(())) }).await
}

fn in_background(
    app: &TestApp,
    key: &'static str,
) -> tokio::task::JoinHandle<anyhow::Result<Answer>> {
    let (http, path) = (app.http.clone(), app.path("/connects"));
    tokio::spawn(async move { post(&http, &path, key, &sandbox()).await })
}

/// Every POST of the document, with a body that succeeds.
async fn posts(app: &TestApp) -> anyhow::Result<Vec<(String, Value)>> {
    let sam = app.connect("sam").await?;
    let client =
        json!({ "platform": "SANDBOX", "name": "a", "clientId": "c", "clientSecret": "s" });
    let own = app.http.post("/v1/apps", &client).await?.expect(201)?.json();
    let choice = app.selecting(json!({}), &[candidate("1", None)]).await?;
    let (claiming, claim) = app.claiming(&app.browser(), &Person::new("ann")?, json!({})).await?;
    let endpoints = app.http.get("/v1/webhook-endpoints").await?.expect(200)?.json();
    let endpoint = endpoints["data"][0]["id"].as_str().unwrap_or_default();
    let deliveries = format!("/v1/webhook-endpoints/{endpoint}/deliveries");
    let deliveries = app.http.get(&deliveries).await?.expect(200)?.json();
    let event =
        app.http.get("/v1/events?wait=20").await?.expect(200)?.json()["data"][0]["id"].clone();
    let document = app.http.get("/openapi.json").await?.expect(200)?.json();
    let paths = document["paths"].as_object().into_iter().flatten();
    let keyed = paths.filter(|(path, item)| path.starts_with("/v1/") && item["post"].is_object());
    let posts = keyed.map(|(path, item)| {
        let header = "#/components/parameters/IdempotencyKey";
        let parameters = item["post"]["parameters"].as_array().cloned().unwrap_or_default();
        assert!(parameters.contains(&json!({ "$ref": header })), "{path} documents the header");
        let body = match path.rsplit('/').next().unwrap_or_default() {
            "connects" => sandbox(),
            "workspaces" => json!({ "name": "w" }),
            "api-keys" => json!({ "name": "k", "role": "viewer" }),
            "webhook-endpoints" => json!({ "url": "https://example.com/hook" }),
            "refresh" | "rotate-secret" | "test" | "redeliver" => json!({}),
            "replay" => json!({ "after": event }),
            "profiles" => json!({ "name": "p", "externalId": "7" }),
            "apps" => client.clone(),
            "selection" => json!({ "candidateIds": ["1"] }),
            "claim" => json!({ "claim": claim }),
            "secrets" => json!({ "clientSecret": "new" }),
            other => panic!("this test must know a body for {other}"),
        };
        let path = path.replace("{ws}", app.owner.workspace_id.as_str());
        let connect = if path.ends_with("/claim") { &claiming } else { &choice.connect_id };
        let path = path.replace("{con}", connect);
        let path = path.replace("{whe}", endpoint);
        let path = path.replace("{dlv}", deliveries["data"][0]["id"].as_str().unwrap_or_default());
        let path = path.replace("{app}", own["id"].as_str().unwrap_or_default());
        (path.replace("{acc}", &sam.account_id), body)
    });
    Ok(posts.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_post_is_answered_again_and_done_once() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let tables = [
        "connects",
        "workspaces",
        "api_keys",
        "webhook_endpoints",
        "profiles",
        "apps",
        "app_secrets",
    ];
    for (path, body) in posts(&app).await? {
        let first = post(&app.http, &path, &path, &body).await?;
        assert!(matches!(first.status, 200..=202), "{path}: {}", first.text);
        assert!(!is_replayed(&first));
        let mut before = Vec::new();
        for table in tables {
            before.push(count(&app, table).await?);
        }
        let quoted = format!("\"{path}\"");
        for key in [&path, &quoted] {
            let again = post(&app.http, &path, key, &body).await?;
            assert!(is_replayed(&again), "{path}");
            assert_eq!((again.status, &again.text), (first.status, &first.text), "{path}");
            assert_eq!(again.headers["content-type"], first.headers["content-type"]);
            assert_ne!(again.headers["x-request-id"], first.headers["x-request-id"]);
        }
        for (table, before) in tables.iter().zip(before) {
            assert_eq!(count(&app, table).await?, before, "{path} did something twice");
        }
    }
    let late = logs().lines().filter(|line| line.contains("kept too late")).count();
    assert_eq!(late, 0, "every handler keeps its answer in its own transaction");
    let refreshes = "(SELECT FROM outbox WHERE kind = 'refresh_due') AS commands";
    assert_eq!(count(&app, refreshes).await?, 1);
    let chosen = "(SELECT FROM outbox WHERE kind = 'callback_received') AS commands";
    assert_eq!(count(&app, chosen).await?, 4, "two callbacks, one choice, one claim");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_stands_for_one_request_of_one_caller() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let first = connect(&app, "k1").await?.expect(201)?;
    let other_body = json!({ "platform": "SANDBOX", "metadata": { "a": 1 } });
    for (path, body) in
        [(app.path("/connects"), other_body), ("/v1/workspaces".to_owned(), json!({ "name": "x" }))]
    {
        let answer = post(&app.http, &path, "k1", &body).await?;
        assert_eq!(refusal(&answer), (422, "IDEMPOTENCY_KEY_REUSED".to_owned()), "{path}");
    }
    assert_eq!(connect(&app, "k1").await?.text, first.text, "refusing changes nothing");
    let second = connect(&app, "k2").await?.expect(201)?;
    assert_ne!(second.json()["connectId"], first.json()["connectId"]);

    let new = json!({ "name": "second", "role": "owner" });
    let other = app.http.post("/v1/api-keys", &new).await?.expect(201)?.json();
    let other = app.http.with_key(other["key"].as_str().unwrap_or_default());
    let theirs = post(&other, &app.path("/connects"), "k1", &sandbox()).await?.expect(201)?;
    assert!(!is_replayed(&theirs), "another API key has keys of its own");
    assert_ne!(theirs.json()["connectId"], first.json()["connectId"]);
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_kept_and_a_failure_of_ours_is_not() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let path = app.path("/connects");
    let wrong = json!({ "platform": "MYSPACE" });
    let refused = post(&app.http, &path, "wrong", &wrong).await?.expect(400)?;
    let again = post(&app.http, &path, "wrong", &wrong).await?.expect(400)?;
    assert!(is_replayed(&again));
    assert_eq!(again.text, refused.text);
    assert_eq!(again.headers["content-type"], "application/problem+json");

    app.execute("ALTER TABLE connects RENAME TO away").await?;
    let failed = connect(&app, "k").await?;
    assert_eq!(refusal(&failed), (500, "INTERNAL".to_owned()));
    app.execute("ALTER TABLE away RENAME TO connects").await?;
    let done = connect(&app, "k").await?.expect(201)?;
    assert!(!is_replayed(&done));
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_key_is_told_so_and_other_methods_do_not_look() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    for key in ["two words", "\"open", &"x".repeat(256), ""] {
        let answer = connect(&app, key).await?;
        assert_eq!(refusal(&answer), (400, "IDEMPOTENCY_KEY_INVALID".to_owned()), "{key:?}");
    }
    let request = app.http.request(Method::GET, "/v1/platforms").header("idempotency-key", "a b");
    app.http.send(request).await?.expect(200)?;
    let stranger = app.http.with_key("lk_wrong");
    let answer = post(&stranger, &app.path("/connects"), "k", &sandbox()).await?;
    assert_eq!(refusal(&answer), (401, "UNAUTHORIZED".to_owned()));
    assert_eq!(count(&app, "idempotency_keys").await?, 0, "nothing was written");
    assert_eq!(count(&app, "connects").await?, 0);
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_at_once_one_runs() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let lock = nobody_writes_connects(&app).await?;
    let first = in_background(&app, "k");
    until_waiting(&app, 1).await?;
    let second = connect(&app, "k").await?;
    assert_eq!(refusal(&second), (409, "IDEMPOTENCY_KEY_IN_USE".to_owned()));
    assert!(second.headers.contains_key("retry-after"));
    let_go(lock).await?;
    let first = first.await??.expect(201)?;
    let third = connect(&app, "k").await?.expect(201)?;
    assert!(is_replayed(&third));
    assert_eq!(third.text, first.text);
    assert_eq!(count(&app, "connects").await?, 1);
    app.finish().await
}

/// The client is gone before it can read: nobody saw the answer, and it is there all the same.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_nobody_read_is_given_to_who_asks_again() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let body = sandbox().to_string();
    let address = app.http.base().trim_start_matches("http://");
    let mut socket = TcpStream::connect(address).await?;
    let request = format!(
        "POST {} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\nidempotency-key: gone\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        app.path("/connects"),
        app.owner.expose_key(),
        body.len()
    );
    let lock = nobody_writes_connects(&app).await?;
    socket.write_all(request.as_bytes()).await?;
    until_waiting(&app, 1).await?;
    drop(socket);
    let_go(lock).await?;
    let answered = "idempotency_keys WHERE sealed_answer IS NOT NULL";
    eventually(|| async { Ok((count(&app, answered).await? == 1).then_some(())) }).await?;
    let again = connect(&app, "gone").await?.expect(201)?;
    assert!(is_replayed(&again));
    assert_eq!(count(&app, "connects").await?, 1);
    app.finish().await
}

/// The process dies in the middle: nothing was committed, and after the lease the request may run.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_process_died_runs_after_its_lease() -> anyhow::Result<()> {
    let mut app = TestApp::start_with(Options { worker: false, ..Options::default() }).await?;
    let silent_broker = TcpListener::bind("127.0.0.1:0").await?;
    let amqp_url = format!("amqp://guest:guest@{}/%2f", silent_broker.local_addr()?);
    let (api, base) = app.spawn_api(&amqp_url).await?;
    let lock = nobody_writes_connects(&app).await?;
    let (http, path) = (app.http.clone(), format!("{base}{}", app.path("/connects")));
    let cut = tokio::spawn(async move { post(&http, &path, "k", &sandbox()).await });
    until_waiting(&app, 1).await?;
    api.kill().await?;
    assert!(cut.await?.is_err(), "there was no answer");
    let_go(lock).await?;

    let early = connect(&app, "k").await?;
    assert_eq!(refusal(&early), (409, "IDEMPOTENCY_KEY_IN_USE".to_owned()));
    let seconds: i64 = early.headers["retry-after"].to_str()?.parse()?;
    assert!((1..=30).contains(&seconds), "{seconds}");
    assert_eq!(count(&app, "connects").await?, 0);
    app.clock.advance(TimeDelta::seconds(seconds));
    let done = connect(&app, "k").await?.expect(201)?;
    assert!(!is_replayed(&done));
    assert_eq!(connect(&app, "k").await?.text, done.text);
    assert_eq!(count(&app, "connects").await?, 1);
    app.add_worker().await?;
    app.finish().await
}

/// Frozen for longer than its lease, a request finds its turn taken: it must not commit any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_turn_was_taken_over_changes_nothing() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let lock = nobody_writes_connects(&app).await?;
    let frozen = in_background(&app, "k");
    until_waiting(&app, 1).await?;
    app.clock.advance(TimeDelta::seconds(31));
    let taking_over = in_background(&app, "k");
    until_waiting(&app, 2).await?;
    let_go(lock).await?;
    assert_eq!(refusal(&frozen.await??), (409, "IDEMPOTENCY_KEY_IN_USE".to_owned()));
    let done = taking_over.await??.expect(201)?;
    assert_eq!(connect(&app, "k").await?.text, done.text);
    assert_eq!(count(&app, "connects").await?, 1);
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_later_the_key_is_free_and_the_answer_is_gone() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let first = connect(&app, "k").await?.expect(201)?;
    let sealed = app.row("SELECT sealed_answer::text AS answer FROM idempotency_keys").await?;
    assert!(sealed["answer"].as_str().is_some_and(|sealed| sealed.len() > 200), "{sealed}");
    app.clock.advance(TimeDelta::hours(24) - TimeDelta::minutes(1));
    Sweep::Prune.run(app.worker_context()).await?;
    assert_eq!(connect(&app, "k").await?.text, first.text);
    app.clock.advance(TimeDelta::minutes(2));
    let other = json!({ "platform": "SANDBOX", "metadata": { "day": 2 } });
    let fresh = post(&app.http, &app.path("/connects"), "k", &other).await?.expect(201)?;
    assert!(!is_replayed(&fresh));
    app.clock.advance(TimeDelta::hours(24));
    Sweep::Prune.run(app.worker_context()).await?;
    assert_eq!(count(&app, "idempotency_keys").await?, 0);
    app.finish().await
}

/// A kept answer belongs to its row: moved to another one it does not open.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_opens_in_its_own_row_alone() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    connect(&app, "mine").await?.expect(201)?;
    connect(&app, "other").await?.expect(201)?;
    app.execute(
        "UPDATE idempotency_keys SET sealed_answer = (SELECT o.sealed_answer FROM idempotency_keys o
         WHERE o.key_hash <> idempotency_keys.key_hash)",
    )
    .await?;
    let answer = connect(&app, "mine").await?;
    assert_eq!(refusal(&answer), (500, "INTERNAL".to_owned()));
    app.finish().await
}
