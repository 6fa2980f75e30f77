//! Sessions that are of no use any more: each is thrown away, with one answer of 503 at most.

use anyhow::Context as _;
use diesel_async::SimpleAsyncConnection as _;
use latchkey_shared::clock::Clock;
use latchkey_shared::db::{Db, DbError, Server as Database, Session};
use latchkey_shared::tls::Trust;
use latchkey_tests::TestApp;
use latchkey_tests::app::{Answer, Options, PrivateServers, ROWS_ROLE, Server, eventually, logs};
use latchkey_tests::sandbox::{Endpoint, Fault, FaultRule, Kind, When};
use serde_json::json;

/// The API's sessions that are in use here.
const POOL: usize = 10;

async fn start(servers: &PrivateServers) -> anyhow::Result<TestApp> {
    let urls = (servers.url(Server::Postgres)?, servers.url(Server::RabbitMq)?);
    TestApp::start_with(Options { servers: Some(urls), ..Options::default() }).await
}

/// A session of the server's superuser.
pub(super) async fn operator(servers: &PrivateServers) -> anyhow::Result<Session> {
    let mut url: url::Url = servers.url(Server::Postgres)?.parse()?;
    url.set_username("postgres").map_err(|()| anyhow::anyhow!("no user"))?;
    let server = Database::new(url.as_str(), &Trust::default()).map_err(anyhow::Error::msg)?;
    Ok(Db::new(&server.patient(), 1, Clock::system()).conn().await?)
}

fn is_unavailable(answer: &Answer) -> bool {
    (answer.status, answer.code().as_str()) == (503, "UNAVAILABLE")
}

/// All sessions of the pool have been of use, with the statement that is tried later.
async fn warm_up(app: &TestApp) -> anyhow::Result<()> {
    let all = (0..POOL).map(|_| app.http.get("/v1/workspaces"));
    for answer in futures_util::future::try_join_all(all).await? {
        answer.expect(200)?;
    }
    Ok(())
}

/// Asks often: what is not served is 503, and not more often than there are sessions.
async fn served_again(app: &TestApp) -> anyhow::Result<()> {
    let mut refused = 0;
    for _ in 0..4 * POOL {
        let answer = app.http.get("/v1/workspaces").await?;
        assert!(answer.status == 200 || is_unavailable(&answer), "{answer:?}");
        refused += usize::from(answer.status != 200);
    }
    assert!(refused <= POOL, "{refused} were refused");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_fits_no_more_is_no_error_of_the_caller() -> anyhow::Result<()> {
    let app = TestApp::start_with(Options { worker: false, ..Options::default() }).await?;
    warm_up(&app).await?;
    app.execute("ALTER TABLE workspaces ALTER COLUMN name TYPE varchar(300)").await?;
    served_again(&app).await?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_only_reads_is_away_for_a_while() -> anyhow::Result<()> {
    let servers = PrivateServers::start().await?;
    let app = start(&servers).await?;
    let connected = app.connect("sam").await?;
    let slow = FaultRule::new(Endpoint::TokenRefresh, Fault::Delay { ms: 3000 });
    app.sandbox.inject(FaultRule { when: Some(When::After), ..slow });
    let path = format!("{}/refresh", app.path(&format!("/accounts/{}", connected.account_id)));
    app.http.post(&path, &json!({})).await?.expect(202)?;
    let refreshed = || app.sandbox.ledger().iter().any(|entry| entry.kind == Kind::Refreshed);
    eventually(|| async { Ok(refreshed().then_some(())) }).await?;

    let mut operator = operator(&servers).await?;
    let set = |on: &str| {
        format!("ALTER SYSTEM SET default_transaction_read_only = {on}; SELECT pg_reload_conf()")
    };
    for statement in set("on").split("; ") {
        operator.batch_execute(statement).await?;
    }
    eventually(|| async {
        let answer = app.http.post(&app.path("/connects"), &json!({"platform": "SANDBOX"})).await?;
        assert!(answer.status == 201 || is_unavailable(&answer), "{answer:?}");
        Ok(is_unavailable(&answer).then_some(()))
    })
    .await?;
    // The platform answers into this, and the worker keeps the answer.
    let held = || logs().lines().any(|line| line.contains("answers of platforms are held"));
    eventually(|| async { Ok(held().then_some(())) }).await?;
    operator.batch_execute("SET default_transaction_read_only = off").await?;
    for statement in set("off").split("; ") {
        operator.batch_execute(statement).await?;
    }
    app.until_none("grants WHERE generation < 2").await?;
    served_again(&app).await?;
    app.connect("alex").await?;
    app.finish().await?;
    servers.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lets_nobody_in_is_away_for_a_while() -> anyhow::Result<()> {
    let servers = PrivateServers::start().await?;
    let app = start(&servers).await?;
    let mut operator = operator(&servers).await?;
    for (shut, open) in [
        (format!("ALTER ROLE {ROWS_ROLE} CONNECTION LIMIT 0"), "CONNECTION LIMIT -1"),
        (format!("ALTER ROLE {ROWS_ROLE} NOLOGIN"), "LOGIN"),
    ] {
        warm_up(&app).await?;
        operator.batch_execute(&shut).await?;
        let end = format!(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = '{ROWS_ROLE}'"
        );
        operator.batch_execute(&end).await?;
        let answer = app.http.get("/v1/workspaces").await?;
        assert!(is_unavailable(&answer), "{answer:?}");
        operator.batch_execute(&format!("ALTER ROLE {ROWS_ROLE} {open}")).await?;
        eventually(|| async {
            let answer = app.http.get("/v1/workspaces").await?;
            assert!(answer.status == 200 || is_unavailable(&answer), "{answer:?}");
            Ok((answer.status == 200).then_some(()))
        })
        .await?;
    }
    app.connect("sam").await?;
    app.finish().await?;
    servers.close().await
}

/// A socket takes no TLS, and in the client no stream of ours in its place: it has a way of its own.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_over_a_socket_of_this_machine_are_watched_alike() -> anyhow::Result<()> {
    let servers = PrivateServers::start().await?;
    let home = std::fs::read_to_string(servers.folder().join(".run/services/postgres.home"))?;
    let home = home.lines().next().unwrap_or_default();
    let script = servers.folder().join("scripts/lib/postgres.sh");
    let text = std::fs::read_to_string(&script)?;
    let (none, there) = ("unix_socket_directories= ", format!("unix_socket_directories={home} "));
    anyhow::ensure!(text.contains(none), "{} is written otherwise now", script.display());
    std::fs::write(&script, text.replace(none, &there))?;
    servers.stop(Server::Postgres).await?;
    servers.start_again(Server::Postgres).await?;

    let url: url::Url = servers.url(Server::Postgres)?.parse()?;
    let (user, password) = (url.username(), url.password().unwrap_or_default());
    let port = url.port().unwrap_or_default();
    let url = format!("postgres://{user}:{password}@{}?host={home}&port={port}", url.path());
    let server = Database::new(&url, &Trust::default()).map_err(anyhow::Error::msg)?;
    let db = Db::new(&server, 1, Clock::system());
    let fails = async |statement: &str| {
        let error = db.conn().await?.batch_execute(statement).await.err();
        anyhow::Ok(DbError::from(error.context("it was done")?))
    };
    assert!(fails("SELECT 1 / 0").await?.is_permanent());
    let shut_down = "DO $$ BEGIN RAISE EXCEPTION 'shut down' USING ERRCODE = '57P01'; END $$";
    assert!(fails(shut_down).await?.is_unavailable());
    db.conn().await?.batch_execute("SELECT 1").await?;
    assert!(fails("SELECT pg_terminate_backend(pg_backend_pid())").await?.is_unavailable());
    db.conn().await?.batch_execute("SELECT 1").await?;
    drop(db);
    servers.close().await
}
