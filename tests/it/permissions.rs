//! What docs/MESSAGING.md gives a producer and a subscriber in the broker, by its very commands: enough
//! for what they are there for, and nothing else.

use anyhow::{Context as _, ensure};
use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions,
    ExchangeBindOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions,
    QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ErrorKind, ExchangeKind};
use latchkey_tests::TestApp;
use latchkey_tests::app::{Options, PrivateServers, Server, eventually};
use tokio::process::Command;
use url::Url;

const DOCUMENT: &str = "docs/MESSAGING.md";
/// What `TestApp` has, too.
const OTHER: &str = "ws_01AAAAAAAAAAAAAAAAAAAAAAAA";
const ACME: &str = "latchkey.subscribers.acme";
const REFUSED: u16 = 403;

/// One thing to try.
#[derive(Clone, Debug)]
enum Try {
    /// Exchange, routing key.
    Publish(&'static str, String),
    /// User.
    PublishAs(&'static str),
    /// Another routing key for a copy.
    PublishCopy(&'static str),
    Consume(String),
    Get(String),
    Purge(String),
    Delete(String),
    Declare(String),
    /// Queue; the exchange for its dead letters.
    DeclareDying(&'static str, &'static str),
    /// Looks without making.
    DeclarePassively(String),
    /// Queue, exchange, binding key.
    Bind(String, &'static str, String),
    Unbind(String, &'static str, String),
    DeclareExchange(&'static str),
    DeleteExchange(&'static str),
    /// Destination, source, binding key.
    BindExchange(&'static str, &'static str, String),
}

/// A user's connection.
struct User(Connection);

impl User {
    async fn of(servers: &PrivateServers, name: &str) -> anyhow::Result<Self> {
        let mut url = Url::parse(&servers.url(Server::RabbitMq)?)?;
        let named = url.set_username(name).and_then(|()| url.set_password(Some("a password")));
        ensure!(named.is_ok(), "an AMQP URL takes a user");
        Ok(Self(Connection::connect(url.as_str(), ConnectionProperties::default()).await?))
    }

    /// On a channel of its own, since a refusal closes it.
    async fn tries(&self, this: &Try) -> lapin::Result<()> {
        let channel = self.0.create_channel().await?;
        match this {
            Try::Publish(..) | Try::PublishAs(_) | Try::PublishCopy(_) => {
                publish(&channel, this).await
            }
            Try::Consume(_) | Try::Get(_) | Try::Purge(_) | Try::Delete(_) => {
                take(&channel, this).await
            }
            Try::DeclareExchange(_) | Try::DeleteExchange(_) | Try::BindExchange(..) => {
                change_exchange(&channel, this).await
            }
            _ => change_queue(&channel, this).await,
        }
    }

    /// All of these are done.
    async fn may(&self, these: &[Try]) -> anyhow::Result<()> {
        for this in these {
            self.tries(this).await.with_context(|| format!("{this:?} was refused"))?;
        }
        Ok(())
    }

    /// All of these are refused for want of permission.
    async fn may_not(&self, these: &[Try]) -> anyhow::Result<()> {
        for this in these {
            let refusal = self.tries(this).await;
            ensure!(code(&refusal) == Some(REFUSED), "{this:?} was not refused: {refusal:?}");
        }
        Ok(())
    }
}

fn code(outcome: &lapin::Result<()>) -> Option<u16> {
    match outcome.as_ref().err()?.kind() {
        ErrorKind::ProtocolError(error) => Some(error.get_id()),
        _ => None,
    }
}

async fn publish(channel: &Channel, this: &Try) -> lapin::Result<()> {
    let properties = BasicProperties::default();
    let (exchange, key, properties) = match this {
        Try::Publish(exchange, key) => (*exchange, key.as_str(), properties),
        Try::PublishAs(user) => {
            ("latchkey.requests", "connect.requested", properties.with_user_id((*user).into()))
        }
        Try::PublishCopy(key) => {
            let keys = FieldArray::from(vec![AMQPValue::LongString((*key).into())]);
            let mut headers = FieldTable::default();
            headers.insert("CC".into(), AMQPValue::FieldArray(keys));
            ("latchkey.requests", "connect.requested", properties.with_headers(headers))
        }
        other => unreachable!("{other:?} publishes nothing"),
    };
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let options = BasicPublishOptions::default();
    channel
        .basic_publish(exchange.into(), key.into(), options, b"{}", properties)
        .await?
        .await
        .map(drop)
}

async fn take(channel: &Channel, this: &Try) -> lapin::Result<()> {
    match this {
        Try::Consume(queue) => {
            let (options, none) = (BasicConsumeOptions::default(), FieldTable::default());
            channel.basic_consume(queue.as_str().into(), "".into(), options, none).await.map(drop)
        }
        Try::Get(queue) => {
            channel.basic_get(queue.as_str().into(), BasicGetOptions::default()).await.map(drop)
        }
        Try::Purge(queue) => {
            let options = QueuePurgeOptions::default();
            channel.queue_purge(queue.as_str().into(), options).await.map(drop)
        }
        Try::Delete(queue) => {
            let options = QueueDeleteOptions::default();
            channel.queue_delete(queue.as_str().into(), options).await.map(drop)
        }
        other => unreachable!("{other:?} takes nothing"),
    }
}

async fn change_queue(channel: &Channel, this: &Try) -> lapin::Result<()> {
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let none = FieldTable::default();
    match this {
        // A name that the server chooses is for exclusive queues, which are never quorum queues.
        Try::Declare(queue) if queue.is_empty() => {
            let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
            channel.queue_declare("".into(), options, none).await.map(drop)
        }
        Try::Declare(queue) => {
            channel.queue_declare(queue.as_str().into(), durable, arguments).await.map(drop)
        }
        Try::DeclareDying(queue, exchange) => {
            for (name, value) in [
                ("x-dead-letter-exchange", *exchange),
                ("x-dead-letter-routing-key", "latchkey.connect"),
            ] {
                arguments.insert(name.into(), AMQPValue::LongString(value.into()));
            }
            channel.queue_declare((*queue).into(), durable, arguments).await.map(drop)
        }
        Try::DeclarePassively(queue) => {
            let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            channel.queue_declare(queue.as_str().into(), options, none).await.map(drop)
        }
        Try::Bind(queue, exchange, key) => {
            let (queue, key) = (queue.as_str().into(), key.as_str().into());
            let options = QueueBindOptions::default();
            channel.queue_bind(queue, (*exchange).into(), key, options, none).await
        }
        Try::Unbind(queue, exchange, key) => {
            let (queue, key) = (queue.as_str().into(), key.as_str().into());
            channel.queue_unbind(queue, (*exchange).into(), key, none).await
        }
        other => unreachable!("{other:?} is not about a queue"),
    }
}

async fn change_exchange(channel: &Channel, this: &Try) -> lapin::Result<()> {
    let none = FieldTable::default();
    match this {
        Try::DeclareExchange(name) => {
            let options = ExchangeDeclareOptions::default();
            channel.exchange_declare((*name).into(), ExchangeKind::Topic, options, none).await
        }
        Try::DeleteExchange(name) => {
            channel.exchange_delete((*name).into(), ExchangeDeleteOptions::default()).await
        }
        Try::BindExchange(to, from, key) => {
            let (options, key) = (ExchangeBindOptions::default(), key.as_str().into());
            channel.exchange_bind((*to).into(), (*from).into(), key, options, none).await
        }
        other => unreachable!("{other:?} is not about an exchange"),
    }
}

/// The commands of the document that begin so, in its order.
fn commands(begins: &[&str]) -> anyhow::Result<String> {
    let path = format!("{}/../{DOCUMENT}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path)?;
    let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let lines = blocks.flat_map(str::lines);
    let lines = lines.filter(|line| begins.iter().any(|begin| line.starts_with(begin)));
    Ok(lines.map(|line| format!("{line}\n")).collect())
}

/// Runs commands as an operator of this broker would.
async fn run(servers: &PrivateServers, commands: &str, workspace: &str) -> anyhow::Result<()> {
    let tool = "rabbitmqctl() { \"$SERVICES\" rabbitmqctl --quiet \"$@\"; }";
    let script = format!("set -euo pipefail\n{tool}\n{commands}");
    let mut shell = Command::new("bash");
    shell
        .args(["-c", &script])
        .env("SERVICES", servers.folder().join("scripts/services"))
        .env("PRODUCER_PASSWORD", "a password")
        .env("SUBSCRIBER_PASSWORD", "a password")
        .env("LATCHKEY_WORKSPACE", workspace)
        .env_remove("DATABASE_URL")
        .env_remove("AMQP_URL");
    let done = shell.output().await?;
    let said = [done.stdout, done.stderr].concat();
    ensure!(done.status.success(), "{commands}{}", String::from_utf8_lossy(&said));
    Ok(())
}

fn to(exchange: &'static str, key: &str) -> Try {
    Try::Publish(exchange, key.to_owned())
}

fn each(queues: &[&str], to: fn(String) -> Try) -> Vec<Try> {
    queues.iter().map(|queue| to((*queue).to_owned())).collect()
}

/// Nobody but Latchkey has business here.
const NOT_THEIRS: [&str; 5] = [
    "latchkey.connect",
    "latchkey.refresh",
    "latchkey.requests",
    "latchkey.dead",
    "latchkey.subscribers.rival",
];

fn reading_and_removing() -> Vec<Try> {
    [Try::Consume, Try::Get, Try::Purge, Try::Delete, Try::Declare]
        .into_iter()
        .flat_map(|to| each(&NOT_THEIRS, to))
        .collect()
}

async fn the_producer_only_asks(servers: &PrivateServers) -> anyhow::Result<()> {
    let producer = User::of(servers, "acme_producer").await?;
    producer
        .may(&[
            to("latchkey.requests", "connect.requested"),
            to("latchkey.requests", "disconnect.requested"),
            to("latchkey.requests", "refresh.requested"),
            Try::PublishAs("acme_producer"),
            // As the document warns.
            Try::PublishCopy("anything"),
            Try::DeclarePassively("latchkey.connect".to_owned()),
        ])
        .await?;
    producer.may_not(&reading_and_removing()).await?;
    let (requests, any) = ("latchkey.requests".to_owned(), "#".to_owned());
    producer
        .may_not(&[
            to("latchkey.requests", "anything"),
            to("latchkey.events", "ws_1.account.connected"),
            to("latchkey.commands", "callback_received"),
            to("latchkey.dead", ""),
            to("", "latchkey.connect"),
            to("amq.topic", "connect.requested"),
            Try::Declare(String::new()),
            Try::Declare("latchkey.replies.acme".to_owned()),
            Try::Declare(ACME.to_owned()),
            Try::Bind(requests.clone(), "latchkey.events", any.clone()),
            Try::Bind(requests.clone(), "latchkey.commands", "refresh_due".to_owned()),
            Try::Unbind(requests, "latchkey.requests", any.clone()),
            Try::BindExchange("latchkey.requests", "latchkey.events", any.clone()),
            Try::BindExchange("latchkey.events", "latchkey.requests", any),
            Try::DeclareExchange("acme"),
            Try::DeleteExchange("latchkey.requests"),
        ])
        .await?;
    let forged = producer.tries(&Try::PublishAs("latchkey")).await;
    assert_eq!(code(&forged), Some(406), "{forged:?}");
    Ok(())
}

async fn the_producer_has_a_queue_for_answers(servers: &PrivateServers) -> anyhow::Result<()> {
    let producer = User::of(servers, "acme_producer").await?;
    let own = ["latchkey.replies.acme", "latchkey.replies.acme.2"];
    let other = ["latchkey.replies.acme2", "latchkey.replies.rival", "latchkey.requests"];
    for to in [Try::Declare, Try::Consume, Try::Purge, Try::Delete] {
        producer.may(&each(&own, to)).await?;
        producer.may_not(&each(&other, to)).await?;
    }
    producer.may(&[to("latchkey.requests", "connect.requested")]).await?;
    producer.may_not(&[to("", "latchkey.replies.acme")]).await
}

async fn the_subscriber_only_hears(servers: &PrivateServers, ws: &str) -> anyhow::Result<()> {
    let subscriber = User::of(servers, "acme_subscriber").await?;
    let own = || ACME.to_owned();
    let bind = |key: &str| Try::Bind(own(), "latchkey.events", key.to_owned());
    let all = format!("{ws}.#");
    subscriber
        .may(&[
            Try::Declare(own()),
            Try::Declare(format!("{ACME}.invoices")),
            bind(&all),
            bind(&format!("{ws}.account.connected")),
            bind(&format!("{ws}.*.connected")),
            Try::Unbind(own(), "latchkey.events", format!("{ws}.*.connected")),
            Try::Consume(own()),
            Try::Purge(own()),
            Try::Delete(format!("{ACME}.invoices")),
            // What is its own may be arranged at will: nothing leads out of it.
            Try::DeclareExchange("latchkey.subscribers.acme.x"),
            Try::BindExchange("latchkey.subscribers.acme.x", "latchkey.events", all.clone()),
            Try::DeclareDying("latchkey.subscribers.acme.y", "latchkey.subscribers.acme.x"),
            Try::Delete(format!("{ACME}.y")),
            Try::DeleteExchange("latchkey.subscribers.acme.x"),
            Try::DeclarePassively("latchkey.subscribers.rival".to_owned()),
        ])
        .await?;
    subscriber.may_not(&reading_and_removing()).await?;
    let other = format!("{OTHER}.#");
    let keys =
        ["#", "*.#", "*.account.connected", "", &other, &format!("{ws}#"), &format!("x{all}")];
    subscriber.may_not(&keys.map(bind)).await?;
    let elsewhere = |queue: &str, exchange| Try::Bind(queue.to_owned(), exchange, all.clone());
    subscriber
        .may_not(&[
            Try::Declare(format!("{ACME}2")),
            Try::Declare(String::new()),
            elsewhere(ACME, "latchkey.requests"),
            elsewhere(ACME, "latchkey.commands"),
            elsewhere(ACME, "latchkey.dead"),
            elsewhere(ACME, "amq.topic"),
            elsewhere("latchkey.subscribers.rival", "latchkey.events"),
            elsewhere("latchkey.connect", "latchkey.events"),
            Try::Unbind("latchkey.requests".to_owned(), "latchkey.requests", "#".to_owned()),
            to("latchkey.events", "ws_1.account.connected"),
            to("latchkey.requests", "connect.requested"),
            to("", ACME),
            to("", "latchkey.connect"),
            Try::DeclareDying("latchkey.subscribers.acme.z", ""),
            Try::DeclareDying("latchkey.subscribers.acme.z", "latchkey.commands"),
            Try::DeclareDying("latchkey.subscribers.acme.z", "latchkey.requests"),
            Try::BindExchange("latchkey.commands", "latchkey.events", all.clone()),
            Try::DeleteExchange("latchkey.events"),
        ])
        .await
}

/// What the document warns of is so.
async fn the_warnings_are_true(servers: &PrivateServers, ws: &str) -> anyhow::Result<()> {
    let careless = "rabbitmqctl add_user careless 'a password'
        rabbitmqctl set_user_tags careless impersonator
        rabbitmqctl set_permissions careless '.*' '.*' '.*'
        rabbitmqctl set_topic_permissions acme_subscriber latchkey.events '^$' '^ws_none\\.'";
    run(servers, careless, ws).await?;
    let user = User::of(servers, "careless").await?;
    let requests = || "latchkey.requests".to_owned();
    user.may(&[
        Try::PublishAs("acme_producer"),
        Try::Bind(requests(), "latchkey.events", "#".to_owned()),
        Try::Unbind(requests(), "latchkey.events", "#".to_owned()),
        Try::Purge(requests()),
        to("latchkey.events", &format!("{ws}.account.connected")),
    ])
    .await?;
    let subscriber = User::of(servers, "acme_subscriber").await?;
    let all = Try::Bind(ACME.to_owned(), "latchkey.events", format!("{ws}.#"));
    subscriber.may_not(&[all]).await?;
    let channel = subscriber.0.create_channel().await?;
    eventually(|| async {
        let got = channel.basic_get(ACME.into(), BasicGetOptions { no_ack: true }).await?;
        Ok(got.map(drop))
    })
    .await
    .context("what was bound before went on")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_document_give_what_it_says() -> anyhow::Result<()> {
    let servers = PrivateServers::start().await?;
    let urls = (servers.url(Server::Postgres)?, servers.url(Server::RabbitMq)?);
    // Names as in the document; nobody takes the requests that are not meant.
    let app = TestApp::start_with(Options {
        servers: Some(urls),
        broker_prefix: Some("latchkey".to_owned()),
        worker: false,
        ..Options::default()
    })
    .await?;
    let ws = app.owner.workspace_id.to_string();
    let rival =
        "rabbitmqctl add_user rival 'a password'\nrabbitmqctl set_permissions rival '.*' '.*' '.*'";
    run(&servers, rival, &ws).await?;
    let rival = User::of(&servers, "rival").await?;
    rival.may(&[Try::Declare("latchkey.subscribers.rival".to_owned())]).await?;
    // TEMPORARY
    let ch = rival.0.create_channel().await?;
    ch.exchange_declare(
        "latchkey.requests".into(),
        ExchangeKind::Topic,
        ExchangeDeclareOptions { durable: true, ..Default::default() },
        FieldTable::default(),
    )
    .await?;
    rival
        .may(&[
            Try::Declare("latchkey.requests".to_owned()),
            Try::Bind("latchkey.requests".to_owned(), "latchkey.requests", "#".to_owned()),
        ])
        .await?;
    let given = commands(&["rabbitmqctl ", "echo ", "own="])?;
    let (without_queue, with_queue): (Vec<_>, Vec<_>) =
        given.lines().partition(|line| !line.contains("latchkey\\.replies\\."));
    run(&servers, &without_queue.join("\n"), &ws).await?;
    the_producer_only_asks(&servers).await?;
    the_subscriber_only_hears(&servers, &ws).await?;
    run(&servers, &with_queue.join("\n"), &ws).await?;
    the_producer_has_a_queue_for_answers(&servers).await?;
    the_warnings_are_true(&servers, &ws).await?;
    let queues = servers.rabbitmqctl(&["list_queues", "name", "policy"]).await?;
    ensure!(queues.contains(&format!("{ACME}\tlatchkey-subscribers")), "{queues}");
    rival.may(&[Try::Purge("latchkey.requests".to_owned())]).await?;
    app.finish().await?;
    servers.close().await
}
