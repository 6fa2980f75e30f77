//! Commands: work for a worker, internal. One file each says who sends it and who handles it.
//!
//! A command carries ids alone. Never a token, code, verifier or secret: whoever reads a queue
//! learns nothing that the database seals.

mod callback_received;
mod check_due;
mod refresh_due;
pub mod requests;
mod revocation_due;
mod webhook_due;

pub use callback_received::CallbackReceived;
pub use check_due::CheckDue;
pub use refresh_due::{GrantRef, RefreshDue};
pub use revocation_due::RevocationDue;
pub use webhook_due::WebhookDue;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::db::text_enum;

text_enum! {
    /// The kinds of command. The word is the AMQP `type` and the routing key.
    CommandKind {
        /// [`CallbackReceived`].
        CallbackReceived = "callback_received",
        /// [`RefreshDue`].
        RefreshDue = "refresh_due",
        /// [`CheckDue`].
        CheckDue = "check_due",
        /// [`RevocationDue`].
        RevocationDue = "revocation_due",
        /// [`WebhookDue`].
        WebhookDue = "webhook_due",
    }
}

impl CommandKind {
    /// The kind that the word names.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == word)
    }
}

/// Work for a worker.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Command {
    /// Take a connect as far as it goes: the person approved, or has chosen.
    CallbackReceived(CallbackReceived),
    /// Refresh grants of one platform app.
    RefreshDue(RefreshDue),
    /// Ask the platform whether an account's own token still works.
    CheckDue(CheckDue),
    /// Tell the platform that a grant is released.
    RevocationDue(RevocationDue),
    /// Deliver one event to one endpoint.
    WebhookDue(WebhookDue),
}

/// A message that is no command of ours.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The `type` property is missing or names no command.
    #[error("the message type `{0}` names no command")]
    UnknownKind(String),
    /// The body is not what the type demands.
    #[error("the body of a `{kind}` cannot be read: {why}")]
    Body {
        /// What the type says it is.
        kind: CommandKind,
        /// What the JSON reader says.
        why: String,
    },
}

impl Command {
    /// Which command it is.
    #[must_use]
    pub fn kind(&self) -> CommandKind {
        match self {
            Self::CallbackReceived(_) => CommandKind::CallbackReceived,
            Self::RefreshDue(_) => CommandKind::RefreshDue,
            Self::CheckDue(_) => CommandKind::CheckDue,
            Self::RevocationDue(_) => CommandKind::RevocationDue,
            Self::WebhookDue(_) => CommandKind::WebhookDue,
        }
    }

    /// The JSON body.
    #[must_use]
    pub fn body(&self) -> Value {
        let body = match self {
            Self::CallbackReceived(message) => serde_json::to_value(message),
            Self::RefreshDue(message) => serde_json::to_value(message),
            Self::CheckDue(message) => serde_json::to_value(message),
            Self::RevocationDue(message) => serde_json::to_value(message),
            Self::WebhookDue(message) => serde_json::to_value(message),
        };
        body.expect("structs of ids are always JSON")
    }

    /// Reads a message.
    ///
    /// # Errors
    /// [`DecodeError`]: such a message is a dead letter.
    pub fn decode(kind: &str, body: &[u8]) -> Result<Self, DecodeError> {
        let kind = CommandKind::of(kind)
            .ok_or_else(|| DecodeError::UnknownKind(kind.chars().take(64).collect()))?;
        Ok(match kind {
            CommandKind::CallbackReceived => Self::CallbackReceived(read(kind, body)?),
            CommandKind::RefreshDue => Self::RefreshDue(read(kind, body)?),
            CommandKind::CheckDue => Self::CheckDue(read(kind, body)?),
            CommandKind::RevocationDue => Self::RevocationDue(read(kind, body)?),
            CommandKind::WebhookDue => Self::WebhookDue(read(kind, body)?),
        })
    }
}

fn read<T: DeserializeOwned>(kind: CommandKind, body: &[u8]) -> Result<T, DecodeError> {
    serde_json::from_slice(body).map_err(|error| DecodeError::Body { kind, why: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ULID: &str = "01JCZ5M2V8Q4T6W8Y0A2B4C6D8";

    /// The published form of each command: a change here breaks messages already in queues.
    fn golden() -> Vec<(CommandKind, String)> {
        vec![
            (
                CommandKind::CallbackReceived,
                format!(r#"{{"workspaceId":"ws_{ULID}","connectId":"con_{ULID}"}}"#),
            ),
            (
                CommandKind::RefreshDue,
                format!(
                    r#"{{"platform":"SANDBOX","grants":[{{"workspaceId":"ws_{ULID}","grantId":"grt_{ULID}"}}]}}"#
                ),
            ),
            (
                CommandKind::CheckDue,
                format!(r#"{{"workspaceId":"ws_{ULID}","accountId":"acc_{ULID}"}}"#),
            ),
            (
                CommandKind::RevocationDue,
                format!(r#"{{"workspaceId":"ws_{ULID}","grantId":"grt_{ULID}"}}"#),
            ),
            (
                CommandKind::WebhookDue,
                format!(r#"{{"organisationId":"org_{ULID}","deliveryId":"dlv_{ULID}"}}"#),
            ),
        ]
    }

    #[test]
    fn every_command_keeps_its_form() {
        let golden = golden();
        assert_eq!(golden.len(), CommandKind::ALL.len());
        for (kind, json) in golden {
            let command = Command::decode(kind.as_str(), json.as_bytes()).unwrap();
            assert_eq!(command.kind(), kind);
            assert_eq!(command.body(), serde_json::from_str::<Value>(&json).unwrap());
        }
    }

    #[test]
    fn what_is_no_command_is_refused() {
        assert!(matches!(Command::decode("sing", b"{}"), Err(DecodeError::UnknownKind(_))));
        for body in ["", "{}", "[]", r#"{"workspaceId":"ws_x","connectId":"con_y"}"#] {
            assert!(matches!(
                Command::decode("callback_received", body.as_bytes()),
                Err(DecodeError::Body { .. })
            ));
        }
    }
}
