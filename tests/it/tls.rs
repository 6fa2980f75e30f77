//! PostgreSQL and RabbitMQ over TLS, with a certificate authority of one's own: verified, or not
//! spoken to at all.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, ensure};
use diesel_async::SimpleAsyncConnection as _;
use lapin::ConnectionProperties;
use latchkey_shared::boot::Exit;
use latchkey_shared::clock::Clock;
use latchkey_shared::db::Db;
use latchkey_shared::tls::Trust;
use latchkey_shared::{broker, db, random};
use latchkey_tests::TestApp;
use latchkey_tests::app::{Options, PrivateServers, Server, eventually};
use latchkey_tests::sandbox::Kind;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use secrecy::ExposeSecret as _;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use url::Url;

/// A certificate authority made for one test, with a folder for its files.
pub(crate) struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Drop for Authority {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.folder));
    }
}

impl Authority {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let name = format!("latchkey-ca-{}", hex::encode(random::bytes::<6>()));
        let folder = std::env::temp_dir().join(&name);
        fs::create_dir_all(&folder)?;
        let mut params = CertificateParams::new(Vec::new())?;
        // Of its own, so that it is not mistaken for another one whose signature is wrong.
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        fs::write(folder.join("ca.pem"), params.self_signed(&key)?.pem())?;
        Ok(Self { folder, issuer: Issuer::new(params, key) })
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    pub(crate) fn trust(&self) -> anyhow::Result<Trust> {
        Trust::read(Some(&self.file())).map_err(anyhow::Error::msg)
    }

    /// A certificate for a host with its key, both as PEM.
    pub(crate) fn certify(&self, host: &str) -> anyhow::Result<(String, String)> {
        let key = KeyPair::generate()?;
        let params = CertificateParams::new(vec![host.to_owned()])?;
        Ok((params.signed_by(&key, &self.issuer)?.pem(), key.serialize_pem()))
    }

    /// Puts `server.pem` and `server.key` for localhost into the home of a server, and gives them to
    /// its user.
    fn equip(&self, home: &Path) -> anyhow::Result<()> {
        let (certificate, key) = self.certify("localhost")?;
        let owner = fs::metadata(home)?;
        for (name, text) in [("server.pem", certificate), ("server.key", key)] {
            let path = home.join(name);
            fs::write(&path, text)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
            chown(&path, Some(owner.uid()), Some(owner.gid()))?;
        }
        Ok(())
    }
}

/// Where a private server keeps its data.
fn home(servers: &PrivateServers, name: &str) -> anyhow::Result<PathBuf> {
    let record = servers.folder().join(format!(".run/services/{name}.home"));
    let record = fs::read_to_string(record)?;
    Ok(record.lines().next().context("the record begins with the folder")?.into())
}

fn at(url: &str, host: &str, change: impl FnOnce(&mut Url)) -> anyhow::Result<String> {
    let mut url: Url = url.parse()?;
    url.set_host(Some(host))?;
    change(&mut url);
    Ok(url.into())
}

/// `channel_binding=require`: the password's proof holds for this very connection alone.
fn verified(url: &str, host: &str) -> anyhow::Result<String> {
    let query = "sslmode=verify-full&channel_binding=require";
    at(url, host, |url| url.set_query(Some(query)))
}

/// From now on PostgreSQL takes connections over TLS, and no others.
async fn postgres_to_tls(servers: &PrivateServers, authority: &Authority) -> anyhow::Result<()> {
    let home = home(servers, "postgres")?;
    authority.equip(&home)?;
    let rules = home.join("data/pg_hba.conf");
    let text = fs::read_to_string(&rules)?;
    fs::write(&rules, text.replace("\nhost ", "\nhostssl "))?;
    let url = at(&servers.url(Server::Postgres)?, "127.0.0.1", |url| {
        url.set_username("postgres").expect("the URL has a host");
    })?;
    let server = db::Server::new(&url, &Trust::default()).map_err(anyhow::Error::msg)?;
    let mut conn = Db::new(&server, 1, Clock::system()).conn().await?;
    for (setting, value) in [
        ("ssl_cert_file", home.join("server.pem").display().to_string()),
        ("ssl_key_file", home.join("server.key").display().to_string()),
        ("ssl", "on".to_owned()),
    ] {
        conn.batch_execute(&format!("ALTER SYSTEM SET {setting} = '{value}'")).await?;
    }
    Ok(conn.batch_execute("SELECT pg_reload_conf()").await?)
}

/// RabbitMQ takes TLS on a port of its own; the plain one stays, for `scripts/services` looks there.
async fn rabbitmq_to_tls(servers: &PrivateServers, authority: &Authority) -> anyhow::Result<u16> {
    let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
    let home = home(servers, "rabbitmq")?;
    authority.equip(&home)?;
    let script = servers.folder().join("scripts/lib/rabbitmq.sh");
    let text = fs::read_to_string(&script)?;
    let listener = format!(
        "  {{ssl_listeners, [{{\"127.0.0.1\", {port}}}]}},\n  {{ssl_options, [{{certfile, \"{0}/server.pem\"}}, \
         {{keyfile, \"{0}/server.key\"}}]}},\n",
        home.display()
    );
    let place = "  {disk_free_limit,";
    ensure!(text.contains(place), "{} is written otherwise now", script.display());
    fs::write(&script, text.replace(place, &format!("{listener}{place}")))?;
    servers.stop(Server::RabbitMq).await?;
    servers.start_again(Server::RabbitMq).await?;
    Ok(port)
}

async fn database_says(url: &str, trust: &Trust) -> anyhow::Result<String> {
    let server = db::Server::new(url, trust).map_err(anyhow::Error::msg)?;
    let refused = Db::new(&server, 1, Clock::system()).conn().await.err();
    Ok(refused.context("it connected")?.to_string())
}

async fn broker_says(url: &str, trust: &Trust) -> anyhow::Result<String> {
    let server = broker::Server::new(url, trust).map_err(anyhow::Error::msg)?;
    let refused = server.connect(ConnectionProperties::default()).await.err();
    Ok(format!("{:#}", anyhow::Error::new(refused.context("it connected")?)))
}

async fn both_say(urls: &(String, String), trust: &Trust) -> anyhow::Result<Vec<String>> {
    Ok(vec![database_says(&urls.0, trust).await?, broker_says(&urls.1, trust).await?])
}

#[tokio::test(flavor = "multi_thread")]
async fn the_main_job_over_tls_with_an_own_authority() -> anyhow::Result<()> {
    let servers = PrivateServers::start().await?;
    let authority = Authority::new()?;
    let plain = (servers.url(Server::Postgres)?, servers.url(Server::RabbitMq)?);

    // Servers without TLS are not spoken to.
    let said = database_says(&verified(&plain.0, "localhost")?, &authority.trust()?).await?;
    assert!(said.contains("server does not support TLS"), "{said}");
    let url = at(&plain.1, "localhost", |url| url.set_scheme("amqps").expect("alike"))?;
    broker_says(&url, &authority.trust()?).await?;

    postgres_to_tls(&servers, &authority).await?;
    let port = rabbitmq_to_tls(&servers, &authority).await?;
    let over_tls = |host: &str| {
        let amqp = at(&plain.1, host, |url| {
            url.set_scheme("amqps").and(url.set_port(Some(port))).expect("alike");
        });
        anyhow::Ok((verified(&plain.0, host)?, amqp?))
    };
    let urls = over_tls("localhost")?;
    nobody_else_is_trusted(&urls, &over_tls("127.0.0.1")?, &authority).await?;

    let ca_file = Some(authority.file());
    let options = Options { servers: Some(urls), ca_file, ..Options::default() };
    let app = TestApp::start_with(options).await?;
    main_job(&app).await?;
    everything_is_encrypted(&app, &servers).await?;
    processes_of_their_own(&app).await?;
    app.finish().await?;
    servers.close().await
}

/// Another authority, no authority, another name: each is refused by both, in words that say so.
async fn nobody_else_is_trusted(
    good: &(String, String),
    misnamed: &(String, String),
    authority: &Authority,
) -> anyhow::Result<()> {
    let (stranger, nobody) = (Authority::new()?.trust()?, Trust::default());
    let trust = authority.trust()?;
    let (stranger, nobody, misnamed) = tokio::join!(
        both_say(good, &stranger),
        both_say(good, &nobody),
        both_say(misnamed, &trust)
    );
    for said in [stranger?, nobody?].concat() {
        assert!(said.contains("UnknownIssuer"), "{said}");
    }
    for said in misnamed? {
        assert!(said.contains("not valid for name"), "{said}");
    }
    Ok(())
}

async fn main_job(app: &TestApp) -> anyhow::Result<()> {
    let connected = app.connect("sam").await?;
    app.event("account.connected", &connected.account_id).await?;
    let refresh = app.path(&format!("/accounts/{}/refresh", connected.account_id));
    app.http.post(&refresh, &json!({})).await?.expect(202)?;
    app.account_until(&connected.account_id, |account| account["tokenGeneration"] == 2).await?;
    app.http.delete(&app.path(&format!("/accounts/{}", connected.account_id))).await?;
    app.event("account.disconnected", &connected.account_id).await?;
    let revoked = || app.sandbox.ledger().iter().any(|entry| entry.kind == Kind::Revoked);
    eventually(|| async { Ok(revoked().then_some(())) }).await
}

async fn everything_is_encrypted(app: &TestApp, servers: &PrivateServers) -> anyhow::Result<()> {
    let sessions = "SELECT count(*) AS n, bool_and(ssl) AS ssl FROM pg_stat_ssl \
                    JOIN pg_stat_activity USING (pid) WHERE datname = current_database()";
    let sessions = app.row(sessions).await?;
    assert!(sessions["n"].as_i64() > Some(3) && sessions["ssl"] == true, "{sessions}");
    let connections = servers.rabbitmqctl(&["list_connections", "ssl"]).await?;
    let encrypted: Vec<&str> = connections.lines().filter(|line| *line != "ssl").collect();
    assert!(encrypted.len() >= 4 && encrypted.iter().all(|ssl| *ssl == "true"), "{connections}");
    Ok(())
}

/// Every binary and subcommand takes the same way.
async fn processes_of_their_own(app: &TestApp) -> anyhow::Result<()> {
    let (api, base) = app.spawn_api(app.common().amqp_url.expose_secret()).await?;
    eventually(|| async {
        let ready = app.http.get(&format!("{base}/readyz")).await?;
        Ok((ready.status == 200 && ready.json()["broker"] == "up").then_some(()))
    })
    .await?;
    assert_eq!(api.terminate().await?.code(), Some(Exit::Done as i32));
    let worker = app.spawn_worker("sweeps").await?;
    worker.says("connected to the broker").await?;
    assert_eq!(worker.terminate().await?.code(), Some(Exit::Done as i32));

    let stranger = Authority::new()?;
    for (file, exit, words) in [
        (app.common().ca_file.clone(), Exit::Done, "the schema was up to date"),
        (Some(stranger.file()), Exit::Database, "UnknownIssuer"),
    ] {
        let mut migrate = app.command("latchkey-api")?;
        let migrate = migrate.arg("migrate").env("DATABASE_URL", app.owner_url());
        let migrate = migrate.env("LATCHKEY_CA_FILE", file.unwrap_or_default());
        let output = migrate.output().await?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert_eq!(output.status.code(), Some(exit as i32), "{said}");
        assert!(said.contains(words), "{said}");
    }
    Ok(())
}

/// What a server hears before it has shown who it is: nothing but the wish for TLS.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_tls_hears_no_name_and_no_password() -> anyhow::Result<()> {
    let (postgres, broker) = (Refusing::start().await?, Refusing::start().await?);
    let url = format!("postgres://hush:hush@{}/hush?sslmode=verify-full", postgres.address);
    let said = database_says(&url, &Trust::default()).await?;
    assert!(said.contains("server does not support TLS"), "{said}");
    broker_says(&format!("amqps://hush:hush@{}/hush", broker.address), &Trust::default()).await?;

    // SSLRequest of the frontend/backend protocol: its length, 8, and the code 80877103.
    let heard = postgres.heard().await?;
    assert!(heard.iter().all(|packet| *packet == [0, 0, 0, 8, 4, 210, 22, 47]), "{heard:?}");
    let heard = broker.heard().await?;
    assert_eq!(heard[0].first(), Some(&22), "a TLS handshake");
    assert!(!heard.concat().windows(4).any(|bytes| bytes == b"hush"));
    Ok(())
}

/// Says `N` to the first packet, as PostgreSQL does without TLS, and listens to what comes then.
struct Refusing {
    address: SocketAddr,
    /// All that each caller said.
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Refusing {
    async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let refusing = Self { address: listener.local_addr()?, heard: Arc::default() };
        let kept = refusing.heard.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut heard = Vec::new();
                drop(stream.read_buf(&mut heard).await);
                drop(stream.write_all(b"N").await);
                drop(stream.read_to_end(&mut heard).await);
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(heard);
            }
        });
        Ok(refusing)
    }

    /// Waits for the end of the first conversation.
    async fn heard(&self) -> anyhow::Result<Vec<Vec<u8>>> {
        eventually(|| async {
            let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
            Ok((!heard.is_empty()).then_some(heard))
        })
        .await
    }
}
