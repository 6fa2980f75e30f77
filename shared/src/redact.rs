//! What of a message may be kept in plain for a person to look at: ids of ours, and the shape around them.
//!
//! Strangers write messages, and some of them put a password where it does not belong. So nothing is kept that
//! could be one: a text is kept if it is an id of ours, a name if it is a field of ours.

use serde_json::{Map, Value, json};

use crate::{body, ids};

/// The fields that commands, events and requests name things by.
const FIELDS: [&str; 17] = [
    "accountId",
    "accountIds",
    "appId",
    "connectId",
    "data",
    "deliveryId",
    "eventId",
    "grantId",
    "grants",
    "id",
    "metadata",
    "organisationId",
    "platform",
    "profileId",
    "redirectUrl",
    "type",
    "workspaceId",
];
/// More elements of a list say nothing new.
const MAX_ELEMENTS: usize = 20;

/// A body with everything replaced that is no id of ours.
#[must_use]
pub fn body(bytes: &[u8]) -> Value {
    match body::read_shallow(bytes) {
        Some(value) => redacted(value),
        None => json!(format!("{} bytes that are not JSON, or are nested too deep", bytes.len())),
    }
}

/// A text that fits a column: PostgreSQL stores no NUL.
#[must_use]
pub fn text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

fn redacted(value: Value) -> Value {
    match value {
        Value::String(text) if ids::is_id(&text) => Value::String(text),
        Value::String(text) => json!(format!("{} characters", text.chars().count())),
        Value::Number(_) => json!("a number"),
        Value::Array(elements) => elements.into_iter().take(MAX_ELEMENTS).map(redacted).collect(),
        Value::Object(members) => object(members),
        Value::Null | Value::Bool(_) => value,
    }
}

fn object(members: Map<String, Value>) -> Value {
    let all = members.len();
    let known = members.into_iter().filter(|(name, _)| FIELDS.contains(&name.as_str()));
    let mut kept: Map<_, _> = known.map(|(name, value)| (name, redacted(value))).collect();
    if kept.len() < all {
        kept.insert("other fields".to_owned(), json!(all - kept.len()));
    }
    Value::Object(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ULID: &str = "01JCZ5M2V8Q4T6W8Y0A2B4C6D8";

    #[test]
    fn ids_stay_and_whatever_else_was_written_does_not() {
        let (account, workspace) = (format!("acc_{ULID}"), format!("ws_{ULID}"));
        let written = json!({
            "workspaceId": workspace, "platform": "hunter2", "accountIds": [account, "hunter2"], "id": 4711,
            "hunter2": 1, "password": "hunter2", "metadata": { "hunter2": "hunter2", "id": workspace },
        });
        let kept = body(written.to_string().as_bytes());
        assert_eq!(kept["workspaceId"], workspace);
        assert_eq!(kept["accountIds"], json!([account, "7 characters"]));
        assert_eq!(kept["metadata"], json!({ "id": workspace, "other fields": 1 }));
        assert_eq!(kept["other fields"], 2);
        assert!(!kept.to_string().contains("hunter2") && !kept.to_string().contains("4711"));
    }

    #[test]
    fn what_is_no_json_is_counted() {
        for bytes in [&b"hunter2"[..], &[0xff, 0], "[".repeat(100_000).as_bytes()] {
            let kept = body(bytes);
            assert!(kept.as_str().is_some_and(|kept| kept.starts_with(&bytes.len().to_string())));
        }
        assert_eq!(
            body(format!("[{}1]", "1,".repeat(5_000)).as_bytes()).as_array().map(Vec::len),
            Some(20)
        );
    }

    #[test]
    fn a_text_has_no_nul() {
        assert_eq!(text("a\0b"), "a\u{fffd}b");
    }
}
