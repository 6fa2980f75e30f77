//! The role that `migrate --grant-to` makes fit for API and workers. Every test runs as it; these say what it may not do.

use diesel_async::SimpleAsyncConnection as _;
use latchkey_shared::boot::Exit;
use latchkey_tests::TestApp;
use latchkey_tests::app::{Options, ROWS_ROLE};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn it_changes_no_schema_and_reaches_nothing_else() -> anyhow::Result<()> {
    let app = TestApp::start_with(Options { worker: false, ..Options::default() }).await?;
    let db = app.db()?;
    let user = format!("DO $$ BEGIN ASSERT current_user = '{ROWS_ROLE}'; END $$");
    db.conn().await?.batch_execute(&user).await?;
    for forbidden in [
        "CREATE TABLE mine (id text)",
        "ALTER TABLE accounts ADD COLUMN mine text",
        "DROP TABLE accounts",
        "TRUNCATE accounts",
        "DROP TABLE events_default",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql RETURN 1",
        "CREATE EXTENSION dblink",
        "CREATE ROLE mine",
        "COPY accounts TO PROGRAM 'cat'",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT rolpassword FROM pg_authid",
        "DELETE FROM __diesel_schema_migrations",
        "SELECT make_partition('accounts', current_date)",
        "SELECT drop_partition('events_default; --', current_date)",
    ] {
        let done = db.conn().await?.batch_execute(forbidden).await;
        assert!(done.is_err(), "{forbidden}");
    }
    // A table of its own, of a name that the functions look for, deceives them in nothing.
    let deceive = "CREATE TEMP TABLE outbox_default (created_at timestamptz);
                   SELECT make_partition('outbox', current_date + 30)";
    db.conn().await?.batch_execute(deceive).await?;
    let made =
        app.row("SELECT count(*) AS n FROM pg_inherits WHERE inhparent = 'outbox'::regclass");
    assert_eq!(made.await?["n"], 10);
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate_grants_it_again_and_again() -> anyhow::Result<()> {
    let app = TestApp::start_with(Options { worker: false, ..Options::default() }).await?;
    let migrate = async |role: &str| {
        let mut command = app.command("latchkey-api")?;
        let command = command.env("DATABASE_URL", app.owner_url());
        anyhow::Ok(command.args(["migrate", "--grant-to", role]).output().await?)
    };
    for nobody in ["", "nobody", "no\"; DROP TABLE accounts; --", "no$1'%I"] {
        let missing = migrate(nobody).await?;
        assert_eq!(missing.status.code(), Some(Exit::Failed as i32));
        let said = String::from_utf8_lossy(&missing.stderr).into_owned();
        assert!(said.contains("there is no role") && said.contains("CREATE ROLE"), "{said}");
    }
    app.execute(&format!("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {ROWS_ROLE}")).await?;
    for _ in 0..2 {
        let done = migrate(ROWS_ROLE).await?;
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    let may = format!(
        "SELECT has_table_privilege('{ROWS_ROLE}', 'accounts', 'UPDATE') AS rows,
                has_table_privilege('{ROWS_ROLE}', 'accounts', 'TRUNCATE') AS all_rows"
    );
    assert_eq!(app.row(&may).await?, json!({ "rows": true, "all_rows": false }));
    app.finish().await
}
