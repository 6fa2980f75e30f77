//! An egress proxy of the operator's, spoken to by CONNECT (RFC 9110 §9.3.6).
//!
//! A proxy resolves names by itself, and where a name leads that an outsider chose must be the guard's to judge. So such
//! calls pass a door on loopback: it resolves the name, has the guard judge what comes of it, and asks the proxy
//! for that address. What is on networks that the operator opened is called directly: it is no egress.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::BoxFuture;
use reqwest::Proxy;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use url::Url;

use crate::random;

/// A head of a request or an answer is read up to this.
const MAX_HEAD: u64 = 8 * 1024;
/// How long a connection may take to come about.
const PATIENCE: Duration = Duration::from_secs(10);
/// The name by which our own clients know the door.
const USER: &str = "latchkey";

/// The operator's proxy.
#[derive(Clone)]
pub struct EgressProxy {
    host: String,
    port: u16,
    /// `Proxy-Authorization`, if the URL has a user.
    authorization: Option<SecretString>,
}

impl fmt::Debug for EgressProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EgressProxy({}:{})", self.host, self.port)
    }
}

impl FromStr for EgressProxy {
    type Err = &'static str;

    /// A complaint never repeats the URL: it may hold a password.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "must be http://host:port, or http://user:password@host:port";
        let url = Url::parse(text).map_err(|_| FORM)?;
        let bare =
            matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
        let host = url.host_str().filter(|_| bare && url.scheme() == "http").ok_or(FORM)?;
        let plain = |text: &str| percent_decode(text).ok_or(FORM);
        let authorization = match (url.username(), url.password()) {
            ("", None) => None,
            (user, password) => {
                let pair = format!("{}:{}", plain(user)?, plain(password.unwrap_or_default())?);
                Some(format!("Basic {}", STANDARD.encode(pair)).into())
            }
        };
        let port = url.port_or_known_default().ok_or(FORM)?;
        Ok(Self { host: host.to_owned(), port, authorization })
    }
}

fn percent_decode(text: &str) -> Option<String> {
    let pair = format!("a={}", text.replace('+', "%2B"));
    let (_, value) = url::form_urlencoded::parse(pair.as_bytes()).next()?;
    Some(value.into_owned())
}

impl EgressProxy {
    /// For calls to hosts that the operator knows: the proxy may resolve their names. What is `here` is no egress.
    pub(crate) fn for_known_hosts(&self, here: fn(&str) -> bool) -> Proxy {
        let proxy = format!("http://{}:{}", self.host, self.port);
        let through =
            move |url: &Url| url.host_str().is_some_and(|host| !here(host)).then(|| proxy.clone());
        let proxy = Proxy::custom(through);
        match self.header() {
            Some(value) => proxy.custom_http_auth(value),
            None => proxy,
        }
    }

    fn header(&self) -> Option<reqwest::header::HeaderValue> {
        let mut value: reqwest::header::HeaderValue =
            self.authorization.as_ref()?.expose_secret().parse().ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// A connection to an address, through the proxy.
    async fn connect(&self, to: SocketAddr) -> io::Result<BufReader<TcpStream>> {
        let mut stream = BufReader::new(TcpStream::connect((self.host.as_str(), self.port)).await?);
        let authorization = self
            .authorization
            .as_ref()
            .map(|value| format!("proxy-authorization: {}\r\n", value.expose_secret()));
        let asked = format!(
            "CONNECT {to} HTTP/1.1\r\nhost: {to}\r\n{}\r\n",
            authorization.unwrap_or_default()
        );
        stream.write_all(asked.as_bytes()).await?;
        let head = read_head(&mut stream).await?;
        let status = head.split(' ').nth(1).unwrap_or_default();
        if status.len() == 3 && status.starts_with('2') {
            return Ok(stream);
        }
        tracing::warn!(status, "the egress proxy refuses to connect");
        Err(io::Error::other("the egress proxy refuses to connect"))
    }
}

/// An address that may be called.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hop {
    pub(crate) address: SocketAddr,
    /// Whether it is inside: then the proxy has nothing to do with it.
    pub(crate) direct: bool,
}

/// Finds where a URL's host leads; `None` where it must not be called.
pub(crate) type Judge = Arc<dyn Fn(Url) -> BoxFuture<'static, Option<Vec<Hop>>> + Send + Sync>;

/// The way out for calls to hosts that outsiders chose. Closed when it is dropped.
#[derive(Debug)]
pub(crate) struct Door {
    port: u16,
    /// Others on this machine may not use it.
    token: String,
    task: AbortHandle,
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Door {
    /// Opens a door that leads where the judge permits.
    pub(crate) async fn open(judge: Judge, proxy: EgressProxy) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (port, token) = (listener.local_addr()?.port(), random::token());
        let wanted = STANDARD.encode(format!("{USER}:{token}"));
        let task = tokio::spawn(serve(listener, judge, proxy, wanted)).abort_handle();
        Ok(Self { port, token, task })
    }

    /// For encrypted calls: of those a proxy sees nothing but where they go.
    pub(crate) fn proxy(&self) -> reqwest::Result<Proxy> {
        let address = format!("http://127.0.0.1:{}", self.port);
        Ok(Proxy::https(address)?.basic_auth(USER, &self.token))
    }
}

async fn serve(listener: TcpListener, judge: Judge, proxy: EgressProxy, wanted: String) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (judge, proxy, wanted) = (judge.clone(), proxy.clone(), wanted.clone());
        tokio::spawn(async move {
            if let Err(error) = pass(stream, &judge, &proxy, &wanted).await {
                tracing::debug!("a call through the egress proxy ended: {error}");
            }
        });
    }
}

async fn pass(
    stream: TcpStream,
    judge: &Judge,
    proxy: &EgressProxy,
    wanted: &str,
) -> io::Result<()> {
    let mut near = BufReader::new(stream);
    let connected = tokio::time::timeout(PATIENCE, lead(&mut near, judge, proxy, wanted)).await;
    match connected.unwrap_or(Err("504 Gateway Timeout")) {
        Ok(mut far) => {
            near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
            tokio::io::copy_bidirectional(&mut near, &mut far).await.map(drop)
        }
        Err(status) => {
            near.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes())
                .await
        }
    }
}

/// The connection that is asked for; else the status that says why there is none.
async fn lead(
    near: &mut BufReader<TcpStream>,
    judge: &Judge,
    proxy: &EgressProxy,
    wanted: &str,
) -> Result<BufReader<TcpStream>, &'static str> {
    let head = read_head(near).await.map_err(|_| "400 Bad Request")?;
    let authorized = head.lines().any(|line| {
        let line = line.split_once(':').map(|(name, value)| (name.trim(), value.trim()));
        line.is_some_and(|(name, value)| {
            name.eq_ignore_ascii_case("proxy-authorization")
                && value.strip_prefix("Basic ") == Some(wanted)
        })
    });
    if !authorized {
        return Err("407 Proxy Authentication Required");
    }
    let authority = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next());
    let url = authority.and_then(|authority| Url::parse(&format!("https://{authority}/")).ok());
    let url = url.ok_or("400 Bad Request")?;
    for Hop { address, direct } in judge(url).await.ok_or("403 Forbidden")? {
        let connected = if direct {
            TcpStream::connect(address).await.map(BufReader::new)
        } else {
            proxy.connect(address).await
        };
        match connected {
            Ok(far) => return Ok(far),
            Err(error) => tracing::debug!("{address} cannot be reached: {error}"),
        }
    }
    Err("502 Bad Gateway")
}

/// Reads up to the empty line.
async fn read_head(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut head = String::new();
    let mut limited = stream.take(MAX_HEAD);
    while !head.ends_with("\r\n\r\n") {
        if limited.read_line(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_named_by_its_address() {
        let proxy: EgressProxy = "http://proxy.internal:3128".parse().unwrap();
        assert_eq!((proxy.host.as_str(), proxy.port), ("proxy.internal", 3128));
        assert!(proxy.authorization.is_none());
        let proxy: EgressProxy = "http://ann:s%40c+ret@10.0.0.1".parse().unwrap();
        let authorization = proxy.authorization.clone().unwrap();
        let expected = format!("Basic {}", STANDARD.encode("ann:s@c+ret"));
        assert_eq!(authorization.expose_secret(), expected);
        assert_eq!(proxy.port, 80);
        assert!(!format!("{proxy:?}").contains("ret"));
        for wrong in ["", "proxy:3128", "https://proxy:3128", "socks5://proxy", "http://proxy/path"]
        {
            let told = wrong.parse::<EgressProxy>().unwrap_err();
            assert!(told.contains("http://host:port"), "{wrong}");
        }
    }
}
