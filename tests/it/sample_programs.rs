//! The programs of `docs/examples`, each as its reader runs it: a process, with nothing but settings.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lapin::options::{BasicPublishOptions, QueueDeleteOptions};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use latchkey_shared::clock::Clock;
use latchkey_shared::config::SecretRef;
use latchkey_tests::app::{Options, Process, command, eventually};
use latchkey_tests::{Person, TestApp};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use tokio::process::Command;
use url::Url;

/// The same program in each language.
pub(crate) const LANGUAGES: [&str; 2] = ["python", "rust"];

/// One of the programs, with what it asks the environment for.
pub(crate) fn program(app: &TestApp, name: &str, language: &str) -> anyhow::Result<Command> {
    let mut command = match language {
        "python" => in_python(name)?,
        _ => command(&format!("example-{}", name.replace('_', "-")))?,
    };
    command
        .env("AMQP_URL", app.common().amqp_url.expose_secret())
        .env("LATCHKEY_BROKER_PREFIX", &app.common().broker_prefix)
        .env("LATCHKEY_URL", app.http.base())
        .env("LATCHKEY_API_KEY", app.owner.expose_key())
        .env("LATCHKEY_WORKSPACE", app.owner.workspace_id.to_string());
    Ok(command)
}

fn in_python(name: &str) -> anyhow::Result<Command> {
    let python = SecretRef::Env("LATCHKEY_TEST_PYTHON".to_owned()).resolve().map_err(|why| {
        anyhow::anyhow!(
            "{why}: it names a Python with the packages of docs/examples/requirements.txt. \
             scripts/test makes one and sets it"
        )
    })?;
    let mut command = Command::new(python.expose_secret());
    // Without leaving compiled files in the checkout.
    command.arg("-B").arg(source(name));
    Ok(command)
}

fn source(name: &str) -> PathBuf {
    PathBuf::from(format!("{}/../docs/examples/{name}.py", env!("CARGO_MANIFEST_DIR")))
}

/// What a program printed: each line is an event.
pub(crate) fn events(process: &Process) -> anyhow::Result<Vec<Value>> {
    process.printed().lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// Waits until a program has printed exactly this event.
pub(crate) async fn prints(process: &Process, event: &Value) -> anyhow::Result<()> {
    eventually(|| async { Ok(events(process)?.contains(event).then_some(())) })
        .await
        .with_context(|| format!("{event} is not in {}{}", process.printed(), process.log()))
}

/// Passwords, keys and secrets have no place in what anybody may read over one's shoulder.
fn is_discreet(app: &TestApp, process: &Process, secrets: &[&str]) -> anyhow::Result<()> {
    let server = Url::parse(app.common().amqp_url.expose_secret())?;
    let known = [server.password().unwrap_or_default(), app.owner.expose_key(), "whsec_"];
    let said = process.printed() + &process.log();
    for secret in known.iter().chain(secrets).filter(|secret| !secret.is_empty()) {
        ensure!(!said.contains(secret), "it shows a secret:\n{said}");
    }
    Ok(())
}

async fn broker(app: &TestApp) -> anyhow::Result<Channel> {
    let url = app.common().amqp_url.expose_secret();
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    Ok(connection.create_channel().await?)
}

fn made_up(app: &TestApp, id: &str, sequence: u64) -> Value {
    json!({
        "id": id,
        "type": "account.updated",
        "timestamp": "2026-11-22T12:00:00.000Z",
        "workspaceId": app.owner.workspace_id,
        "sequence": sequence,
        "data": { "accountId": "acc_of_nobody" },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_subscribers_print_each_event_once() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let mut subscribers = Vec::new();
    for language in LANGUAGES {
        let mut subscriber = program(&app, "subscriber", language)?;
        let subscriber = Process::start({
            subscriber.arg(language);
            subscriber
        })?;
        subscriber.says("listening on").await?;
        subscribers.push(subscriber);
    }
    let sam = app.connect("sam").await?;
    let connected = app.event("account.connected", &sam.account_id).await?;
    let channel = broker(&app).await?;
    let exchange = format!("{}.events", app.common().broker_prefix);
    let key = format!("{}.account.updated", app.owner.workspace_id);
    let marker = made_up(&app, "evt_marker", 9);
    // The first again, one that was overtaken, and one of another workspace.
    let newer = made_up(&app, "evt_newer", 8);
    for (key, event) in [
        (key.as_str(), &connected),
        (&key, &newer),
        (&key, &made_up(&app, "evt_older", 7)),
        (&key, &newer),
        ("ws_another.account.updated", &made_up(&app, "evt_foreign", 1)),
        (&key, &marker),
    ] {
        let options = BasicPublishOptions::default();
        let body = event.to_string();
        let properties = BasicProperties::default();
        channel
            .basic_publish(
                exchange.as_str().into(),
                key.into(),
                options,
                body.as_bytes(),
                properties,
            )
            .await?;
    }
    for subscriber in subscribers {
        prints(&subscriber, &connected).await?;
        prints(&subscriber, &marker).await?;
        let ids: Vec<Value> =
            events(&subscriber)?.iter().map(|event| event["id"].clone()).collect();
        for (id, times) in [
            (&connected["id"], 1),
            (&"evt_newer".into(), 1),
            (&"evt_older".into(), 1),
            (&"evt_foreign".into(), 0),
        ] {
            let found = ids.iter().filter(|found| *found == id).count();
            assert_eq!(found, times, "{id}: {ids:?}");
        }
        subscriber.says("evt_older is older than what is known of acc_of_nobody").await?;
        is_discreet(&app, &subscriber, &[])?;
    }
    for language in LANGUAGES {
        let queue = format!("{}.subscribers.{language}", app.common().broker_prefix);
        channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
    }
    app.finish().await
}

/// Sends a delivery that is signed with this secret, tampered with if `body` is not what was signed.
async fn deliver(url: &str, secret: &str, (signed, body): (&str, &str)) -> anyhow::Result<u16> {
    let (id, at) = ("evt_by_hand", Clock::system().now().timestamp());
    let signature = Webhook::new(secret)?.sign(id, at, signed.as_bytes())?;
    let mut headers = HeaderMap::new();
    headers.insert("webhook-id", id.parse()?);
    headers.insert("webhook-timestamp", at.to_string().parse()?);
    headers.insert("webhook-signature", signature.parse()?);
    let client = reqwest::Client::builder().no_proxy().build()?;
    let sent = client.post(url).headers(headers).body(body.to_owned()).send().await?;
    Ok(sent.status().as_u16())
}

/// Waits until a receiver says where it listens.
async fn address(process: &Process) -> anyhow::Result<String> {
    process.says("listening on http").await?;
    let log = process.log();
    let line = log.lines().find_map(|line| line.strip_prefix("listening on "));
    Ok(line.context("it was just said")?.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_webhook_receivers_believe_only_what_is_signed() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let secret = format!("whsec_{}", STANDARD.encode([9; 32]));
    for language in LANGUAGES {
        let mut receiver = program(&app, "webhook_receiver", language)?;
        receiver.arg("0").env("WEBHOOK_SECRET", &secret);
        let receiver = Process::start(receiver)?;
        let url = address(&receiver).await?;
        let (event, forged) = (r#"{"id": "evt_by_hand"}"#, r#"{"id": "evt_by_hands"}"#);
        assert_eq!(deliver(&url, &secret, (event, forged)).await?, 401, "{language}");
        assert_eq!(deliver(&url, &secret, (event, event)).await?, 204, "{language}");
        assert_eq!(deliver(&url, &secret, (event, event)).await?, 204, "{language}: again");
        let other = format!("whsec_{}", STANDARD.encode([8; 32]));
        assert_eq!(deliver(&url, &other, (event, event)).await?, 401, "{language}");
        let client = reqwest::Client::builder().no_proxy().build()?;
        let unsigned = client.post(&url).body(event).send().await?;
        assert_eq!(unsigned.status(), 401, "{language}");
        let nonsense = client.post(&url).header("webhook-id", "a").header("webhook-timestamp", "b");
        let nonsense = nonsense.header("webhook-signature", "c").body(vec![0xff]).send().await?;
        assert_eq!(nonsense.status(), 401, "{language}");
        prints(&receiver, &json!({ "id": "evt_by_hand" })).await?;
        assert_eq!(events(&receiver)?.len(), 1, "{language}");
        is_discreet(&app, &receiver, &[&secret])?;
    }
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_webhook_receivers_register_themselves() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    for language in LANGUAGES {
        let mut receiver = program(&app, "webhook_receiver", language)?;
        receiver.arg("--register");
        receiver.arg("0");
        let receiver = Process::start(receiver)?;
        address(&receiver).await?;
        let account = app.connect(language).await?;
        let connected = app.event("account.connected", &account.account_id).await?;
        prints(&receiver, &connected).await?;
        is_discreet(&app, &receiver, &[])?;
        app.until_none("webhook_deliveries WHERE status = 'pending'").await?;
        receiver.signal("INT").await?;
        assert!(receiver.ended().await?.success(), "{language}");
        // Its endpoint is gone again: what is left is the test's own.
        let left = app.http.get("/v1/webhook-endpoints").await?.expect(200)?.json();
        assert_eq!(left["data"].as_array().map(Vec::len), Some(1), "{language}: {left}");
    }
    app.finish().await
}

/// A program that ends by itself: its exit code, what it printed, and what it said besides.
async fn ended(mut command: Command) -> anyhow::Result<(Option<i32>, String, String)> {
    let done = command.output().await?;
    let said = String::from_utf8(done.stderr)?;
    ensure!(!said.contains("Traceback"), "{said}");
    Ok((done.status.code(), String::from_utf8(done.stdout)?, said))
}

fn trusting() -> Options {
    Options { trust_producers: true, ..Options::default() }
}

/// The library names its queues in a way that nobody can tell from another tenant's: this program names its own.
#[tokio::test(flavor = "multi_thread")]
async fn the_robust_producer_prints_where_to_send_the_person() -> anyhow::Result<()> {
    let app = TestApp::start_with(trusting()).await?;
    let (code, printed, said) = ended(program(&app, "async_producer", "python")?).await?;
    assert_eq!(code, Some(0), "{said}");
    let callback = Person::new("sam")?.approve(printed.trim_end()).await?;
    app.http.browse(callback.as_str()).await?.expect(303)?;
    let connect = said.split(':').next().unwrap_or_default();
    assert_eq!(app.ended(connect).await?["status"], "connected", "{said}");
    let mut refused = program(&app, "async_producer", "python")?;
    refused.arg("NOWHERE");
    let (code, printed, said) = ended(refused).await?;
    assert_eq!((code, printed.as_str()), (Some(1), ""), "{said}");
    assert!(said.contains("PLATFORM_UNKNOWN"), "{said}");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_producers_print_where_to_send_the_person() -> anyhow::Result<()> {
    let app = TestApp::start_with(trusting()).await?;
    for language in LANGUAGES {
        let (code, printed, said) = ended(program(&app, "producer", language)?).await?;
        assert_eq!(code, Some(0), "{said}");
        let callback = Person::new(language)?.approve(printed.trim_end()).await?;
        app.http.browse(callback.as_str()).await?.expect(303)?;
        let connect = said.split(':').next().unwrap_or_default();
        assert_eq!(app.ended(connect).await?["status"], "connected", "{said}");
    }
    for language in LANGUAGES {
        let mut producer = program(&app, "producer", language)?;
        producer.arg("NOWHERE");
        let (code, printed, said) = ended(producer).await?;
        assert_eq!((code, printed.as_str()), (Some(1), ""), "{said}");
        assert!(said.contains("PLATFORM_UNKNOWN") && said.contains("/platform"), "{said}");
    }
    app.finish().await
}

/// Nobody answers, and the request is not lost for that.
#[tokio::test(flavor = "multi_thread")]
async fn the_producers_do_not_wait_for_ever() -> anyhow::Result<()> {
    let mut app = TestApp::start_with(Options { worker: false, ..trusting() }).await?;
    let [python, rust] = LANGUAGES.map(|language| program(&app, "producer", language));
    let (python, rust) = tokio::try_join!(ended(python?), ended(rust?))?;
    for (code, printed, said) in [python, rust] {
        assert_eq!((code, printed.as_str()), (Some(1), ""), "{said}");
        assert!(said.contains("no answer within 10 s"), "{said}");
    }
    app.add_worker().await?;
    eventually(|| async {
        Ok((app.row("SELECT count(*) AS n FROM connects").await?["n"] == 2).then_some(()))
    })
    .await?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_ends_a_program_and_is_not_shown() -> anyhow::Result<()> {
    let app = TestApp::start_with(Options { worker: false, ..Options::default() }).await?;
    let mut url = Url::parse(app.common().amqp_url.expose_secret())?;
    ensure!(url.set_password(Some("wrong-one")).is_ok(), "an AMQP URL takes a password");
    for language in LANGUAGES {
        for name in ["producer", "subscriber"] {
            let mut command = program(&app, name, language)?;
            command.env("AMQP_URL", url.as_str());
            let (code, printed, said) = ended(command).await?;
            assert_eq!((code, printed.as_str()), (Some(1), ""), "{name} in {language}: {said}");
            assert!(said.contains("ACCESS_REFUSED") && !said.contains("wrong-one"), "{said}");
        }
    }
    app.finish().await
}

#[tokio::test]
async fn a_missing_package_is_named() -> anyhow::Result<()> {
    for (name, package) in
        [("producer", "pika"), ("subscriber", "pika"), ("webhook_receiver", "standardwebhooks")]
    {
        // The standard library alone.
        let mut python = Command::new("python3");
        let output = python.args(["-B", "-S"]).arg(source(name)).output().await?;
        let said = String::from_utf8(output.stderr)?;
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.starts_with(&format!("{package} is missing: ")), "{said}");
        assert!(said.contains("-m pip install -r ") && said.lines().count() == 1, "{said}");
    }
    Ok(())
}
