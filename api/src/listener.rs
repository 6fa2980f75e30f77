//! The public listener: how long and how much a client may send, and how many may be connected.
//!
//! Nothing that a client fails to send may hold a connection for ever, and nothing it sends is logged.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

use crate::client_address::Peer;

/// A request line with its headers. Platforms send long codes; nobody sends this much.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// A connection this old ends after the answer under way, so that none is held for ever.
const MAX_AGE: Duration = Duration::from_secs(3600);
/// And without that answer if it takes longer than this: its reader has stopped reading.
const LAST_ANSWER: Duration = Duration::from_secs(60);
/// Without free file descriptors, trying at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// What connections may do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// How many there may be.
    pub(crate) connections: usize,
    /// How long one may wait for the head of its next request.
    pub(crate) idle: Duration,
}

/// Serves until `stop`, then lets the requests under way end.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    bounds: Bounds,
    stop: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(bounds.connections));
    let open = TaskTracker::new();
    let accepting = async {
        loop {
            // Beyond the limit new clients wait in the kernel's queue.
            let slot = slots.clone().acquire_owned().await.expect("nobody closes it");
            let (stream, peer) = accept(&listener).await;
            let serving = converse(stream, peer, router.clone(), (bounds.idle, stop.clone()));
            let taken = bounds.connections - slots.available_permits();
            metrics::gauge!("latchkey_http_connections").set(count(taken));
            let (slots, all) = (slots.clone(), bounds.connections);
            open.spawn(async move {
                serving.await;
                drop(slot);
                metrics::gauge!("latchkey_http_connections")
                    .set(count(all - slots.available_permits()));
            });
        }
    };
    stop.run_until_cancelled(accepting).await;
    drop(listener);
    open.close();
    open.wait().await;
}

fn count(connections: usize) -> f64 {
    f64::from(u32::try_from(connections).unwrap_or(u32::MAX))
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                // A client that is gone again is its own affair; anything else is worth waiting for.
                tracing::debug!("no connection was accepted: {error}");
                if !is_the_client_s(&error) {
                    tracing::warn!("cannot accept connections: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

fn is_the_client_s(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    (idle, stop): (Duration, CancellationToken),
) {
    // Answers are small and written at once: waiting to fill a packet only delays them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!("a connection keeps its delay: {error}");
    }
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        router.clone().call(request)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(idle).max_buf_size(MAX_HEAD_BYTES);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    let aged = tokio::time::timeout(MAX_AGE, stop.cancelled());
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = aged => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(LAST_ANSWER, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection ended: {error}");
    }
}
