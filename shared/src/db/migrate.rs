//! Brings the schema up to date, one process at a time.

use diesel_async::{AsyncMigrationHarness, SimpleAsyncConnection as _};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness as _, embed_migrations};

use super::{DbError, Server, partitions};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../migrations");

/// "latchkey" in ASCII: the advisory lock that migrations are run under.
const LOCK: i64 = 0x6c61_7463_686b_6579;

/// Runs what has not run yet, under an advisory lock, then makes the partitions of the days ahead.
/// Answers the names of the migrations that it ran. Needs a multi-threaded runtime.
///
/// # Errors
/// When the server is away or a migration fails (which leaves the ones before it in place).
pub async fn run(server: &Server) -> anyhow::Result<Vec<String>> {
    let opened = server.connect_patiently().await;
    let mut conn = opened.map_err(|error| DbError::Unavailable(error.to_string()))?;
    conn.batch_execute(&format!("SET statement_timeout = 0; SELECT pg_advisory_lock({LOCK})"))
        .await?;
    let mut harness = AsyncMigrationHarness::new(conn);
    let ran = harness
        .run_pending_migrations(MIGRATIONS)
        .map(|versions| versions.iter().map(ToString::to_string).collect())
        .map_err(|error| anyhow::anyhow!("a migration failed: {error}"));
    let mut conn = harness.into_inner();
    partitions::ensure(&mut conn).await?;
    conn.batch_execute(&format!("SELECT pg_advisory_unlock({LOCK})")).await?;
    ran
}
