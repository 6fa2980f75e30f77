//! What PostgreSQL remembers of the statements that it ran.

use std::fmt;

use anyhow::{Context as _, ensure};
use latchkey_tests::app::{PrivateServers, Server};
use serde::Deserialize;
use tokio::process::Command;

/// Blocks of 8 KiB that a statement may read, and for each row that it answers or writes.
const BLOCKS: f64 = 200.0;
const BLOCKS_A_ROW: f64 = 25.0;

/// A statement, with what one call of it read and answered on average.
#[derive(Debug, Deserialize)]
pub(super) struct Statement {
    query: String,
    calls: i64,
    rows: f64,
    blocks: f64,
}

impl Statement {
    pub(super) fn is_greedy(&self) -> bool {
        self.blocks > BLOCKS + BLOCKS_A_ROW * self.rows
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let query = self.query.split_whitespace().collect::<Vec<_>>().join(" ");
        write!(
            f,
            "{:.0} blocks for {:.1} rows, {} calls: {query}",
            self.blocks, self.rows, self.calls
        )
    }
}

async fn psql(url: &str, statement: &str) -> anyhow::Result<String> {
    let output = Command::new("psql")
        .args([url, "--no-psqlrc", "-v", "ON_ERROR_STOP=1", "-Atc", statement])
        .output()
        .await
        .context("psql is missing")?;
    ensure!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// Has the server count from its next start on.
pub(super) async fn watch(servers: &PrivateServers, superuser: &str) -> anyhow::Result<()> {
    psql(superuser, "ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'").await?;
    servers.stop(Server::Postgres).await?;
    servers.start_again(Server::Postgres).await
}

/// Counts from now on, and by what the tables hold now.
pub(super) async fn forget(database: &str) -> anyhow::Result<()> {
    psql(database, "CREATE EXTENSION pg_stat_statements").await?;
    psql(database, "VACUUM (ANALYZE)").await?;
    psql(database, "SELECT pg_stat_statements_reset()").await.map(drop)
}

/// What API and workers ran since then, save that which drops a table and so looks through the catalog.
pub(super) async fn read(database: &str) -> anyhow::Result<Vec<Statement>> {
    let query = "SELECT coalesce(json_agg(s ORDER BY blocks DESC), '[]') FROM (
        SELECT query, calls, rows::float8 / calls AS rows,
            (shared_blks_hit + shared_blks_read)::float8 / calls AS blocks
        FROM pg_stat_statements s JOIN pg_roles r ON r.oid = s.userid JOIN pg_database d ON d.oid = s.dbid
        WHERE d.datname = current_database() AND r.rolname = 'latchkey_rows'
          AND query NOT LIKE '%drop_partition%') AS s";
    Ok(serde_json::from_str(psql(database, query).await?.trim())?)
}
