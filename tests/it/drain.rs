//! The API is asked to stop: what has begun ends, nothing new begins, nothing is lost.

use std::time::Duration;

use anyhow::Context as _;
use latchkey_shared::boot::Exit;
use latchkey_tests::app::{Options, Process, eventually};
use latchkey_tests::{Person, TestApp};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// What a callback waits for its outcome, and a reader for the next event: longer than the API has.
const LONG: &str = "25";

/// A POST of which the second half is still to come.
struct HalfSent {
    stream: TcpStream,
    rest: String,
}

impl HalfSent {
    async fn send(app: &TestApp, base: &str, body: &Value) -> anyhow::Result<Self> {
        let address = base.strip_prefix("http://").context("an address of ours")?;
        let mut stream = TcpStream::connect(address).await?;
        let body = body.to_string();
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\
             expect: 100-continue\r\n\r\n",
            app.path("/connects"),
            app.owner.expose_key(),
            body.len()
        );
        stream.write_all(head.as_bytes()).await?;
        // Whoever asks for the body has begun with the request.
        let mut go_on = [0; 25];
        stream.read_exact(&mut go_on).await?;
        anyhow::ensure!(go_on.starts_with(b"HTTP/1.1 100 Continue"), "no call for the body");
        let (half, rest) = body.split_at(5);
        stream.write_all(half.as_bytes()).await?;
        Ok(Self { stream, rest: rest.to_owned() })
    }

    /// The whole answer; the connection ends with it.
    async fn finish(mut self) -> anyhow::Result<String> {
        self.stream.write_all(self.rest.as_bytes()).await?;
        let mut answer = String::new();
        self.stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }
}

async fn requests_under_way(app: &TestApp, base: &str) -> anyhow::Result<[String; 2]> {
    let path = format!("{base}{}", app.path("/connects"));
    let connect =
        app.http.post(&path, &json!({ "platform": "SANDBOX" })).await?.expect(201)?.json();
    let url = connect["authorizeUrl"].as_str().unwrap_or_default();
    let callback = Person::new("sam")?.approve(url).await?.to_string();
    Ok([callback, format!("{base}/v1/events?types=account.disconnected&wait={LONG}")])
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_begun_ends_and_nothing_new_begins() -> anyhow::Result<()> {
    let mut app = TestApp::start_with(Options { worker: false, ..Options::default() }).await?;
    app.stop_api().await;
    let amqp_url = app.common().amqp_url.expose_secret().to_owned();
    let (api, base) = app.spawn_api_with(&amqp_url, &[("LATCHKEY_CALLBACK_WAIT", LONG)]).await?;
    let ready = format!("{base}/readyz");
    eventually(|| async {
        let ready = app.http.get(&ready).await?.json();
        Ok((ready["broker"] == "up").then_some(()))
    })
    .await?;
    let [callback, events] = requests_under_way(&app, &base).await?;
    let browser = tokio::spawn({
        let http = app.http.clone();
        async move { http.browse(&callback).await }
    });
    let reader = tokio::spawn({
        let http = app.http.clone();
        async move { http.get(&events).await }
    });
    let half_sent = HalfSent::send(&app, &base, &json!({ "platform": "SANDBOX" })).await?;
    let waiting = "SELECT count(*) AS n FROM connects WHERE status = 'authorized'";
    eventually(|| async { Ok((app.row(waiting).await?["n"] == 1).then_some(())) }).await?;

    let asked = Instant::now();
    api.signal("TERM").await?;
    api.says("stopping on SIGTERM").await?;
    // Nobody exchanges the code, and nobody waits for that any more: the page goes on by itself.
    let back = browser.await??.expect(303)?;
    assert!(back.location().is_some_and(|to| to.contains("/connect/con_")), "{back:?}");
    assert_eq!(reader.await??.expect(200)?.json()["data"], json!([]));
    assert!(asked.elapsed() < Duration::from_secs(10), "nobody waited to the end");
    let address = base.trim_start_matches("http://");
    eventually(|| async { Ok(TcpStream::connect(address).await.is_err().then_some(())) }).await?;

    // A second signal changes nothing for a request that is still being sent.
    api.signal("INT").await?;
    api.says("SIGINT again").await?;
    let answer = half_sent.finish().await?;
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
    assert_eq!(api.ended().await?.code(), Some(Exit::Done as i32));

    // Events are done once the broker has them; no relay runs that could have done it instead.
    let unsent = "SELECT count(*) AS n FROM outbox WHERE kind = 'event' AND done_at IS NULL";
    assert_eq!(app.row(unsent).await?["n"], 0, "all was published before the process ended");
    app.add_worker().await?;
    app.finish().await
}

/// A client that never ends its request is told so in its time, and the process ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_never_ends_does_not_keep_the_process() -> anyhow::Result<()> {
    let app = TestApp::start_with(Options { worker: false, ..Options::default() }).await?;
    let amqp_url = app.common().amqp_url.expose_secret().to_owned();
    let (api, base) = app.spawn_api(&amqp_url).await?;
    let mut half_sent = HalfSent::send(&app, &base, &json!({ "platform": "SANDBOX" })).await?;
    assert_eq!(api.terminate().await?.code(), Some(Exit::Done as i32));
    let mut answer = String::new();
    half_sent.stream.read_to_string(&mut answer).await?;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_before_it_serves_ends_it_in_order() -> anyhow::Result<()> {
    let app = TestApp::start_with(Options { worker: false, ..Options::default() }).await?;
    // A database that takes connections and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").await?;
    for name in ["latchkey-api", "latchkey-worker"] {
        let mut command = app.command(name)?;
        command.env("DATABASE_URL", format!("postgres://u@{}/d", silent.local_addr()?));
        let process = Process::start(command)?;
        process.says("waiting for the database").await?;
        process.signal("INT").await?;
        assert_eq!(process.ended().await?.code(), Some(Exit::Done as i32));
    }
    app.finish().await
}
