//! What was told is what the AsyncAPI document says.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::TestApp;

impl TestApp {
    /// Asserts that every event in the log is of its type's schema.
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
        for event in &events {
            let kind = event["type"].as_str().unwrap_or_default();
            let message = &document["components"]["messages"][kind];
            let wrong = complaints(&document, &message["payload"], event)?;
            ensure!(wrong.is_empty(), "{event:#} is not as documented: {wrong:?}");
        }
        Ok(())
    }
}

/// What a schema of the document has against a value.
pub(crate) fn complaints(
    document: &Value,
    schema: &Value,
    value: &Value,
) -> anyhow::Result<Vec<String>> {
    let reference = schema["$ref"].as_str().context("a payload refers to its schema")?;
    let schema = json!({ "$ref": reference, "components": document["components"] });
    let validator = jsonschema::validator_for(&schema)?;
    Ok(validator.iter_errors(value).map(|error| error.to_string()).collect())
}
