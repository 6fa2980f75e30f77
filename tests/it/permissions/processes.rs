//! What docs/deploy gives Latchkey's own processes in the broker and in the database: enough for the main job, and for
//! nothing else.

use std::path::{Path, PathBuf};

use anyhow::ensure;
use chrono::TimeDelta;
use latchkey_tests::TestApp;
use latchkey_tests::app::{Options, PrivateServers, Producer, Server};
use serde_json::json;
use tokio::process::Command;
use url::Url;

use super::tries::{Try, User};
use super::{each, to};

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/deploy")
}

fn password(user: &str) -> String {
    format!("password-of-{user}")
}

fn url_of(server: &str, user: &str) -> anyhow::Result<String> {
    let mut url: Url = server.parse()?;
    let named = url.set_username(user).and_then(|()| url.set_password(Some(&password(user))));
    ensure!(named.is_ok(), "a server's URL takes a user");
    Ok(url.into())
}

/// Answers what it printed.
async fn done(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().await?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    ensure!(output.status.success(), "{said}");
    Ok(said)
}

/// As `docs/deploy/rabbitmq` does it, with the node's own tool.
async fn make_broker_users(servers: &PrivateServers) -> anyhow::Result<()> {
    let folder = servers.folder();
    let tool = folder.join("bin/rabbitmqctl");
    std::fs::create_dir_all(folder.join("bin"))?;
    let script =
        format!("#!/bin/sh\nexec {}/scripts/services rabbitmqctl \"$@\"\n", folder.display());
    std::fs::write(&tool, script)?;
    done(Command::new("chmod").arg("+x").arg(&tool)).await?;
    let mut script = Command::new("bash");
    script
        .args(["-c", "PATH=$0:$PATH exec \"$1\""])
        .arg(folder.join("bin"))
        .arg(deploy().join("broker-users"));
    script
        .env_remove("AMQP_URL")
        .env("LATCHKEY_RABBITMQ_API_PASSWORD", password("latchkey_api"))
        .env("LATCHKEY_RABBITMQ_WORKER_PASSWORD", password("latchkey_worker"));
    done(&mut script).await.map(drop)
}

async fn the_main_job(app: &TestApp, broker: &str) -> anyhow::Result<()> {
    // By a user that is linked to no key: it is answered that.
    let mut producer = Producer::connect(broker, "latchkey").await?;
    let request = producer.request("connect.requested", &json!({ "platform": "SANDBOX" }));
    assert_eq!(producer.ask(&request).await?.kind, "connect.rejected");
    let connected = app.connect("sam").await?;
    app.clock.advance(TimeDelta::minutes(58));
    let id = &connected.account_id;
    app.account_until(id, |account| account["tokenGeneration"] == 2).await?;
    app.http.delete(&app.path(&format!("/accounts/{id}"))).await?.expect(202)?;
    app.account_until(id, |account| account["revocation"]["status"] == "revoked").await.map(drop)
}

async fn the_api_sends_and_hears(api: &User) -> anyhow::Result<()> {
    api.may(&[
        to("latchkey.commands", "callback_received"),
        to("latchkey.events", "ws_1.account.connected"),
    ])
    .await?;
    let queues =
        ["latchkey.connect", "latchkey.refresh", "latchkey.requests", "latchkey.dead_letters"];
    for taking in [Try::Consume, Try::Get, Try::Purge, Try::Delete] {
        api.may_not(&each(&queues, taking)).await?;
    }
    api.may_not(&[
        to("latchkey.requests", "connect.requested"),
        to("", "latchkey.connect"),
        to("latchkey.dead", ""),
        Try::Declare("mine".to_owned()),
        Try::Bind("latchkey.connect".to_owned(), "latchkey.events", "#".to_owned()),
        Try::DeleteExchange("latchkey.commands"),
        Try::DeclareExchange("mine"),
    ])
    .await
}

async fn the_worker_keeps_to_its_own(worker: &User) -> anyhow::Result<()> {
    worker
        .may_not(&[
            Try::Declare("mine".to_owned()),
            Try::Declare("latchkey.replies.acme".to_owned()),
            Try::Consume("others".to_owned()),
            Try::Get("latchkey.unreadable".to_owned()),
            Try::Delete("others".to_owned()),
            to("amq.topic", "anything"),
            Try::Bind("latchkey.connect".to_owned(), "latchkey.events", "#".to_owned()),
            Try::DeleteExchange("amq.topic"),
        ])
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_users_of_the_broker_have_what_they_need_and_no_more() -> anyhow::Result<()> {
    let servers = PrivateServers::start().await?;
    let broker = servers.url(Server::RabbitMq)?;
    // Once more changes nothing.
    make_broker_users(&servers).await?;
    make_broker_users(&servers).await?;
    let (api, worker) = (url_of(&broker, "latchkey_api")?, url_of(&broker, "latchkey_worker")?);
    let mut app = TestApp::start_with(Options {
        servers: Some((servers.url(Server::Postgres)?, worker.clone())),
        api_amqp_url: Some(api.clone()),
        broker_prefix: Some("latchkey".to_owned()),
        ..Options::default()
    })
    .await?;
    the_main_job(&app, &broker).await?;
    the_worker_keeps_to_its_own(&User::at(&worker).await?).await?;
    let before = servers.rabbitmqctl(&["list_queues", "name"]).await?;
    the_api_sends_and_hears(&User::at(&api).await?).await?;
    assert_eq!(servers.rabbitmqctl(&["list_queues", "name"]).await?, before);
    // The command that the API's user made up here.
    app.expect_dead_letters(1);
    app.finish().await?;
    servers.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_roles_of_the_database_are_no_superusers() -> anyhow::Result<()> {
    let servers = PrivateServers::start().await?;
    let (postgres, amqp) = (servers.url(Server::Postgres)?, servers.url(Server::RabbitMq)?);
    let secret = std::fs::read_to_string(servers.folder().join(".run/services/postgres.password"))?;
    let superuser = postgres.replace("//latchkey:", "//postgres:");
    let mut psql = Command::new("psql");
    psql.arg(&superuser)
        .arg("--file")
        .arg(deploy().join("postgres-roles.sql"))
        .env("LATCHKEY_POSTGRES_PASSWORD", password("latchkey"))
        .env("LATCHKEY_POSTGRES_ROWS_PASSWORD", password("latchkey_rows"));
    done(&mut psql).await?;
    let (owner, rows) = (url_of(&postgres, "latchkey")?, url_of(&postgres, "latchkey_rows")?);
    for gone in [&superuser, &postgres] {
        let refused = done(Command::new("psql").arg(gone).args(["-c", "SELECT 1"])).await;
        ensure!(refused.is_err(), "{} still opens", gone.replace(secret.trim(), "…"));
    }
    let app = TestApp::start().await?;
    let latchkey = |database: &str, arguments: &[&str]| {
        let mut command = app.command("latchkey-api")?;
        command.env("DATABASE_URL", database).env("AMQP_URL", &amqp).args(arguments);
        anyhow::Ok(command)
    };
    done(&mut latchkey(&owner, &["migrate", "--grant-to", "latchkey_rows"])?).await?;
    let first = ["bootstrap", "--organisation", "Acme", "--workspace", "Main"];
    done(&mut latchkey(&rows, &first)?).await?;
    for (url, statement) in [
        (&owner, "CREATE ROLE mine"),
        (&owner, "COPY accounts TO PROGRAM 'cat'"),
        (&owner, "SELECT pg_read_file('/etc/passwd')"),
        (&rows, "CREATE TABLE mine (id text)"),
        (&rows, "CREATE TEMP TABLE mine (id text)"),
    ] {
        let mut psql = Command::new("psql");
        let refused = done(psql.arg(url).args(["-v", "ON_ERROR_STOP=1", "-c", statement])).await;
        let said = refused.expect_err(statement).to_string();
        assert!(said.contains("denied") || said.contains("must be superuser"), "{said}");
    }
    app.finish().await?;
    servers.close().await
}
