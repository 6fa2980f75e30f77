//! Days of `events`, `account_history` and `outbox`: made ahead, dropped whole. The schema's functions do both,
//! since the role that a process has may not.

use chrono::{Days, NaiveDate};
use diesel::sql_types::{BigInt, Date, Text};
use diesel::{QueryableByName, sql_query};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::{DbError, Yes, read_now};

/// How many days ahead partitions are made.
const DAYS_AHEAD: u64 = 7;

/// The tables that are partitioned by day of `created_at`.
const TABLES: [&str; 3] = ["events", "account_history", "outbox"];

#[derive(QueryableByName)]
struct Name {
    #[diesel(sql_type = Text)]
    name: String,
}

/// Makes the partitions of today and the days ahead; answers how many it made. A day whose rows
/// already went to the default partition stays there.
///
/// # Errors
/// When a statement fails.
pub async fn ensure(conn: &mut AsyncPgConnection) -> Result<usize, DbError> {
    let today = read_now(conn).await?.date_naive();
    let mut made = 0;
    for table in TABLES {
        for ahead in 0..=DAYS_AHEAD {
            let day = today + Days::new(ahead);
            let make = sql_query("SELECT make_partition($1, $2) AS yes");
            let row = make.bind::<Text, _>(table).bind::<Date, _>(day).get_result::<Yes>(conn);
            made += usize::from(row.await?.yes);
        }
    }
    Ok(made)
}

/// Drops the partitions of `table` that end before `keep_from`, except where a message is still to be sent.
/// Answers the names of those dropped.
///
/// # Errors
/// When a statement fails.
pub async fn drop_before(
    conn: &mut AsyncPgConnection,
    table: &'static str,
    keep_from: NaiveDate,
) -> Result<Vec<String>, DbError> {
    let list = "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = $1::regclass ORDER BY 1";
    let partitions: Vec<Name> = sql_query(list).bind::<Text, _>(table).load(conn).await?;
    let mut dropped = Vec::new();
    for Name { name } in partitions {
        let Some(day) = day_of(&name, table).filter(|day| *day < keep_from) else { continue };
        let drop = sql_query("SELECT drop_partition($1, $2) AS yes");
        let row = drop.bind::<Text, _>(table).bind::<Date, _>(day).get_result::<Yes>(conn);
        if row.await?.yes {
            dropped.push(name);
        }
    }
    Ok(dropped)
}

/// Deletes at most `limit` rows of before `keep_from` from the default partition of `table`, except messages that are
/// still to be sent. Answers how many.
///
/// # Errors
/// When a statement fails.
pub async fn prune_default(
    conn: &mut AsyncPgConnection,
    table: &'static str,
    keep_from: NaiveDate,
    limit: i64,
) -> Result<usize, DbError> {
    let done = if table == "outbox" { "AND done_at IS NOT NULL" } else { "" };
    let delete = sql_query(format!(
        "DELETE FROM {table}_default WHERE ctid = ANY (ARRAY (
             SELECT ctid FROM {table}_default WHERE created_at < $1::timestamp AT TIME ZONE 'UTC' {done}
             ORDER BY created_at LIMIT $2))"
    ));
    Ok(delete.bind::<Date, _>(keep_from).bind::<BigInt, _>(limit).execute(conn).await?)
}

fn day_of(partition: &str, table: &str) -> Option<NaiveDate> {
    let day = partition.strip_prefix(table)?.strip_prefix('_')?;
    NaiveDate::parse_from_str(day, "%Y%m%d").ok()
}
