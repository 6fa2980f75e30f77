//! The receipt of a revocation: what became of an account's tokens, and what the platform said.

use chrono::SecondsFormat;
use latchkey_shared::clock::Clock;
use serde_json::{Value, json};

/// A receipt as it stands on the account.
#[must_use]
pub fn new(clock: &Clock, status: &str, platform_answer: Option<Value>) -> Value {
    json!({
        "status": status,
        "at": clock.now().to_rfc3339_opts(SecondsFormat::Millis, true),
        "platformAnswer": platform_answer,
    })
}
