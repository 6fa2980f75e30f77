//! How a session is opened, so that its bytes pass by us.

use std::io;
use std::path::Path;

use diesel::{ConnectionError, ConnectionResult};
use diesel_async::AsyncPgConnection;
use futures_util::future::{BoxFuture, FutureExt as _, Ready, ready};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio_postgres::config::{Host, SslMode, SslNegotiation};
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres::{Config, Error, NoTls, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::stream::{Watch, Watched};

type Rustls = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;
type StartRustls = <MakeRustlsConnect as MakeTlsConnect<Socket>>::TlsConnect;

/// Opens a session over TLS, if there is any, and else in plain.
pub(in crate::db) async fn open(
    config: &Config,
    tls: Option<MakeRustlsConnect>,
    watch: Option<Watch>,
) -> ConnectionResult<AsyncPgConnection> {
    if let Some(Host::Unix(directory)) = config.get_hosts().first() {
        return open_local(config, directory, watch).await;
    }
    match tls {
        Some(maker) => {
            let (client, connection) =
                config.connect(Encrypted { maker, watch }).await.map_err(bad)?;
            AsyncPgConnection::try_from_client_and_connection(client, connection).await
        }
        None => {
            // The client takes a stream of ours only in the place of TLS. So negotiated, it sends not a byte of its own
            // before.
            let mut config = config.clone();
            config.ssl_mode(SslMode::Require).ssl_negotiation(SslNegotiation::Direct);
            let (client, connection) = config.connect(Plain(watch)).await.map_err(bad)?;
            AsyncPgConnection::try_from_client_and_connection(client, connection).await
        }
    }
}

/// On a socket of this machine the client takes no TLS, and nothing in its place.
async fn open_local(
    config: &Config,
    directory: &Path,
    watch: Option<Watch>,
) -> ConnectionResult<AsyncPgConnection> {
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let path = directory.join(format!(".s.PGSQL.{port}"));
    let said = |error: io::Error| format!("{}: {error}", path.display());
    let stream = UnixStream::connect(&path).await;
    let stream = stream.map_err(|error| ConnectionError::BadConnection(said(error)))?;
    let opened = config.connect_raw(Watched::new(stream, unbound, watch), NoTls).await;
    let (client, connection) = opened.map_err(bad)?;
    // It ends when the client does, and the client's calls say why.
    tokio::spawn(connection.map(drop));
    AsyncPgConnection::try_from(client).await
}

fn bad(error: Error) -> ConnectionError {
    // A server takes what we begin with. A pooler in front of it may not.
    let hint = match error.code() {
        Some(&SqlState::PROTOCOL_VIOLATION) => {
            " (if that is PgBouncer: give it `ignore_startup_parameters = options`)"
        }
        _ => "",
    };
    ConnectionError::BadConnection(format!("{:#}{hint}", anyhow::Error::new(error)))
}

#[derive(Clone)]
struct Plain(Option<Watch>);

impl MakeTlsConnect<Socket> for Plain {
    type Stream = Watched<Socket>;
    type TlsConnect = Self;
    type Error = io::Error;

    fn make_tls_connect(&mut self, _: &str) -> io::Result<Self> {
        Ok(self.clone())
    }
}

impl TlsConnect<Socket> for Plain {
    type Stream = Watched<Socket>;
    type Error = io::Error;
    type Future = Ready<io::Result<Watched<Socket>>>;

    fn connect(self, stream: Socket) -> Self::Future {
        ready(Ok(Watched::new(stream, unbound, self.0)))
    }
}

struct Encrypted<M> {
    maker: M,
    watch: Option<Watch>,
}

impl MakeTlsConnect<Socket> for Encrypted<MakeRustlsConnect> {
    type Stream = Watched<Rustls>;
    type TlsConnect = Encrypted<StartRustls>;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> io::Result<Self::TlsConnect> {
        let made = MakeTlsConnect::<Socket>::make_tls_connect(&mut self.maker, host);
        let maker = made.map_err(io::Error::other)?;
        Ok(Encrypted { maker, watch: self.watch.clone() })
    }
}

impl TlsConnect<Socket> for Encrypted<StartRustls> {
    type Stream = Watched<Rustls>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Stream>>;

    fn connect(self, stream: Socket) -> Self::Future {
        self.maker
            .connect(stream)
            .map(|made| Ok(Watched::new(made?, Rustls::channel_binding, self.watch)))
            .boxed()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Watched<S> {
    fn channel_binding(&self) -> ChannelBinding {
        (self.binding)(&self.stream)
    }
}

/// What the password's proof is bound to: nothing, in plain.
fn unbound<S>(_: &S) -> ChannelBinding {
    ChannelBinding::none()
}
