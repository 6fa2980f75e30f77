//! The AsyncAPI document: every message that passes between Latchkey and others, made from the types
//! that are sent. Names of exchanges are those of the default prefix.

mod requests;

use latchkey_shared::events::{EventType, example};
use serde_json::{Map, Value, json};
use utoipa::openapi::{RefOr, Schema};

const SCHEMAS: &str = "#/components/schemas";
/// Before the type of an answer that is an event's, too.
const ANSWER: &str = "answer.";
const MESSAGES: &str = "#/components/messages";
const ABOUT: &str = "What Latchkey tells, over RabbitMQ and by webhook, and what producers ask of it over \
                     RabbitMQ. Of a type that was published, members may be added and nothing else changes: \
                     pass over members and types that you do not know. No message holds a token.";
const EVENTS: &str = "Each event once or more often, with the same id. Bind a queue of yours; `*` stands for \
                      one word and `#` for any number: `*.account.connected`, `ws_….#`.";
const WEBHOOK: &str = "A POST to each endpoint that listens, signed by Standard Webhooks 1.0.0: headers \
                       `webhook-id`, `webhook-timestamp`, `webhook-signature`. Any 2xx takes it.";

/// The whole document.
#[must_use]
pub fn document() -> Value {
    let mut parts = Parts::default();
    for kind in EventType::ALL {
        parts.add_event(*kind);
    }
    requests::add(&mut parts);
    let events: Vec<&str> = EventType::ALL.iter().map(|kind| kind.as_str()).collect();
    let events = message_refs(&events);
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Latchkey",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
        },
        "defaultContentType": "application/json",
        "channels": {
            "events": {
                "address": "{owner}.{type}",
                "description": EVENTS,
                "parameters": {
                    "owner": { "description": "The workspace; the organisation where it concerns none." },
                    "type": { "description": "The event's type, two words." },
                },
                "messages": events,
                "bindings": { "amqp": exchange("latchkey.events") },
            },
            "webhook": { "address": null, "description": WEBHOOK, "messages": events },
            "requests": requests::channel(),
            "replies": requests::replies(),
        },
        "operations": operations(),
        "components": { "schemas": parts.schemas, "messages": parts.messages },
    })
}

fn operations() -> Map<String, Value> {
    let mut operations = requests::operations();
    let by_broker = operation("send", "events", "Tell subscribers what happened.");
    operations.insert("tellByBroker".to_owned(), by_broker);
    let by_webhook = operation("send", "webhook", "Tell webhook endpoints what happened.");
    operations.insert("tellByWebhook".to_owned(), by_webhook);
    operations
}

/// Messages, and the schemas that they refer to.
#[derive(Default)]
struct Parts {
    schemas: Map<String, Value>,
    messages: Map<String, Value>,
}

impl Parts {
    fn add_event(&mut self, kind: EventType) {
        let (data, schema) = kind.schema();
        let mut used = vec![(data.clone(), schema)];
        kind.parts(&mut used);
        self.add_schemas(used);
        let name = format!("{data}Event.{kind}");
        let description = kind.description();
        self.schemas.insert(name.clone(), envelope(kind, &data));
        let payload = json!({
            "id": "evt_01JCZ5M2V8Q4T6W8Y0A2B4C6D8",
            "type": kind,
            "timestamp": "2026-03-01T09:30:00.000Z",
            "workspaceId": "ws_01JCZ5M2V8Q4T6W8Y0A2B4C6D8",
            "sequence": kind.as_str().starts_with("account.").then_some(42),
            "data": example(kind),
        });
        self.add_message(kind.as_str(), &description, &name, &payload);
    }

    /// Adds a message under its type; `answer.` before it tells an answer from an event of the same type.
    fn add_message(&mut self, key: &str, summary: &str, schema: &str, example: &Value) {
        let kind = key.strip_prefix(ANSWER).unwrap_or(key);
        let message = json!({
            "name": kind,
            "summary": summary,
            "payload": { "$ref": format!("{SCHEMAS}/{schema}") },
            "examples": [{ "name": kind, "payload": example }],
            "bindings": { "amqp": { "messageType": kind, "bindingVersion": "0.3.0" } },
        });
        self.messages.insert(key.to_owned(), message);
    }

    fn add_schemas(&mut self, schemas: Vec<(String, RefOr<Schema>)>) {
        for (name, schema) in schemas {
            let schema = serde_json::to_value(schema).expect("schemas are always JSON");
            self.schemas.insert(name, schema);
        }
    }
}

/// What stands around the data of every event.
fn envelope(kind: EventType, data: &str) -> Value {
    json!({
        "type": "object",
        "description": kind.description(),
        "required": ["id", "type", "timestamp", "workspaceId", "sequence", "data"],
        "properties": {
            "id": { "type": "string", "description": "The same however often it comes; also `webhook-id` and the AMQP `message_id`." },
            "type": { "const": kind },
            "timestamp": { "type": "string", "format": "date-time", "description": "When it happened." },
            "workspaceId": { "type": ["string", "null"], "description": "Where; null: to the organisation." },
            "sequence": { "type": ["integer", "null"], "description": "Counts the events of one account, without gaps; null for events without one." },
            "data": { "$ref": format!("{SCHEMAS}/{data}") },
        },
    })
}

fn message_ref(name: &str) -> Value {
    json!({ "$ref": format!("{MESSAGES}/{name}") })
}

/// The messages of a channel, by their names.
fn message_refs(names: &[&str]) -> Map<String, Value> {
    names.iter().map(|name| ((*name).to_owned(), message_ref(name))).collect()
}

fn operation(action: &str, channel: &str, summary: &str) -> Value {
    json!({
        "action": action,
        "channel": { "$ref": format!("#/channels/{channel}") },
        "summary": summary,
    })
}

fn exchange(name: &str) -> Value {
    json!({
        "is": "routingKey",
        "exchange": { "name": name, "type": "topic", "durable": true, "autoDelete": false },
        "bindingVersion": "0.3.0",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_as_it_was_read() {
        insta::assert_json_snapshot!(document(), { ".info.version" => "[version]" });
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let text = document.to_string();
        for rest in text.split("\"$ref\":\"#").skip(1) {
            let pointer = rest.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
    }

    #[test]
    fn every_example_is_valid() {
        let document = document();
        for (name, message) in document["components"]["messages"].as_object().unwrap() {
            let reference = &message["payload"]["$ref"];
            let schema = json!({ "$ref": reference, "components": document["components"] });
            let validator = jsonschema::validator_for(&schema).unwrap();
            for example in message["examples"].as_array().unwrap() {
                let wrong: Vec<String> =
                    validator.iter_errors(&example["payload"]).map(|e| e.to_string()).collect();
                assert!(wrong.is_empty(), "{name}: {wrong:?}");
            }
        }
    }
}
