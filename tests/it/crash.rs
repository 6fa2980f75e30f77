//! The API dies between its commit and its publishing.

use std::process::Stdio;
use std::time::Duration;

use latchkey_shared::config::SecretRef;
use latchkey_tests::app::{Options, eventually};
use latchkey_tests::{Person, TestApp};
use secrecy::ExposeSecret as _;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

/// A real process, whose broker takes connections and never says a word: everything commits, nothing
/// is published. Then it is killed.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_published_although_the_api_died_before_it_could() -> anyhow::Result<()> {
    let mut app = TestApp::start_with(Options { worker: false, ..Options::default() }).await?;
    app.stop_api().await;
    let silent_broker = TcpListener::bind("127.0.0.1:0").await?;
    let (mut child, base) = start_api(&app, silent_broker.local_addr()?.port()).await?;

    let path = format!("{base}{}", app.path("/connects"));
    let started =
        app.http.post(&path, &json!({ "platform": "SANDBOX" })).await?.expect(201)?.json();
    let callback =
        Person::new("sam")?.approve(started["authorizeUrl"].as_str().unwrap_or_default()).await?;
    // Nobody exchanges the code yet, so the browser is sent to the page that finishes by itself.
    let back = app.http.browse(callback.as_str()).await?.expect(303)?;
    assert!(back.location().is_some_and(|location| location.contains("/connect/con_")), "{back:?}");
    child.kill().await?;

    let unpublished = app
        .row("SELECT count(*) AS n FROM outbox WHERE done_at IS NULL AND publications = 0")
        .await?;
    assert_eq!(
        unpublished["n"], 2,
        "connect.started and callback_received were committed and not published"
    );
    let mut events = app.tap("events").await?;
    app.add_worker().await?;
    for event in events.next_of_each(&["connect.started", "account.connected"]).await? {
        assert_eq!(event["data"]["connectId"], started["connectId"]);
    }
    eventually(|| async {
        Ok((app.row("SELECT count(*) AS n FROM outbox WHERE done_at IS NULL").await?["n"] == 0)
            .then_some(()))
    })
    .await?;
    app.finish().await
}

/// Starts the API's binary on a free port, and answers it with its address.
async fn start_api(app: &TestApp, broker_port: u16) -> anyhow::Result<(Child, String)> {
    let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
    let common = app.common();
    let keyring = common
        .keyring
        .as_ref()
        .map(|keyring| keyring.expose_secret().to_owned())
        .unwrap_or_default();
    let base = format!("http://127.0.0.1:{port}");
    let mut child = Command::new(binary("latchkey-api")?)
        .arg("serve")
        .env("DATABASE_URL", common.database_url.expose_secret())
        .env("AMQP_URL", format!("amqp://guest:guest@127.0.0.1:{broker_port}/%2f"))
        .env("LATCHKEY_BROKER_PREFIX", &common.broker_prefix)
        .env("LATCHKEY_KEYRING", keyring)
        .env("LATCHKEY_PLATFORMS_FILE", &common.platforms_file)
        .env("LATCHKEY_LISTEN", format!("127.0.0.1:{port}"))
        .env("LATCHKEY_METRICS_LISTEN", "127.0.0.1:0")
        .env("LATCHKEY_PUBLIC_URL", &base)
        .env("LATCHKEY_CALLBACK_WAIT", "1")
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let stderr = child.stderr.take().ok_or_else(|| anyhow::anyhow!("its log is piped"))?;
    let mut lines = BufReader::new(stderr).lines();
    let serving = async {
        while let Some(line) = lines.next_line().await? {
            if line.contains("serving") {
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return anyhow::Ok(());
            }
        }
        anyhow::bail!("the API ended before it served")
    };
    tokio::time::timeout(Duration::from_secs(30), serving).await??;
    Ok((child, base))
}

/// The binary beside this test's own. Built by `scripts/test` before the tests run.
fn binary(name: &str) -> anyhow::Result<std::path::PathBuf> {
    let test = std::env::current_exe()?;
    let folder = test
        .parent()
        .and_then(|deps| deps.parent())
        .ok_or_else(|| anyhow::anyhow!("no target folder"))?;
    let path = folder.join(name);
    anyhow::ensure!(
        path.exists(),
        "{} is not built: cargo build --workspace --bins",
        path.display()
    );
    Ok(path)
}

#[test]
fn the_services_are_named_in_the_environment() {
    for variable in ["DATABASE_URL", "AMQP_URL"] {
        assert!(
            SecretRef::Env(variable.to_owned()).resolve().is_ok(),
            "{variable} is not set: use scripts/test"
        );
    }
}
