//! A database for one test, copied from a template that has every migration.

use std::path::Path;

use anyhow::Context as _;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Jsonb, Text};
use diesel::{OptionalExtension as _, QueryableByName};
use diesel_async::{RunQueryDsl as _, SimpleAsyncConnection as _};
use latchkey_shared::clock::Clock;
use latchkey_shared::db::{Db, Server, Session, migrate, role};
use latchkey_shared::random;
use latchkey_shared::tls::Trust;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use url::Url;

use super::eventually;

/// The database of one test.
pub(super) struct TestDatabase {
    server: Url,
    name: String,
    url: String,
    trust: Trust,
    db: Db,
}

/// The second role of the test server. It has the owner's password.
pub const ROWS_ROLE: &str = "latchkey_rows";
/// How many looks at once have a connection.
const LOOKS: u32 = 4;
/// One test at a time looks whether the template is there.
const TEMPLATE_LOCK: i64 = 0x6c6b_7465_6d70;

#[derive(QueryableByName)]
struct JsonRow {
    #[diesel(sql_type = Jsonb)]
    row: Value,
}

#[derive(QueryableByName)]
struct Name {
    #[expect(dead_code, reason = "only whether there is one matters")]
    #[diesel(sql_type = Text)]
    datname: String,
}

impl TestDatabase {
    pub(super) async fn create(server: &SecretString, trust: Trust) -> anyhow::Result<Self> {
        let server: Url = server.expose_secret().parse()?;
        let mut admin = open(server.as_str(), &trust).await?;
        let template = ensure_template(&mut admin, &server, &trust).await?;
        let name = format!("latchkey_test_{}", hex::encode(random::bytes::<8>()));
        admin.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE {template}")).await?;
        let url = at(&server, &name);
        let db = Db::new(&reach(&url, &trust)?, LOOKS, Clock::system());
        Ok(Self { server, name, url, trust, db })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The URL for API and workers, by the role that may only read and write rows.
    pub(super) fn rows_url(&self) -> anyhow::Result<String> {
        let mut url: Url = self.url.parse()?;
        let named = url.set_username(ROWS_ROLE);
        named.map_err(|()| anyhow::anyhow!("the server's URL takes no user"))?;
        Ok(url.into())
    }

    pub(super) async fn row(&self, query: &str) -> anyhow::Result<Value> {
        let mut conn = self.db.conn().await?;
        let query = format!("SELECT to_jsonb(q) AS row FROM ({query}) q LIMIT 1");
        let row: JsonRow =
            sql_query(query).get_result(&mut *conn).await.context("the query brought no row")?;
        Ok(row.row)
    }

    pub(super) async fn execute(&self, statement: &str) -> anyhow::Result<()> {
        let mut conn = self.db.conn().await?;
        Ok(conn.batch_execute(statement).await?)
    }

    pub(super) async fn drop_database(&self) -> anyhow::Result<()> {
        let mut admin = open(self.server.as_str(), &self.trust).await?;
        Ok(admin.batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", self.name)).await?)
    }
}

/// What tests ask may take as long as it takes on a machine that does much else.
fn reach(url: &str, trust: &Trust) -> anyhow::Result<Server> {
    Ok(Server::new(url, trust).map_err(anyhow::Error::msg)?.patient())
}

/// For making and dropping databases.
async fn open(url: &str, trust: &Trust) -> anyhow::Result<Session> {
    let db = Db::new(&reach(url, trust)?, 1, Clock::system());
    let mut conn = eventually(|| async { Ok(db.conn().await.ok()) }).await?;
    conn.batch_execute("SET lock_timeout = 0; SET statement_timeout = 0").await?;
    Ok(conn)
}

/// The template of these very migrations, made by whoever comes first.
async fn ensure_template(
    admin: &mut Session,
    server: &Url,
    trust: &Trust,
) -> anyhow::Result<String> {
    let name = format!("latchkey_template_{}_rows", hash_of_migrations()?);
    sql_query("SELECT pg_advisory_lock($1)")
        .bind::<BigInt, _>(TEMPLATE_LOCK)
        .execute(&mut **admin)
        .await?;
    let there: Option<Name> = sql_query("SELECT datname::text FROM pg_database WHERE datname = $1")
        .bind::<Text, _>(&name)
        .get_result(&mut **admin)
        .await
        .optional()?;
    if there.is_none() {
        // Under another name until it is whole: a run that is cut off leaves no half template.
        let draft = format!("{name}_draft");
        admin.batch_execute(&format!("DROP DATABASE IF EXISTS {draft} WITH (FORCE)")).await?;
        admin.batch_execute(&format!("CREATE DATABASE {draft}")).await?;
        let reached = reach(&at(server, &draft), trust)?;
        migrate::run(&reached).await?;
        role::grant(&reached, ROWS_ROLE).await?;
        wait_until_unused(admin, &draft).await?;
        admin.batch_execute(&format!("ALTER DATABASE {draft} RENAME TO {name}")).await?;
    }
    sql_query("SELECT pg_advisory_unlock($1)")
        .bind::<BigInt, _>(TEMPLATE_LOCK)
        .execute(&mut **admin)
        .await?;
    Ok(name)
}

/// A connection that was dropped is gone only when the server has noticed.
async fn wait_until_unused(admin: &mut Session, name: &str) -> anyhow::Result<()> {
    let terminate = format!(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}'"
    );
    Ok(admin.batch_execute(&terminate).await?)
}

fn at(server: &Url, database: &str) -> String {
    let mut url = server.clone();
    url.set_path(database);
    url.into()
}

fn hash_of_migrations() -> anyhow::Result<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations");
    let mut files: Vec<_> = std::fs::read_dir(&folder)?
        .map(|entry| Ok(entry?.path().join("up.sql")))
        .collect::<Result<_, std::io::Error>>()?;
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        hash.update(std::fs::read(file)?);
    }
    Ok(hex::encode(&hash.finalize()[..6]))
}
