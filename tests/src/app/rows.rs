//! What a workspace's rows say, without what differs every time: so that two runs can be compared.

use anyhow::Context as _;
use serde_json::{Map, Value};

use super::{TestApp, eventually};

/// How often a thing was tried, and by whom, may differ between two runs that end the same; so may
/// how far a message of the outbox is, which the executor and the relay write.
const INCIDENTAL: &[(&str, &[&str])] = &[
    ("account_history", &["position"]),
    ("accounts", &["check_failures"]),
    ("events", &["xid"]),
    ("grants", &["attempts", "dispatches", "lease_holder"]),
    ("webhook_deliveries", &["attempts", "round_start"]),
    (
        "outbox",
        &[
            "attempts",
            "unfinished",
            "publications",
            "available_at",
            "done_at",
            "ending",
            "last_error",
        ],
    ),
];

/// What passes as soon as nothing is refused any more: the server is shut down.
const PASSING: &str = "57P01";
/// What never passes: bytes that the column's encoding does not have.
const NEVER: &str = "22021";

impl TestApp {
    /// Has the database refuse to update a column of the rows for which `when` holds, as if it went away.
    ///
    /// # Errors
    /// When a statement fails.
    pub async fn refuse_updates(
        &self,
        (table, column): (&str, &str),
        when: &str,
    ) -> anyhow::Result<()> {
        let what = format!("UPDATE OF {column} ON {table} FOR EACH ROW WHEN ({when})");
        self.refuse(&what, PASSING).await
    }

    /// Has the database refuse every new row of a table.
    ///
    /// # Errors
    /// When a statement fails.
    pub async fn refuse_inserts(&self, table: &str) -> anyhow::Result<()> {
        self.refuse(&format!("INSERT ON {table} FOR EACH ROW"), PASSING).await
    }

    /// The same, for values that it never takes.
    ///
    /// # Errors
    /// When a statement fails.
    pub async fn refuse_inserts_for_good(&self, table: &str) -> anyhow::Result<()> {
        self.refuse(&format!("INSERT ON {table} FOR EACH ROW"), NEVER).await
    }

    /// Ends what [`Self::refuse_inserts`] began.
    ///
    /// # Errors
    /// When a statement fails.
    pub async fn refuse_no_more(&self, table: &str) -> anyhow::Result<()> {
        self.execute(&format!("DROP TRIGGER refuse ON {table}")).await
    }

    async fn refuse(&self, what: &str, code: &str) -> anyhow::Result<()> {
        self.execute(&format!(
            "CREATE SEQUENCE refused; CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS \
             $$ BEGIN PERFORM nextval('refused'); RAISE EXCEPTION 'refused' USING ERRCODE = '{code}'; END $$"
        ))
        .await?;
        self.execute(&format!("CREATE TRIGGER refuse BEFORE {what} EXECUTE FUNCTION refuse()"))
            .await
    }

    /// Waits until it has refused so many updates.
    ///
    /// # Errors
    /// When it does not.
    pub async fn refused(&self, times: i64) -> anyhow::Result<()> {
        // A sequence counts what was rolled back, too.
        let tried = format!("SELECT is_called AND last_value >= {times} AS enough FROM refused");
        eventually(|| async { Ok((self.row(&tried).await?["enough"] == true).then_some(())) }).await
    }

    /// Has it take updates of the table again.
    ///
    /// # Errors
    /// When the statement fails.
    pub async fn allow_updates(&self, table: &str) -> anyhow::Result<()> {
        self.execute(&format!("DROP TRIGGER refuse ON {table}")).await
    }

    /// The rows of a workspace in every table, comparable: ids are their prefixes, instants and
    /// sealed bytes only there or not there.
    ///
    /// # Errors
    /// When a query fails.
    pub async fn rows(&self, workspace: &str) -> anyhow::Result<Value> {
        let tables = self
            .row(
                "SELECT json_agg(c.relname ORDER BY c.relname) AS names FROM pg_class c
                 JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'workspace_id'
                 WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
                   AND c.relnamespace = 'public'::regnamespace",
            )
            .await?;
        let mut queries: Vec<(String, String)> = Vec::new();
        for table in tables["names"].as_array().context("there are tables")? {
            let table = table.as_str().context("a table has a name")?;
            queries.push((table.to_owned(), format!("workspace_id = '{workspace}'")));
        }
        queries.push((
            "webhook_deliveries".to_owned(),
            format!("event_id IN (SELECT id FROM events WHERE workspace_id = '{workspace}')"),
        ));
        queries.push(("outbox".to_owned(), format!("to_jsonb(t)::text LIKE '%{workspace}%'")));
        let mut all = Map::new();
        for (table, whose) in queries {
            let query = format!(
                "SELECT coalesce(jsonb_agg(to_jsonb(t)), '[]') AS rows FROM {table} t WHERE {whose}"
            );
            let rows = self.row(&query).await?["rows"].clone();
            all.insert(table.clone(), comparable(&table, rows));
        }
        Ok(Value::Object(all))
    }
}

fn comparable(table: &str, rows: Value) -> Value {
    let dropped = INCIDENTAL.iter().find(|(name, _)| *name == table).map_or(&[][..], |(_, d)| *d);
    let Value::Array(rows) = rows else { return rows };
    let mut rows: Vec<Value> = rows
        .into_iter()
        .map(|mut row| {
            if let Some(row) = row.as_object_mut() {
                row.retain(|column, _| !dropped.contains(&column.as_str()));
            }
            blur(row)
        })
        .collect();
    rows.sort_by_key(Value::to_string);
    // A history tells of every try that failed.
    rows.dedup_by(|one, other| one == other && one["type"] == "refresh.failed");
    Value::Array(rows)
}

fn blur(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(name, value)| (name, blur(value))).collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(blur).collect()),
        Value::String(text) => Value::String(blur_text(&text)),
        other => other,
    }
}

fn blur_text(text: &str) -> String {
    if text.starts_with("\\x") {
        return "bytes".to_owned();
    }
    if chrono::DateTime::parse_from_rfc3339(text).is_ok() {
        return "time".to_owned();
    }
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split_inclusive(|c| !word(c))
        .map(|part| match part.split_once('_') {
            Some((prefix, rest)) if rest.trim_end_matches(|c| !word(c)).len() == 26 => prefix,
            _ => part,
        })
        .collect()
}
