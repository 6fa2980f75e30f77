//! A network that can go silent: no answer, no reset, no end.

use std::net::SocketAddr;

use anyhow::Context as _;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use url::Url;

/// How the network is. Connections of an earlier age are forgotten: they stay silent for ever.
#[derive(Clone, Copy, Debug, Default)]
struct Weather {
    age: u64,
    silent: bool,
}

/// Passes connections on to a server, until it goes silent. Dropping it closes all.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    accepting: JoinHandle<()>,
}

impl Relay {
    /// Listens in front of the server that a URL names.
    ///
    /// # Errors
    /// When the URL names no host and port, or nothing can listen.
    pub async fn to(url: &str) -> anyhow::Result<Self> {
        let url: Url = url.parse()?;
        let (host, port) = (url.host_str(), url.port());
        let server = (host.context("no host")?.to_owned(), port.context("no port")?);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (weather, seen) = watch::channel(Weather::default());
        let address = listener.local_addr()?;
        let accepting = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(pass(client, server.clone(), seen.clone()));
            }
        });
        Ok(Self { address, weather, accepting })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on nothing passes, on no connection.
    pub fn go_silent(&self) {
        self.weather
            .send_modify(|weather| *weather = Weather { age: weather.age + 1, silent: true });
    }

    /// New connections pass again.
    pub fn heal(&self) {
        self.weather.send_modify(|weather| weather.silent = false);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn pass(mut client: TcpStream, server: (String, u16), mut weather: watch::Receiver<Weather>) {
    let born = weather.borrow().age;
    let begun = weather.wait_for(|now| !now.silent || now.age != born).await.map(|now| now.age);
    let Ok(mut upstream) = TcpStream::connect((server.0.as_str(), server.1)).await else { return };
    if begun.is_ok_and(|age| age == born) {
        tokio::select! {
            ended = copy_bidirectional(&mut client, &mut upstream) => return drop(ended),
            _ = weather.wait_for(|now| now.age != born) => {}
        }
    }
    // Both ends stay open and hear nothing, until the relay is dropped.
    std::future::pending::<()>().await;
}
