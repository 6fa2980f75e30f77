//! Clients that ask and do not read.

use std::net::SocketAddr;
use std::time::Duration;

use latchkey_tests::TestApp;
use latchkey_tests::app::{Options, PATIENCE, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

/// Together more than the buffers of both kernels hold.
const REQUESTS: usize = 200;
const ATTACKER: &str = "127.0.0.2:0";
const VICTIM: &str = "127.0.0.3:0";

/// A connection from another address of this machine that asks for a large document again and again.
pub(super) async fn ask_without_reading(app: &TestApp) -> anyhow::Result<TcpStream> {
    let mut stream = connect(app, ATTACKER).await?;
    let requests = "GET /openapi.json HTTP/1.1\r\nhost: a\r\n\r\n".repeat(REQUESTS);
    // One that is refused is closed before that.
    drop(stream.write_all(requests.as_bytes()).await);
    Ok(stream)
}

async fn connect(app: &TestApp, from: &str) -> anyhow::Result<TcpStream> {
    let api: SocketAddr = app.http.base().trim_start_matches("http://").parse()?;
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4096)?;
    socket.bind(from.parse()?)?;
    Ok(socket.connect(api).await?)
}

/// Asks on a connection of its own, and reads the answer.
async fn ask(app: &TestApp, from: &str) -> anyhow::Result<()> {
    let mut stream = connect(app, from).await?;
    let key = app.owner.expose_key();
    let request = format!(
        "GET /v1/platforms HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {key}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await??;
    anyhow::ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    Ok(())
}

/// How long a stranger's request takes, at the middle of 21.
async fn victim(app: &TestApp) -> anyhow::Result<Duration> {
    let mut times = Vec::new();
    for _ in 0..21 {
        let begun = Instant::now();
        ask(app, VICTIM).await?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    Ok(times[10])
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_does_not_read_leaves_connections_to_the_others() -> anyhow::Result<()> {
    let app = TestApp::start_with(Options {
        serve: |config| {
            config.max_connections = 60;
            config.max_connections_per_address = 40;
        },
        ..Options::default()
    })
    .await?;
    let alone = victim(&app).await?;
    let mut attackers = Vec::new();
    for _ in 0..120 {
        attackers.push(ask_without_reading(&app).await?);
    }
    let beside = victim(&app).await?;
    eprintln!("a request: {alone:?} alone, {beside:?} beside 120 connections that do not read");
    let mut refused = 0;
    for attacker in &mut attackers {
        let mut head = [0; 12];
        // Refused ones may be reset before they are read.
        let read = tokio::time::timeout(PATIENCE, attacker.read_exact(&mut head)).await?;
        refused += usize::from(read.is_err() || &head == b"HTTP/1.1 429");
    }
    assert_eq!(refused, 80, "40 of the attacker's 120 connections are served");
    drop(attackers);
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection_is_told_why_and_an_end_makes_room() -> anyhow::Result<()> {
    let app = TestApp::start_with(Options {
        serve: |config| config.max_connections_per_address = 1,
        ..Options::default()
    })
    .await?;
    let first = connect(&app, ATTACKER).await?;
    let mut told = String::new();
    connect(&app, ATTACKER).await?.read_to_string(&mut told).await?;
    assert!(told.starts_with("HTTP/1.1 429 "), "{told}");
    let (_, body) = told.split_once("\r\n\r\n").unwrap_or_default();
    let body: serde_json::Value = serde_json::from_str(body)?;
    assert_eq!(body["code"], "RATE_LIMITED");
    drop(first);
    eventually(|| async {
        // Until the other side has noticed.
        Ok(ask(&app, ATTACKER).await.ok())
    })
    .await?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_s_connections_are_not_counted() -> anyhow::Result<()> {
    let app = TestApp::start_with(Options {
        serve: |config| {
            config.max_connections_per_address = 1;
            config.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
        },
        ..Options::default()
    })
    .await?;
    let _open = (connect(&app, ATTACKER).await?, connect(&app, ATTACKER).await?);
    ask(&app, ATTACKER).await?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_is_cut_off() -> anyhow::Result<()> {
    let app = TestApp::start_with(Options {
        serve: |config| {
            config.max_connections = 1;
            config.stall_timeout = Duration::from_secs(1);
            // Nothing else may keep the one connection.
            config.idle_timeout = Duration::from_secs(1);
        },
        ..Options::default()
    })
    .await?;
    let mut attacker = ask_without_reading(&app).await?;
    // Waits in the kernel's queue until then.
    ask(&app, VICTIM).await?;
    let mut answers = Vec::new();
    drop(tokio::time::timeout(PATIENCE, attacker.read_to_end(&mut answers)).await?);
    let whole = app.http.get("/openapi.json").await?.text.len() * REQUESTS;
    assert!(answers.len() < whole, "{} of {whole} bytes", answers.len());
    app.finish().await
}
