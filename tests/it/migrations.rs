//! The schema: down as well as up, and as the code believes it to be.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use latchkey_tests::TestApp;
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn migrations() -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(root().join("migrations"))?;
    let mut folders: Vec<PathBuf> =
        entries.map(|entry| Ok(entry?.path())).collect::<Result<_, std::io::Error>>()?;
    folders.sort();
    Ok(folders)
}

const TABLES: &str = "SELECT count(*) AS n FROM pg_tables WHERE schemaname = 'public' \
                      AND tablename <> '__diesel_schema_migrations'";

#[tokio::test(flavor = "multi_thread")]
async fn every_migration_can_be_taken_back_and_made_again() -> anyhow::Result<()> {
    let mut app = TestApp::start_with(latchkey_tests::app::Options {
        worker: false,
        ..latchkey_tests::app::Options::default()
    })
    .await?;
    app.stop_api().await;
    let before = app.row(TABLES).await?;
    for folder in migrations()?.iter().rev() {
        app.execute(&fs::read_to_string(folder.join("down.sql"))?).await?;
    }
    assert_eq!(app.row(TABLES).await?["n"], 0, "nothing is left");
    for folder in migrations()? {
        app.execute(&fs::read_to_string(folder.join("up.sql"))?).await?;
    }
    // The days of the three partitioned tables come back with the first boot, not with the schema.
    let days =
        before["n"].as_i64().unwrap_or(0) - app.row(TABLES).await?["n"].as_i64().unwrap_or(0);
    assert_eq!(days, 24);
    app.finish().await
}

/// `table.column Type`, as the text of the code has it. The columns that SQL calls `type` are called
/// `kind` there.
fn columns_in_code() -> anyhow::Result<BTreeSet<String>> {
    let text = fs::read_to_string(root().join("shared/src/db/schema.rs"))?;
    let tables = text.split("diesel::joinable!").next().unwrap_or_default();
    let mut columns = BTreeSet::new();
    for table in tables.split("diesel::table!").skip(1) {
        let name = table.split(['(', '{']).nth(1).unwrap_or_default().trim();
        let renamed = table.contains("#[sql_name = \"type\"]");
        for (before, after) in table.match_indices(" -> ").map(|(at, _)| table.split_at(at)) {
            let column = before.rsplit([' ', '\n']).next().unwrap_or_default();
            let column = if renamed && column == "kind" { "type" } else { column };
            let kind = after.trim_start_matches(" -> ").split(',').next().unwrap_or_default();
            columns.insert(format!("{name}.{column} {kind}"));
        }
    }
    Ok(columns)
}

fn type_in_code(column: &Value) -> String {
    let text = |key: &str| column[key].as_str().unwrap_or_default();
    let kind = match text("udt_name") {
        "text" => "Text",
        "timestamptz" => "Timestamptz",
        "int4" => "Integer",
        "int8" => "BigInt",
        "bool" => "Bool",
        "bytea" => "Bytea",
        "jsonb" => "Jsonb",
        "_text" => "Array<Text>",
        "float8" => "Double",
        other => other,
    };
    match text("is_nullable") {
        "YES" => format!("Nullable<{kind}>"),
        _ => kind.to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_code_s_idea_of_the_tables_is_the_database_s() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let query = "SELECT json_agg(c) AS columns FROM information_schema.columns c \
                 JOIN pg_class k ON k.relname = c.table_name AND NOT k.relispartition \
                 WHERE c.table_schema = 'public' AND c.table_name <> '__diesel_schema_migrations'";
    let columns = app.row(query).await?;
    let in_database: BTreeSet<String> = columns["columns"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|column| {
            let text = |key: &str| column[key].as_str().unwrap_or_default();
            format!("{}.{} {}", text("table_name"), text("column_name"), type_in_code(column))
        })
        .collect();
    let in_code = columns_in_code()?;
    let differing: Vec<&String> = in_database.symmetric_difference(&in_code).collect();
    assert!(differing.is_empty(), "on one side only: {differing:#?}");
    app.finish().await
}
