//! Asks for a connect with nothing but an AMQP client, and prints the URL to send the person to.
//!
//! ```text
//! target/debug/example-producer [PLATFORM]
//! ```
//!
//! It never prints the broker's password.

mod settings;

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use futures_util::StreamExt as _;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::FieldTable;
use lapin::uri::AMQPUri;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(10);
/// The broker's own name for "answer on this channel": no queue has to be made.
const DIRECT_REPLY_TO: &str = "amq.rabbitmq.reply-to";
const PERSISTENT: u8 = 2;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let platform = std::env::args().nth(1).unwrap_or_else(|| "SANDBOX".to_owned());
    let server: AMQPUri = settings::read("AMQP_URL")?.parse().map_err(|_| {
        anyhow::anyhow!("AMQP_URL must look like amqp://user:password@host:5672/vhost")
    })?;
    // It names this wish. Keep it with the wish: whoever does not know whether a request arrived
    // publishes it again with the same message id and body, and gets the same answer.
    let message_id = ulid::Ulid::generate().to_string();
    let properties = BasicProperties::default()
        .with_type("connect.requested".into())
        .with_message_id(message_id.as_str().into())
        .with_correlation_id(message_id.as_str().into())
        .with_reply_to(DIRECT_REPLY_TO.into())
        // RabbitMQ refuses a message with another user's name, so that Latchkey knows who asks.
        .with_user_id(server.authority.userinfo.username.as_str().into())
        .with_content_type("application/json".into())
        .with_delivery_mode(PERSISTENT);
    let body =
        json!({ "workspaceId": settings::read("LATCHKEY_WORKSPACE")?, "platform": platform });
    let connection = Connection::connect_uri(server, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    // Before the request, and on the same channel.
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let mut replies = channel
        .basic_consume(DIRECT_REPLY_TO.into(), "".into(), options, FieldTable::default())
        .await?;
    let asked = async {
        publish(&channel, properties, &body).await?;
        reply_to(&message_id, &mut replies).await
    };
    // The request may wait in the queue, or the answer got lost: asking again with the same message
    // id is safe either way.
    let (kind, answer) = tokio::time::timeout(PATIENCE, asked).await.with_context(|| {
        let seconds = PATIENCE.as_secs();
        format!("no answer within {seconds} s: does a worker with the pool `requests` run?")
    })??;
    show(&kind, &answer)
}

async fn publish(
    channel: &Channel,
    properties: BasicProperties,
    body: &Value,
) -> anyhow::Result<()> {
    let exchange = format!("{}.requests", settings::read("LATCHKEY_BROKER_PREFIX")?);
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let body = body.to_string();
    let confirmed = channel
        .basic_publish(
            exchange.into(),
            "connect.requested".into(),
            options,
            body.as_bytes(),
            properties,
        )
        .await?
        .await?;
    // With a message in it, the broker had no queue for it.
    ensure!(
        matches!(confirmed, Confirmation::Ack(None)),
        "the broker did not take the request: is Latchkey's queue of requests there, and not full?"
    );
    Ok(())
}

/// The type of the answer, and its body.
async fn reply_to(message_id: &str, replies: &mut Consumer) -> anyhow::Result<(String, Value)> {
    while let Some(reply) = replies.next().await {
        let reply = reply?;
        let correlates = reply.properties.correlation_id().as_ref().map(|id| id.as_str());
        if correlates == Some(message_id) {
            let kind = reply.properties.kind().as_ref().map(ToString::to_string);
            return Ok((kind.unwrap_or_default(), serde_json::from_slice(&reply.data)?));
        }
    }
    bail!("the broker closed the connection")
}

fn show(kind: &str, answer: &Value) -> anyhow::Result<()> {
    let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    if kind != "connect.ready" {
        for error in answer["errors"].as_array().into_iter().flatten() {
            eprintln!("{error}");
        }
        bail!("{}: {}", text("code"), text("message"));
    }
    eprintln!("{}: send the person there before {}", text("connectId"), text("expiresAt"));
    println!("{}", text("authorizeUrl"));
    Ok(())
}
