//! What docs/MESSAGING.md gives a producer and a subscriber in the broker, by its very commands: enough
//! for what they are there for, and nothing else.

mod processes;
mod tries;

use anyhow::{Context as _, ensure};
use lapin::options::BasicGetOptions;
use latchkey_tests::TestApp;
use latchkey_tests::app::{Options, PrivateServers, Process, Server, eventually};
use tokio::process::Command;
use url::Url;

use crate::sample_programs::{events, prints, program};
use tries::{Try, User, code};

const DOCUMENT: &str = "docs/MESSAGING.md";
/// A workspace that is somebody else's.
const OTHER: &str = "ws_01AAAAAAAAAAAAAAAAAAAAAAAA";
const ACME: &str = "latchkey.subscribers.acme";
const PASSWORD: &str = "a-password";

/// A test's own operator: a broker, and Latchkey beside it.
struct Stage {
    servers: PrivateServers,
    app: TestApp,
    workspace: String,
}

impl Stage {
    /// Where this user finds the broker.
    fn address(&self, user: &str) -> anyhow::Result<String> {
        let mut url = Url::parse(&self.servers.url(Server::RabbitMq)?)?;
        let named = url.set_username(user).and_then(|()| url.set_password(Some(PASSWORD)));
        ensure!(named.is_ok(), "an AMQP URL takes a user");
        Ok(url.into())
    }

    async fn user(&self, name: &str) -> anyhow::Result<User> {
        User::at(&self.address(name)?).await
    }

    /// Types these commands as the page's reader does, in the checkout's root. Answers what they print.
    async fn types(&self, commands: &str, user: &str) -> anyhow::Result<String> {
        // Not quiet where it reads a password: RabbitMQ 4 then reads none.
        let tools = "ctl() { env -u DATABASE_URL -u AMQP_URL \"$SERVICES\" rabbitmqctl \"$@\"; }
            rabbitmqctl() { if [ \"$1\" = add_user ]; then ctl \"$@\" >&2; else ctl --quiet \"$@\"; fi; }
            latchkey-api() { env AMQP_URL=\"$OWN_AMQP_URL\" \"$LATCHKEY\" \"$@\"; }
            python() { \"$LATCHKEY_TEST_PYTHON\" -B \"$@\"; }";
        let latchkey = self.app.command("latchkey-api")?;
        let latchkey = latchkey.as_std();
        let own = latchkey.get_envs().filter_map(|(name, value)| Some((name, value?)));
        let mut shell = Command::new("bash");
        shell
            .args(["-c", &format!("set -euo pipefail\n{tools}\n{commands}")])
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .envs(own)
            .env("SERVICES", self.servers.folder().join("scripts/services"))
            .env("LATCHKEY", latchkey.get_program())
            .env("OWN_AMQP_URL", self.servers.url(Server::RabbitMq)?)
            .env("AMQP_URL", self.address(user)?)
            .env("LATCHKEY_URL", self.app.http.base())
            .env("LATCHKEY_API_KEY", self.app.owner.expose_key())
            .env("LATCHKEY_WORKSPACE", &self.workspace)
            .env("PRODUCER_PASSWORD", PASSWORD)
            .env("SUBSCRIBER_PASSWORD", PASSWORD);
        let done = shell.output().await?;
        let said = String::from_utf8_lossy(&done.stderr);
        let printed = String::from_utf8(done.stdout)?;
        ensure!(done.status.success(), "{commands}\n{printed}{said}");
        Ok(printed)
    }

    /// The same with the block of the page that contains this.
    async fn types_the_block(&self, with: &str, user: &str) -> anyhow::Result<String> {
        let text =
            std::fs::read_to_string(format!("{}/../{DOCUMENT}", env!("CARGO_MANIFEST_DIR")))?;
        let mut blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
        let block = blocks.find(|block| block.contains(with));
        self.types(block.with_context(|| format!("{DOCUMENT} has no block with {with}"))?, user)
            .await
    }
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

async fn the_producer_only_asks(stage: &Stage) -> anyhow::Result<()> {
    let producer = stage.user("acme_producer").await?;
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
            Try::Declare("latchkey.replies.acme_producer".to_owned()),
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

async fn the_producer_has_a_queue_for_answers(stage: &Stage) -> anyhow::Result<()> {
    let producer = stage.user("acme_producer").await?;
    let own = ["latchkey.replies.acme_producer", "latchkey.replies.acme_producer.2"];
    let other = ["latchkey.replies.acme_producer2", "latchkey.replies.rival", "latchkey.requests"];
    for to in [Try::Declare, Try::Consume, Try::Purge, Try::Delete] {
        producer.may(&each(&own, to)).await?;
        producer.may_not(&each(&other, to)).await?;
    }
    producer.may_not(&[to("", "latchkey.replies.acme_producer")]).await
}

async fn the_subscriber_only_hears(stage: &Stage) -> anyhow::Result<()> {
    let subscriber = stage.user("acme_subscriber").await?;
    let (own, ws) = (|| ACME.to_owned(), &stage.workspace);
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
async fn the_warnings_are_true(stage: &Stage) -> anyhow::Result<()> {
    let careless = "rabbitmqctl add_user careless 'a-password'
        rabbitmqctl set_user_tags careless impersonator
        rabbitmqctl set_permissions careless '.*' '.*' '.*'
        rabbitmqctl set_topic_permissions acme_subscriber latchkey.events '^$' '^ws_none\\.'";
    stage.types(careless, "latchkey").await?;
    let (user, ws) = (stage.user("careless").await?, &stage.workspace);
    let requests = || "latchkey.requests".to_owned();
    user.may(&[
        Try::PublishAs("acme_producer"),
        Try::Bind(requests(), "latchkey.events", "#".to_owned()),
        Try::Unbind(requests(), "latchkey.events", "#".to_owned()),
        Try::Delete("latchkey.subscribers.rival".to_owned()),
    ])
    .await?;
    let subscriber = stage.user("acme_subscriber").await?;
    subscriber.may(&[Try::Purge(ACME.to_owned())]).await?;
    user.may(&[to("latchkey.events", &format!("{ws}.account.connected"))]).await?;
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

/// The programs of docs/examples do with no more than that.
async fn the_examples_are_content(stage: &Stage) -> anyhow::Result<()> {
    let (url, app) = (stage.address("acme_subscriber")?, &stage.app);
    let mut subscribers = Vec::new();
    for (language, name) in [("python", "acme.python"), ("rust", "acme.rust")] {
        let mut subscriber = program(app, "subscriber", language)?;
        subscriber.arg(name).env("AMQP_URL", &url);
        let subscriber = Process::start(subscriber)?;
        subscriber.says("listening on").await?;
        subscribers.push(subscriber);
    }
    stage.types_the_block("producers link", "acme_producer").await?;
    let printed = stage.types_the_block("docs/examples/producer.py", "acme_producer").await?;
    assert!(printed.starts_with("http"), "{printed}");
    let mut producer = program(app, "producer", "rust")?;
    let printed = producer.env("AMQP_URL", stage.address("acme_producer")?).output().await?.stdout;
    assert!(printed.starts_with(b"http"), "{}", String::from_utf8_lossy(&printed));
    for subscriber in &subscribers {
        eventually(|| async { Ok((events(subscriber)?.len() == 2).then_some(())) })
            .await
            .with_context(|| subscriber.log())?;
    }
    // While the broker is away, the subscribers wait for it; what happens then is not lost.
    stage.servers.stop(Server::RabbitMq).await?;
    for subscriber in &subscribers {
        subscriber.says("trying again in").await?;
    }
    let started = app.start_connect(serde_json::json!({})).await?;
    stage.servers.start_again(Server::RabbitMq).await?;
    let id = started["connectId"].as_str().unwrap_or_default();
    let event = app.event("connect.started", id).await?;
    for subscriber in &subscribers {
        prints(subscriber, &event).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_page_give_what_it_says() -> anyhow::Result<()> {
    let servers = PrivateServers::start().await?;
    let urls = (servers.url(Server::Postgres)?, servers.url(Server::RabbitMq)?);
    // Names as on the page, and no worker that would take the requests made up here.
    let app = TestApp::start_with(Options {
        servers: Some(urls),
        broker_prefix: Some("latchkey".to_owned()),
        worker: false,
        ..Options::default()
    })
    .await?;
    let workspace = app.owner.workspace_id.to_string();
    let mut stage = Stage { servers, app, workspace };
    let rival = "rabbitmqctl add_user rival 'a-password'
        rabbitmqctl set_permissions rival '.*' '.*' '.*'";
    stage.types(rival, "latchkey").await?;
    let rival = stage.user("rival").await?;
    rival.may(&[Try::Declare("latchkey.subscribers.rival".to_owned())]).await?;
    stage.types_the_block("add_user acme_producer", "latchkey").await?;
    the_producer_only_asks(&stage).await?;
    stage.types_the_block("add_user acme_subscriber", "latchkey").await?;
    stage.types_the_block("set_policy", "latchkey").await?;
    the_subscriber_only_hears(&stage).await?;
    let queues = stage.servers.rabbitmqctl(&["list_queues", "name", "policy"]).await?;
    ensure!(queues.contains(&format!("{ACME}\tlatchkey-subscribers")), "{queues}");
    rival.may(&[Try::Purge("latchkey.requests".to_owned())]).await?;
    stage.app.add_worker().await?;
    the_examples_are_content(&stage).await?;
    stage.types_the_block("latchkey\\.replies", "latchkey").await?;
    the_producer_has_a_queue_for_answers(&stage).await?;
    the_warnings_are_true(&stage).await?;
    // What was asked in another's name there bore no message id.
    stage.app.expect_dead_letters(1);
    stage.app.finish().await?;
    stage.servers.close().await
}
