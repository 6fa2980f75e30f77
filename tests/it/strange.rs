//! Receivers of webhooks that misbehave below HTTP, and a canary that nobody may reach.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use latchkey_tests::app::eventually;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What a strange receiver does with a request that it has read.
#[derive(Clone, Debug)]
pub(crate) enum Manner {
    /// Says this, word for word.
    Says(String),
    /// Says it after a while.
    Late(Duration, String),
    /// Says nothing, and keeps the connection.
    Silent,
    /// Begins a good answer that does not end.
    Drips,
    /// Answers well, with a body of so many bytes.
    Floods(usize),
    /// Hangs up.
    HangsUp,
}

/// An answer of a status with these headers, each ended by CRLF, and a body.
pub(crate) fn says(status: u16, headers: &str, body: &str) -> Manner {
    Manner::Says(format!(
        "HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    ))
}

/// A request that came: its `webhook-id` and `webhook-timestamp`.
#[derive(Clone, Debug)]
pub(crate) struct Came {
    pub(crate) id: String,
    pub(crate) timestamp: i64,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    requests: Mutex<Vec<Came>>,
    written: AtomicUsize,
}

/// A receiver with manners of its own.
pub(crate) struct Strange {
    address: SocketAddr,
    seen: Arc<Seen>,
    tasks: Vec<JoinHandle<()>>,
}

impl Strange {
    /// Treats the first request by the first manner and so on; those after the last by the last.
    pub(crate) async fn start(manners: Vec<Manner>) -> anyhow::Result<Self> {
        Self::on("127.0.0.1:0".parse()?, manners).await
    }

    pub(crate) async fn on(address: SocketAddr, manners: Vec<Manner>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let mut strange =
            Self { address: listener.local_addr()?, seen: Arc::default(), tasks: Vec::new() };
        strange.listen(listener, manners);
        Ok(strange)
    }

    /// Nobody may connect to it, on either loopback address.
    pub(crate) async fn canary() -> anyhow::Result<Self> {
        let mut canary = Self::start(vec![says(200, "", "")]).await?;
        let port = canary.address.port();
        // Not every machine has IPv6.
        if let Ok(listener) = TcpListener::bind(("::1", port)).await {
            canary.listen(listener, vec![says(200, "", "")]);
        }
        Ok(canary)
    }

    fn listen(&mut self, listener: TcpListener, manners: Vec<Manner>) {
        let seen = self.seen.clone();
        self.tasks.push(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                seen.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, seen.clone(), manners.clone()));
            }
        }));
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// How many bytes of a flood left.
    pub(crate) fn written(&self) -> usize {
        self.seen.written.load(Ordering::SeqCst)
    }

    pub(crate) fn came(&self) -> Vec<Came> {
        self.seen.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) async fn until_came(&self, count: usize) -> anyhow::Result<Vec<Came>> {
        eventually(|| async { Ok(Some(self.came()).filter(|came| came.len() >= count)) }).await
    }
}

impl Drop for Strange {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn serve(mut stream: TcpStream, seen: Arc<Seen>, manners: Vec<Manner>) {
    let Some(came) = read(&mut stream).await else { return };
    let manner = {
        let mut requests = seen.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.push(came);
        manners[(requests.len() - 1).min(manners.len() - 1)].clone()
    };
    match manner {
        Manner::HangsUp => {}
        Manner::Says(text) => drop(stream.write_all(text.as_bytes()).await),
        Manner::Late(after, text) => {
            tokio::time::sleep(after).await;
            drop(stream.write_all(text.as_bytes()).await);
        }
        Manner::Silent => std::future::pending().await,
        Manner::Drips => {
            let head = "HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n";
            drop(stream.write_all(head.as_bytes()).await);
            while stream.write_all(b".").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
        Manner::Floods(bytes) => {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {bytes}\r\n\r\n");
            drop(stream.write_all(head.as_bytes()).await);
            let chunk = vec![b'x'; 64 * 1024];
            while seen.written.load(Ordering::SeqCst) < bytes {
                if stream.write_all(&chunk).await.is_err() {
                    return;
                }
                seen.written.fetch_add(chunk.len(), Ordering::SeqCst);
            }
        }
    }
}

/// A request with its whole body; `None` when it is none.
async fn read(stream: &mut TcpStream) -> Option<Came> {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).await.ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&chunk[..count]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let header =
            |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let length: usize = header("content-length")?.parse().ok()?;
        if body.len() >= length {
            let id = header("webhook-id")?.to_owned();
            return Some(Came { id, timestamp: header("webhook-timestamp")?.parse().ok()? });
        }
    }
}
