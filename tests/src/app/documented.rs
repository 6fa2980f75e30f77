//! What was told is what the AsyncAPI document says.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use jsonschema::Validator;
use serde_json::{Value, json};

use super::TestApp;

const CATALOGUE: &str = include_str!("../../../docs/EVENTS.md");

impl TestApp {
    /// Asserts that every event in the log is of its type's schema, and that the catalogue says what it means
    /// why a connect ended.
    ///
    /// # Errors
    /// The events that are not.
    pub(super) async fn events_are_documented(&self) -> anyhow::Result<()> {
        let query = "SELECT json_agg(DISTINCT jsonb_build_object(
                 'id', id, 'type', type, 'timestamp', to_char(created_at, 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'),
                 'workspaceId', workspace_id, 'sequence', sequence, 'data', data)) AS all FROM events";
        let events = self.row(query).await?;
        let events = events["all"].as_array().cloned().unwrap_or_default();
        let document = latchkey_api::asyncapi_document();
        let mut validators: BTreeMap<&str, Validator> = BTreeMap::new();
        for event in &events {
            let kind = event["type"].as_str().unwrap_or_default();
            if !validators.contains_key(kind) {
                validators.insert(kind, validator(&document, kind)?);
            }
            let wrong = validators[kind].iter_errors(event).map(|error| error.to_string());
            let wrong: Vec<String> = wrong.collect();
            ensure!(wrong.is_empty(), "{event:#} is not as documented: {wrong:?}");
            if kind == "connect.failed" {
                let reason = format!("`{}`", event["data"]["reason"].as_str().unwrap_or_default());
                let told =
                    CATALOGUE.lines().any(|row| row.starts_with('|') && row.contains(&reason));
                ensure!(told, "the catalogue does not say what {reason} means");
            }
        }
        Ok(())
    }
}

/// The schema of a type's message.
fn validator(document: &Value, kind: &str) -> anyhow::Result<Validator> {
    let payload = &document["components"]["messages"][kind]["payload"];
    let reference = payload["$ref"].as_str().with_context(|| format!("{kind} has a schema"))?;
    let components = &document["components"]["schemas"];
    let schema = json!({ "$ref": reference, "components": { "schemas": components } });
    Ok(jsonschema::validator_for(&schema)?)
}
