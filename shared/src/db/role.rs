//! What a process may do that only reads and writes rows: so that an attacker who takes it over cannot change the schema,
//! read files, or make roles.

use diesel::sql_types::Text;
use diesel::{QueryableByName, sql_query};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection as _};

use super::{DbError, Server, Yes};

/// Of the schema and the role.
const GRANTS: &str = "
    GRANT USAGE ON SCHEMA %1$I TO %2$I;
    GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %1$I TO %2$I;
    REVOKE INSERT, UPDATE, DELETE ON __diesel_schema_migrations FROM %2$I;
    GRANT USAGE ON ALL SEQUENCES IN SCHEMA %1$I TO %2$I;
    GRANT EXECUTE ON FUNCTION make_partition, drop_partition TO %2$I;";

#[derive(QueryableByName)]
struct Statements {
    #[diesel(sql_type = Text)]
    statements: String,
}

/// Gives a role what API and workers need of the schema, also of what a migration has just added. Once more changes
/// nothing.
///
/// # Errors
/// When the server is away, or there is no such role, or it is not ours to give.
pub async fn grant(server: &Server, role: &str) -> anyhow::Result<()> {
    let opened = server.connect_patiently().await;
    let mut conn = opened.map_err(|error| DbError::Unavailable(error.to_string()))?;
    anyhow::ensure!(
        exists(&mut conn, role).await?,
        "there is no role `{role}`: make it first, with CREATE ROLE … LOGIN PASSWORD"
    );
    let query = sql_query("SELECT format($1, current_schema(), $2) AS statements");
    let Statements { statements } =
        query.bind::<Text, _>(GRANTS).bind::<Text, _>(role).get_result(&mut conn).await?;
    conn.batch_execute(&statements).await?;
    Ok(())
}

async fn exists(conn: &mut AsyncPgConnection, role: &str) -> Result<bool, DbError> {
    let query = sql_query("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1) AS yes");
    Ok(query.bind::<Text, _>(role).get_result::<Yes>(conn).await?.yes)
}
