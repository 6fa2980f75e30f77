//! Platforms and receivers whose certificates an authority of the operator's vouches for, and receivers without any on
//! networks that the operator opened.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use latchkey_shared::net_guard::{NetGuard, Outbound, Ports};
use latchkey_tests::app::{Options, worn};
use latchkey_tests::{Person, TestApp};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::outbound::Says;
use super::tls::Authority;

/// Ends TLS for a server that speaks none.
struct Front {
    port: u16,
    /// Whom it stands before.
    behind: Arc<OnceLock<String>>,
}

impl Front {
    async fn start(authority: &Authority, host: &str) -> anyhow::Result<Self> {
        let (certificate, key) = authority.certify(host)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes())?],
                PrivateKeyDer::from_pem_slice(key.as_bytes())?,
            )?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let behind = Arc::new(OnceLock::new());
        tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(config)), behind.clone()));
        Ok(Self { port, behind })
    }

    /// Stands before a server.
    fn leads_to(&self, url: &str) -> anyhow::Result<()> {
        let url: url::Url = url.parse()?;
        let _ = self.behind.set(format!("127.0.0.1:{}", url.port().unwrap_or_default()));
        Ok(())
    }

    /// Its address, with what comes after the address behind it.
    fn before(&self, url: &str) -> anyhow::Result<String> {
        self.leads_to(url)?;
        let mut url: url::Url = url.parse()?;
        url.set_host(Some("localhost"))?;
        let https = url.as_str().replacen("http:", "https:", 1);
        let mut url: url::Url = https.parse()?;
        url.set_port(Some(self.port)).map_err(|()| anyhow::anyhow!("it has a port"))?;
        Ok(url.into())
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, behind: Arc<OnceLock<String>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, behind) = (acceptor.clone(), behind.clone());
        tokio::spawn(async move {
            let mut front = acceptor.accept(stream).await?;
            let Some(behind) = behind.get() else { return Ok(()) };
            let mut back = TcpStream::connect(behind).await?;
            tokio::io::copy_bidirectional(&mut front, &mut back).await.map(drop)
        });
    }
}

/// The newest delivery's first attempt, once it has ended.
async fn attempted(app: &TestApp, endpoint: &str) -> anyhow::Result<Value> {
    let path = format!("/v1/webhook-endpoints/{endpoint}/deliveries?limit=1");
    latchkey_tests::app::eventually(|| async {
        let list = app.http.get(&path).await?.expect(200)?.json();
        let first = list["data"][0]["attempts"][0].clone();
        Ok(first["durationMs"].is_number().then_some(first))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_of_the_operator_s_vouches_for_platforms_and_receivers() -> anyhow::Result<()>
{
    let authority = Authority::new()?;
    let (platform, receiver) = (
        Front::start(&authority, "localhost").await?,
        Front::start(&authority, "localhost").await?,
    );
    let base = format!("base_url = \"https://localhost:{}\"", platform.port);
    let asked_in_plain = "authorize_url = \"{sandbox}/x.com/i/oauth2/authorize\"";
    let platforms = worn(&["X"]).replace("base_url = \"{sandbox}\"", &base) + asked_in_plain;
    let app = TestApp::start_with(Options {
        platforms,
        outbound_ca_file: Some(authority.file()),
        ..Options::default()
    })
    .await?;
    platform.leads_to(app.sandbox.url())?;
    let endpoints = app.http.get("/v1/webhook-endpoints").await?.expect(200)?.json();
    let url = receiver.before(endpoints["data"][0]["url"].as_str().unwrap_or_default())?;
    let body = json!({ "url": url });
    let made = app.http.post("/v1/webhook-endpoints", &body).await?.expect(201)?.json();

    let started = app.start_connect(json!({ "platform": "X" })).await?;
    app.approve(&started, &Person::new("sam")?).await?.expect(303)?;
    let ended = app.ended(started["connectId"].as_str().unwrap_or_default()).await?;
    assert_eq!(ended["status"], "connected", "{ended:#}");
    // The receiver of the test knows another secret: that it was asked is what counts.
    let sent = attempted(&app, made["id"].as_str().unwrap_or_default()).await?;
    assert!(sent["status"].is_number(), "{sent:#}");

    let here = ["127.0.0.0/8".parse()?];
    let guard = NetGuard::new(&here, &Ports::ALL);
    let ours = guard.clone().through(Outbound::trusting(&authority.trust()?)?).await?;
    for (guard, trusted) in [(guard, false), (ours, true)] {
        let client = guard.client(Duration::from_secs(10))?;
        let url = format!("https://localhost:{}/healthz", platform.port);
        assert_eq!(client.get(url).send().await.is_ok(), trusted);
    }
    app.finish().await
}

/// A receiver in the operator's own network need not have a certificate.
#[tokio::test(flavor = "multi_thread")]
async fn http_goes_to_opened_networks_and_nowhere_else() -> anyhow::Result<()> {
    let outbound_allow = vec!["10.0.0.0/8".parse()?, "127.0.0.0/8".parse()?];
    let app = TestApp::start_with(Options { outbound_allow, ..Options::default() }).await?;
    let make = |url: &'static str| {
        let app = &app;
        async move { app.http.post("/v1/webhook-endpoints", &json!({ "url": url })).await }
    };
    for url in ["http://1.1.1.1/", "http://192.168.0.1/", "http://[2606:4700::1111]/"] {
        let refused = make(url).await?.expect(400)?;
        assert!(refused.text.contains("LATCHKEY_OUTBOUND_ALLOW"), "{url}: {}", refused.text);
    }
    make("http://10.1.2.3:8080/hooks").await?.expect(201)?;
    // Wherever a name leads, this may not be told from one that nobody can resolve.
    let made = make("http://there-is-no.invalid/").await?.expect(201)?.json();
    let id = made["id"].as_str().unwrap_or_default();
    app.http.post(&format!("/v1/webhook-endpoints/{id}/test"), &json!({})).await?.expect(202)?;
    let sent = attempted(&app, id).await?;
    let why = sent["error"].as_str().unwrap_or_default();
    assert!(why.contains("LATCHKEY_OUTBOUND_ALLOW"), "{sent:#}");
    app.execute("DELETE FROM webhook_deliveries WHERE status = 'pending'").await?;
    app.finish().await
}

/// A proxy that leads every connection to one place, and remembers where each should have gone, and as whom.
struct Proxy {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// To this port of loopback; `None`: it refuses.
    async fn start(to: Option<u16>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let asked = Arc::new(Mutex::default());
        let remembered = asked.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(lead(BufReader::new(stream), to, Arc::clone(&remembered)));
            }
        });
        Ok(Self { port, asked })
    }

    fn url(&self) -> String {
        format!("http://ann:s%40cret@127.0.0.1:{}", self.port)
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn lead(
    mut near: BufReader<TcpStream>,
    to: Option<u16>,
    asked: Arc<Mutex<Vec<String>>>,
) -> std::io::Result<()> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if near.read_line(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let line = head.lines().next().unwrap_or_default().to_owned();
    // base64 of `ann:s@cret`.
    let known = head.contains("Basic YW5uOnNAY3JldA==");
    asked.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    let (true, Some(to)) = (known, to) else {
        return near.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await;
    };
    let mut far = TcpStream::connect(("127.0.0.1", to)).await?;
    near.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    tokio::io::copy_bidirectional(&mut near, &mut far).await.map(drop)
}

/// Nothing resolves the platform's name but the proxy.
#[tokio::test(flavor = "multi_thread")]
async fn platforms_are_called_through_the_operator_s_proxy() -> anyhow::Result<()> {
    let authority = Authority::new()?;
    let front = Front::start(&authority, "platform.invalid").await?;
    let proxy = Proxy::start(Some(front.port)).await?;
    let asked_in_plain = "authorize_url = \"{sandbox}/x.com/i/oauth2/authorize\"";
    let base = "base_url = \"https://platform.invalid\"";
    let platforms = worn(&["X"]).replace("base_url = \"{sandbox}\"", base) + asked_in_plain;
    let app = TestApp::start_with(Options {
        platforms,
        outbound_ca_file: Some(authority.file()),
        outbound_proxy: Some(proxy.url()),
        ..Options::default()
    })
    .await?;
    front.leads_to(app.sandbox.url())?;
    let started = app.start_connect(json!({ "platform": "X" })).await?;
    app.approve(&started, &Person::new("sam")?).await?.expect(303)?;
    let ended = app.ended(started["connectId"].as_str().unwrap_or_default()).await?;
    assert_eq!(ended["status"], "connected", "{ended:#}");
    let asked = proxy.asked();
    let all = asked.iter().all(|line| line == "CONNECT platform.invalid:443 HTTP/1.1");
    assert!(!asked.is_empty() && all, "{asked:?}");
    app.finish().await
}

/// Where an outsider's name leads is resolved and judged here: the proxy is asked for the address.
#[tokio::test(flavor = "multi_thread")]
async fn the_guard_decides_where_a_name_leads_before_the_proxy_is_asked() -> anyhow::Result<()> {
    let authority = Authority::new()?;
    let front = Front::start(&authority, "hooks.invalid").await?;
    let target = TcpListener::bind("127.0.0.1:0").await?;
    front.leads_to(&format!("http://{}", target.local_addr()?))?;
    let answering = axum::Router::new().fallback(|| async { "here" });
    tokio::spawn(async move { axum::serve(target, answering).await });
    let proxy = Proxy::start(Some(front.port)).await?;
    let outbound = Outbound::trusting(&authority.trust()?)?;
    let through = |proxy: &Proxy| {
        let proxy = proxy.url().parse().map_err(anyhow::Error::msg);
        anyhow::Ok(outbound.clone().by(Some(proxy?)))
    };
    const PUBLIC: &str = "93.184.215.14";
    let url: url::Url = format!("https://hooks.invalid:{}/", front.port).parse()?;
    let opened = ["127.0.0.0/8".parse()?];
    for (answers, reached, proxied) in [
        (vec![vec![PUBLIC]], true, true),
        (vec![vec!["10.0.0.1"]], false, false),
        // It leads elsewhere once it was judged.
        (vec![vec![PUBLIC], vec!["10.0.0.1"]], false, false),
        (vec![vec!["169.254.169.254", PUBLIC]], false, false),
        // Inside, where the operator opened the network: no egress.
        (vec![vec!["127.0.0.1"]], true, false),
    ] {
        let says: Vec<&[&str]> = answers.iter().map(Vec::as_slice).collect();
        let twice = says.len() == 2;
        let guard = NetGuard::new(&opened, &Ports::ALL).over(Says::new(&says));
        let guard = guard.through(through(&proxy)?).await?;
        assert_eq!(guard.judge(&url).await.is_ok(), reached || twice, "{answers:?}");
        let client = guard.client(Duration::from_secs(10))?;
        let answer = client.get(url.clone()).send().await;
        assert_eq!(answer.is_ok(), reached, "{answers:?}: {answer:?}");
        let expected = format!("CONNECT {PUBLIC}:{} HTTP/1.1", front.port);
        assert_eq!(proxy.asked(), vec![expected; usize::from(proxied)], "{answers:?}");
    }
    let refusing = Proxy::start(None).await?;
    let guard = NetGuard::new(&opened, &Ports::ALL).over(Says::new(&[&[PUBLIC]]));
    let guard = guard.through(through(&refusing)?).await?;
    let error = guard.client(Duration::from_secs(10))?.get(url).send().await;
    let error = error.err().ok_or_else(|| anyhow::anyhow!("it was refused"))?;
    assert!(error.is_connect(), "nothing was sent: {error:?}");
    Ok(())
}
