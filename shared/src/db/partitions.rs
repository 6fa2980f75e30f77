//! Days of `events`, `account_history` and `outbox`: made ahead, dropped whole.

use chrono::{Days, NaiveDate};
use diesel::sql_types::Text;
use diesel::{QueryableByName, sql_query};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection as _};

use super::{DbError, Yes, read_now};
use crate::clock::Clock;

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
pub async fn ensure(conn: &mut AsyncPgConnection, clock: &Clock) -> Result<usize, DbError> {
    let today = read_now(conn, clock).await?.date_naive();
    let mut made = 0;
    for table in TABLES {
        for ahead in 0..=DAYS_AHEAD {
            made += usize::from(ensure_day(conn, table, today + Days::new(ahead)).await?);
        }
    }
    Ok(made)
}

async fn ensure_day(
    conn: &mut AsyncPgConnection,
    table: &str,
    day: NaiveDate,
) -> Result<bool, DbError> {
    let name = format!("{table}_{}", day.format("%Y%m%d"));
    let (from, to) =
        (format!("'{day} 00:00:00+00'"), format!("'{} 00:00:00+00'", day + Days::new(1)));
    let check = format!(
        "SELECT to_regclass('{name}') IS NULL AND NOT EXISTS \
         (SELECT 1 FROM {table}_default WHERE created_at >= {from} AND created_at < {to}) AS yes"
    );
    if !sql_query(check).get_result::<Yes>(conn).await?.yes {
        return Ok(false);
    }
    let make = format!(
        "CREATE TABLE IF NOT EXISTS {name} PARTITION OF {table} FOR VALUES FROM ({from}) TO ({to});"
    );
    in_turn(conn, &make).await?;
    Ok(true)
}

/// Drops the partitions of `table` that end before `keep_from`, except where `still_needed` (an SQL
/// condition on a row) holds for one of their rows. Answers the names of those dropped.
///
/// # Errors
/// When a statement fails.
pub async fn drop_before(
    conn: &mut AsyncPgConnection,
    table: &'static str,
    keep_from: NaiveDate,
    still_needed: &'static str,
) -> Result<Vec<String>, DbError> {
    let list = "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = $1::regclass ORDER BY 1";
    let partitions: Vec<Name> = sql_query(list).bind::<Text, _>(table).load(conn).await?;
    let mut dropped = Vec::new();
    for Name { name } in partitions {
        if day_of(&name, table).is_none_or(|day| day >= keep_from) {
            continue;
        }
        let drop = format!(
            "IF to_regclass('{name}') IS NOT NULL THEN
                 IF NOT EXISTS (SELECT 1 FROM {name} WHERE {still_needed}) THEN
                     DROP TABLE {name};
                 END IF;
             END IF;"
        );
        in_turn(conn, &drop).await?;
        let gone = format!("SELECT to_regclass('{name}') IS NULL AS yes");
        if sql_query(gone).get_result::<Yes>(conn).await?.yes {
            dropped.push(name);
        }
    }
    Ok(dropped)
}

/// Several processes may look at the same day at once: they make and drop one after the other, each
/// looking again once it is its turn. `IF NOT EXISTS` alone does not keep two from colliding.
async fn in_turn(conn: &mut AsyncPgConnection, statements: &str) -> Result<(), DbError> {
    let block = format!(
        "DO $$ BEGIN PERFORM pg_advisory_xact_lock(hashtext('partitions')); {statements} END $$"
    );
    Ok(conn.batch_execute(&block).await?)
}

fn day_of(partition: &str, table: &str) -> Option<NaiveDate> {
    let day = partition.strip_prefix(table)?.strip_prefix('_')?;
    NaiveDate::parse_from_str(day, "%Y%m%d").ok()
}
