//! PgBouncer between us and PostgreSQL: it works, or the start says in one sentence what to set.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::process::Stdio;

use anyhow::Context as _;
use chrono::TimeDelta;
use diesel_async::SimpleAsyncConnection as _;
use latchkey_tests::TestApp;
use latchkey_tests::app::{Options, PrivateServers, ROWS_ROLE, Server, eventually};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use url::Url;

use super::sessions::operator;

/// The first that remembers what a client has prepared.
const REMEMBERS: (u32, u32) = (1, 21);

/// Ended when dropped.
struct Pooler {
    address: SocketAddr,
    process: Child,
}

impl Pooler {
    /// Starts one in front of a server, as the server's own user, since it does not run as root.
    async fn start(servers: &PrivateServers, settings: &str) -> anyhow::Result<Self> {
        let upstream: Url = servers.url(Server::Postgres)?.parse()?;
        let address = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
        let folder = servers.folder().join(format!("pooler-{}", address.port()));
        fs::create_dir(&folder)?;
        let users = folder.join("users.txt");
        let password = upstream.password().unwrap_or_default();
        fs::write(&users, format!("\"{ROWS_ROLE}\" \"{password}\"\n"))?;
        let file = folder.join("pgbouncer.ini");
        let port = upstream.port().context("the server has a port")?;
        fs::write(
            &file,
            format!(
                "[databases]\n* = host=127.0.0.1 port={port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
                 listen_port = {}\nunix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {}\ndefault_pool_size = 60\n\
                 logfile = {}\n{settings}\n",
                address.port(),
                users.display(),
                folder.join("log").display(),
            ),
        )?;
        let owner = own(&folder, servers)?;
        let mut command = Command::new("pgbouncer");
        command.arg("--quiet").arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some(owner) = owner {
            command.uid(owner);
        }
        let process = command.kill_on_drop(true).spawn().context("pgbouncer does not start")?;
        eventually(|| async { Ok(TcpStream::connect(address).await.ok()) }).await?;
        Ok(Self { address, process })
    }

    async fn stop(mut self) -> anyhow::Result<()> {
        Ok(self.process.kill().await?)
    }
}

/// Gives a folder to the user that the server runs as, where that is not this one. Answers the user.
fn own(folder: &Path, servers: &PrivateServers) -> anyhow::Result<Option<u32>> {
    let home = fs::read_to_string(servers.folder().join(".run/services/postgres.home"))?;
    let owner = fs::metadata(home.lines().next().context("the server has a home")?)?.uid();
    if owner == fs::metadata(folder)?.uid() {
        return Ok(None);
    }
    fs::set_permissions(servers.folder(), fs::Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(folder)? {
        chown(entry?.path(), Some(owner), None)?;
    }
    chown(folder, Some(owner), None)?;
    Ok(Some(owner))
}

async fn version() -> anyhow::Result<(u32, u32)> {
    let said = Command::new("pgbouncer").arg("--version").output().await?;
    let said = String::from_utf8(said.stdout)?;
    let mut numbers = said.split_whitespace().nth(1).context("a version")?.split('.');
    let mut next = || Ok::<u32, anyhow::Error>(numbers.next().context("two numbers")?.parse()?);
    Ok((next()?, next()?))
}

async fn start(servers: &PrivateServers, pooler: &Pooler) -> anyhow::Result<TestApp> {
    let urls = (servers.url(Server::Postgres)?, servers.url(Server::RabbitMq)?);
    let broker = urls.1.parse::<Url>()?.socket_addrs(|| None)?;
    let broker = *broker.first().context("the broker has an address")?;
    let through = Some([pooler.address, broker]);
    TestApp::start_with(Options { servers: Some(urls), through, ..Options::default() }).await
}

async fn why_not(servers: &PrivateServers, settings: &str) -> anyhow::Result<String> {
    let pooler = Pooler::start(servers, settings).await?;
    let refused = start(servers, &pooler).await.err().context("it started")?;
    pooler.stop().await?;
    Ok(format!("{refused:#}"))
}

async fn main_job(servers: &PrivateServers, settings: &str) -> anyhow::Result<()> {
    let pooler = Pooler::start(servers, settings).await?;
    let app = start(servers, &pooler).await?;
    let people = (0..12).map(|number| format!("person-{number}")).collect::<Vec<_>>();
    let connected =
        futures_util::future::try_join_all(people.iter().map(|person| app.connect(person))).await?;
    app.clock.advance(TimeDelta::minutes(55));
    app.until_none("grants WHERE generation < 2").await?;
    let path = app.path(&format!("/accounts/{}", connected[0].account_id));
    app.http.delete(&path).await?.expect(202)?;
    app.until_none("grants WHERE status NOT IN ('active', 'revoked')").await?;
    app.finish().await?;
    pooler.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn pgbouncer_works_or_the_start_says_what_to_set() -> anyhow::Result<()> {
    let servers = PrivateServers::start().await?;
    let session = "pool_mode = session\nignore_startup_parameters = options";
    let transaction = "pool_mode = transaction\nignore_startup_parameters = options";

    let why = why_not(&servers, "pool_mode = session").await?;
    assert!(why.contains("`ignore_startup_parameters = options`"), "{why}");
    for mode in [session, transaction] {
        let why = why_not(&servers, mode).await?;
        assert!(why.contains(&format!("ALTER ROLE {ROWS_ROLE} SET statement_timeout")), "{why}");
    }

    let mut direct = operator(&servers).await?;
    for limit in [
        "statement_timeout = '8s'",
        "lock_timeout = '5s'",
        "idle_in_transaction_session_timeout = '10s'",
    ] {
        let alter = format!("ALTER ROLE {ROWS_ROLE} SET {limit}");
        direct.batch_execute(&alter).await?;
    }
    main_job(&servers, session).await?;
    if version().await? < REMEMBERS {
        let why = why_not(&servers, transaction).await?;
        assert!(why.contains("max_prepared_statements"), "{why}");
    } else {
        let why = why_not(&servers, &format!("{transaction}\nmax_prepared_statements = 0")).await?;
        assert!(why.contains("max_prepared_statements"), "{why}");
        main_job(&servers, &format!("{transaction}\nmax_prepared_statements = 100")).await?;
    }
    servers.close().await
}
