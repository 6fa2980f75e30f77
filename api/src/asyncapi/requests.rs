//! What producers ask for, and what they are answered.

use latchkey_shared::messages::requests::{
    AccountAccepted, ConnectReady, ConnectRequested, DisconnectRequested, RefreshRequested,
    RequestKind, RequestRejected,
};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::{Parts, exchange, message_refs, operation};

const ABOUT: &str = "Publish with the AMQP properties `type` (the request), `message_id` (the idempotency key), \
                     `user_id` (RabbitMQ checks it), and, to be answered, `reply_to` and `correlation_id`.";
const REPLIES: &str = "To the queue in `reply_to`: direct reply-to, a queue that the server named, or \
                       `latchkey.replies.` and your user of the broker, alone or with a dot and more. `correlation_id` is the request's, else its `message_id`.";
/// The answer to a request of no known type; the event of this type is about others.
const ANSWER_REJECTED: &str = "answer.request.rejected";
const DONE: &str = "The request was done.";
const REJECTED: &str = "The request was not done, and nothing has changed.";

fn kinds() -> Vec<&'static str> {
    RequestKind::ALL.iter().map(|kind| kind.as_str()).collect()
}

fn answers() -> Vec<&'static str> {
    let answers = RequestKind::ALL.iter().flat_map(|kind| [kind.done(), kind.rejected()]);
    answers.chain([ANSWER_REJECTED]).collect()
}

pub(super) fn channel() -> Value {
    json!({
        "address": "{request}",
        "description": ABOUT,
        "parameters": { "request": { "description": "The request.", "enum": kinds() } },
        "messages": message_refs(&kinds()),
        "bindings": { "amqp": exchange("latchkey.requests") },
    })
}

pub(super) fn replies() -> Value {
    json!({ "address": null, "description": REPLIES, "messages": message_refs(&answers()) })
}

pub(super) fn operations() -> Map<String, Value> {
    let all = RequestKind::ALL.iter().map(|kind| {
        let (name, summary) = match kind {
            RequestKind::ConnectRequested => ("startConnect", "Start a connect."),
            RequestKind::DisconnectRequested => ("disconnectAccount", "Disconnect an account."),
            RequestKind::RefreshRequested => ("refreshAccount", "Refresh an account now."),
        };
        let mut operation = operation("receive", "requests", summary);
        let answers = [kind.done(), kind.rejected()].map(|word| of_channel("replies", word));
        operation["messages"] = json!([of_channel("requests", kind.as_str())]);
        operation["reply"] = json!({
            "address": {
                "location": "$message.header#/replyTo",
                "description": "The AMQP property `reply_to`.",
            },
            "channel": { "$ref": "#/channels/replies" },
            "messages": answers,
        });
        (name.to_owned(), operation)
    });
    all.collect()
}

fn of_channel(channel: &str, message: &str) -> Value {
    json!({ "$ref": format!("#/channels/{channel}/messages/{message}") })
}

/// The messages with their schemas.
pub(super) fn add(parts: &mut Parts) {
    for kind in RequestKind::ALL {
        match kind {
            RequestKind::ConnectRequested => {
                request::<ConnectRequested>(
                    parts,
                    *kind,
                    &json!({
                        "workspaceId": id("ws"),
                        "platform": "SANDBOX",
                        "redirectUrl": "https://app.example/connected",
                        "metadata": { "customer": 42 },
                    }),
                );
                message::<ConnectReady>(
                    parts,
                    kind.done(),
                    DONE,
                    &json!({
                        "connectId": id("con"),
                        "authorizeUrl": "https://platform.example/authorize?state=…",
                        "connectUrl": "https://latchkey.example/connect/con_…?link=…",
                        "state": "…",
                        "expiresAt": "2026-03-01T09:40:00.000Z",
                    }),
                );
            }
            RequestKind::DisconnectRequested => {
                request::<DisconnectRequested>(parts, *kind, &of_account());
                let accepted = json!({ "accountId": id("acc"), "status": "disconnected" });
                message::<AccountAccepted>(parts, kind.done(), DONE, &accepted);
            }
            RequestKind::RefreshRequested => {
                request::<RefreshRequested>(parts, *kind, &of_account());
                let accepted = json!({ "accountId": id("acc"), "status": "connected" });
                message::<AccountAccepted>(parts, kind.done(), DONE, &accepted);
            }
        }
        rejection(parts, kind.rejected());
    }
    rejection(parts, ANSWER_REJECTED);
}

fn request<T: ToSchema>(parts: &mut Parts, kind: RequestKind, example: &Value) {
    let summary = match kind {
        RequestKind::ConnectRequested => "Start a connect, and be told the URL for the person.",
        RequestKind::DisconnectRequested => "Take an account out of use.",
        RequestKind::RefreshRequested => "Refresh an account's tokens now.",
    };
    message::<T>(parts, kind.as_str(), summary, example);
}

fn rejection(parts: &mut Parts, word: &str) {
    let example = json!({ "code": "NOT_FOUND", "message": "Check the id, and which key is used." });
    message::<RequestRejected>(parts, word, REJECTED, &example);
}

fn message<T: ToSchema>(parts: &mut Parts, word: &str, summary: &str, example: &Value) {
    let mut used = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut used);
    parts.add_schemas(used);
    parts.add_message(word, summary, &T::name(), example);
}

fn of_account() -> Value {
    json!({ "workspaceId": id("ws"), "accountId": id("acc") })
}

fn id(prefix: &str) -> String {
    format!("{prefix}_01JCZ5M2V8Q4T6W8Y0A2B4C6D8")
}
