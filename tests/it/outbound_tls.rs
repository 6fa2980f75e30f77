//! Platforms and receivers whose certificates an authority of the operator's vouches for, and receivers without any on
//! networks that the operator opened.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use latchkey_shared::net_guard::{NetGuard, Outbound, Ports};
use latchkey_tests::app::{Options, worn};
use latchkey_tests::{Person, TestApp};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::tls::Authority;

/// Ends TLS for a server that speaks none.
struct Front {
    port: u16,
    /// Whom it stands before.
    behind: Arc<OnceLock<String>>,
}

impl Front {
    async fn start(authority: &Authority) -> anyhow::Result<Self> {
        let (certificate, key) = authority.localhost()?;
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

    /// Its address, with what comes after the address behind it.
    fn before(&self, url: &str) -> anyhow::Result<String> {
        let mut url: url::Url = url.parse()?;
        let behind = format!("127.0.0.1:{}", url.port().unwrap_or_default());
        let _ = self.behind.set(behind);
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
    let (platform, receiver) = (Front::start(&authority).await?, Front::start(&authority).await?);
    let base = format!("base_url = \"https://localhost:{}\"", platform.port);
    let asked_in_plain = "authorize_url = \"{sandbox}/x.com/i/oauth2/authorize\"";
    let platforms = worn(&["X"]).replace("base_url = \"{sandbox}\"", &base) + asked_in_plain;
    let app = TestApp::start_with(Options {
        platforms,
        outbound_ca_file: Some(authority.file()),
        ..Options::default()
    })
    .await?;
    platform.before(app.sandbox.url())?;
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
    let ours = guard.clone().through(Outbound::trusting(&authority.trust()?)?);
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
