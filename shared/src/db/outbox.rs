//! The outbox: messages committed with the change they speak of.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Bool, Integer, Interval, Jsonb, Nullable, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::schema::outbox;
use super::{DbError, Session, app_now, app_now_plus, around};
use crate::ids::{OrganisationId, made_at};

/// The kind of rows that are events.
pub const EVENT: &str = "event";
/// The kind of rows that are replies to producers. All others are named after their command.
pub const REPLY: &str = "reply";

/// The process that committed publishes at once; only after this does the relay step in.
const FIRST_CHANCE: TimeDelta = TimeDelta::seconds(5);
/// A message that the broker confirmed is published again when its handler has not ended by then.
const CONFIRMED_PATIENCE: TimeDelta = TimeDelta::minutes(2);

/// Between the clock of the process that made an id and the database's, by which earlier versions dated rows.
const SKEW: TimeDelta = TimeDelta::hours(1);

/// After so many publications, about half an hour, Latchkey gives up an event that a subscriber's queue refuses.
const EVENT_PUBLICATIONS: i32 = 12;
/// After so long Latchkey gives up a reply that the producer's queue refuses: the producer can ask again.
const REPLY_LIFETIME: TimeDelta = TimeDelta::minutes(10);

/// What is published.
#[derive(Clone, Debug, QueryableByName)]
pub struct Message {
    /// Also the AMQP `message_id`.
    #[diesel(sql_type = Text)]
    pub id: String,
    /// [`EVENT`], [`REPLY`], or the command's kind.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// Routing key.
    #[diesel(sql_type = Text)]
    pub routing_key: String,
    /// JSON, as it stands: nobody reads it on its way, so no row can keep the others of its batch back.
    #[diesel(sql_type = Text)]
    pub body: String,
    /// Whose event or reply it is.
    #[diesel(sql_type = Nullable<Text>)]
    pub organisation: Option<OrganisationId>,
}

/// A message waiting to be done.
#[derive(Clone, Debug, QueryableByName)]
pub struct Waiting {
    /// What is published.
    #[diesel(embed)]
    pub message: Message,
    /// When the relay may publish it (again), as it was when it was taken for publishing.
    #[diesel(sql_type = Timestamptz)]
    pub available_at: DateTime<Utc>,
}

/// Leads to the partition of a message. A row has the time of its id, and had that of its insertion in earlier versions.
#[diesel::dsl::auto_type]
fn is_day_of(id: &str) -> _ {
    let (from, to): (DateTime<Utc>, DateTime<Utc>) = around(id, SKEW);
    outbox::created_at.between(from, to)
}

/// Adds a message.
///
/// # Errors
/// When the query fails.
pub async fn insert(session: &mut Session, message: Message) -> Result<Waiting, DbError> {
    let row = diesel::insert_into(outbox::table)
        .values((
            outbox::id.eq(&message.id),
            outbox::kind.eq(&message.kind),
            outbox::routing_key.eq(&message.routing_key),
            outbox::body.eq(sql::<Jsonb>("").bind::<Text, _>(&message.body).sql("::jsonb")),
            outbox::organisation_id.eq(&message.organisation),
            outbox::available_at.eq(app_now_plus(FIRST_CHANCE)),
            outbox::created_at.eq(made_at(&message.id).unwrap_or_else(|| session.clock().now())),
        ))
        .returning(outbox::available_at);
    let available_at = row.get_result(session).await?;
    Ok(Waiting { message, available_at })
}

/// Takes overdue messages for publishing, each moved ahead by 5 s doubling to 5 min, so that other
/// relays leave them alone meanwhile. Across tenants: for the relay.
///
/// # Errors
/// When the query fails.
pub async fn take_overdue(
    conn: &mut AsyncPgConnection,
    limit: i64,
) -> Result<Vec<Waiting>, DbError> {
    let query = sql_query(
        "UPDATE outbox SET publications = publications + 1,
             available_at = app_now() + least(interval '5 s' * power(2, least(publications, 10)), interval '5 min')
         WHERE (id, created_at) IN (
             SELECT id, created_at FROM outbox WHERE done_at IS NULL AND available_at <= app_now()
             ORDER BY available_at LIMIT $1 FOR UPDATE SKIP LOCKED)
           AND done_at IS NULL
         RETURNING id, kind, routing_key, body::text AS body, organisation_id AS organisation,
             available_at",
    )
    .bind::<BigInt, _>(limit);
    Ok(query.load(conn).await?)
}

/// The broker confirmed the message: an event or a reply is done with that, a command waits for its handler.
/// A handler that was faster than this note has the last word.
///
/// # Errors
/// When the query fails.
pub async fn confirmed(conn: &mut AsyncPgConnection, waiting: &Waiting) -> Result<(), DbError> {
    if matches!(waiting.message.kind.as_str(), EVENT | REPLY) {
        return done(conn, &waiting.message.id, "published").await;
    }
    let id = &waiting.message.id;
    diesel::update(outbox::table)
        .filter(outbox::id.eq(id).and(is_day_of(id)))
        .filter(outbox::done_at.is_null())
        .filter(outbox::available_at.eq(waiting.available_at))
        .set(outbox::available_at.eq(app_now_plus(CONFIRMED_PATIENCE)))
        .execute(conn)
        .await?;
    Ok(())
}

/// Publishing failed; the relay will try again.
///
/// # Errors
/// When the query fails.
pub async fn publishing_failed(
    conn: &mut AsyncPgConnection,
    id: &str,
    error: &str,
) -> Result<(), DbError> {
    diesel::update(outbox::table)
        .filter(outbox::id.eq(id).and(is_day_of(id)))
        .set(outbox::last_error.eq(error))
        .execute(conn)
        .await?;
    Ok(())
}

/// A queue refused an event or a reply. It is done once it was published so often, or is so old: it waits
/// for a queue of its organisation's making, and must not wait for ever. Answers whether it is.
///
/// # Errors
/// When the query fails.
pub async fn refused(conn: &mut AsyncPgConnection, message: &Message) -> Result<bool, DbError> {
    let query = sql_query(
        "UPDATE outbox SET done_at = app_now(), ending = 'refused'
         WHERE id = $1 AND done_at IS NULL AND created_at BETWEEN $4 AND $5
           AND CASE kind WHEN 'event' THEN publications >= $2 ELSE created_at <= app_now() - $3 END",
    )
    .bind::<Text, _>(&message.id)
    .bind::<Integer, _>(EVENT_PUBLICATIONS)
    .bind::<Interval, _>(REPLY_LIFETIME)
    .bind::<Timestamptz, _>(around(&message.id, SKEW).0)
    .bind::<Timestamptz, _>(around(&message.id, SKEW).1);
    let done = query.execute(conn).await?;
    Ok(done > 0)
}

#[derive(QueryableByName)]
struct Attempts {
    #[diesel(sql_type = Integer)]
    attempts: i32,
}

/// Counts an attempt before a handler begins and keeps the relay off for as long as it may take.
/// Answers the number of this attempt; `None` when the message is done already.
///
/// # Errors
/// When the query fails.
pub async fn begin_attempt(
    conn: &mut AsyncPgConnection,
    id: &str,
    at_most: TimeDelta,
) -> Result<Option<i32>, DbError> {
    let query = sql_query(
        "UPDATE outbox SET attempts = attempts + 1, unfinished = unfinished + 1,
             available_at = app_now() + $1
         WHERE id = $2 AND done_at IS NULL AND created_at BETWEEN $3 AND $4 RETURNING attempts",
    )
    .bind::<Interval, _>(at_most)
    .bind::<Text, _>(id)
    .bind::<Timestamptz, _>(around(id, SKEW).0)
    .bind::<Timestamptz, _>(around(id, SKEW).1);
    let row: Option<Attempts> = query.get_result(conn).await.optional()?;
    Ok(row.map(|row| row.attempts))
}

/// How many attempts in a row began and never ended, or have not ended yet.
///
/// # Errors
/// When the query fails.
pub async fn unfinished(conn: &mut AsyncPgConnection, id: &str) -> Result<i32, DbError> {
    let found =
        outbox::table.filter(outbox::id.eq(id).and(is_day_of(id))).select(outbox::unfinished);
    Ok(found.first(conn).await.optional()?.unwrap_or(0))
}

/// How the message ended, in one word, if it has.
///
/// # Errors
/// When the query fails.
pub async fn ending(conn: &mut AsyncPgConnection, id: &str) -> Result<Option<String>, DbError> {
    let found = outbox::table.filter(outbox::id.eq(id).and(is_day_of(id))).select(outbox::ending);
    Ok(found.first(conn).await.optional()?.flatten())
}

/// The message has reached its end, said in one word.
///
/// # Errors
/// When the query fails.
pub async fn done(conn: &mut AsyncPgConnection, id: &str, ending: &str) -> Result<(), DbError> {
    diesel::update(outbox::table)
        .filter(outbox::id.eq(id).and(is_day_of(id)))
        .filter(outbox::done_at.is_null())
        .set((
            outbox::done_at.eq(app_now().nullable()),
            outbox::ending.eq(ending),
            outbox::unfinished.eq(0),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// What is to happen to a message that is not done.
#[derive(Debug)]
pub struct Later<'a> {
    /// From now.
    pub after: TimeDelta,
    /// Why.
    pub error: Option<&'a str>,
    /// Whether the attempt just made shall not count: nothing went wrong.
    pub forgive: bool,
}

/// Puts a message off whose attempt was begun. Said a second time it changes nothing.
///
/// # Errors
/// When the query fails.
pub async fn later(
    conn: &mut AsyncPgConnection,
    id: &str,
    later: &Later<'_>,
) -> Result<(), DbError> {
    diesel::update(outbox::table)
        .filter(outbox::id.eq(id).and(is_day_of(id)))
        .filter(outbox::done_at.is_null())
        .filter(outbox::unfinished.gt(0))
        .set((
            outbox::available_at.eq(app_now_plus(later.after)),
            later.error.map(|error| outbox::last_error.eq(error)),
            outbox::attempts.eq(outbox::attempts - i32::from(later.forgive)),
            outbox::unfinished.eq(0),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    n: i64,
}

#[derive(QueryableByName)]
struct Beyond {
    #[diesel(sql_type = Bool)]
    beyond: bool,
}

/// Whether more than `max` messages are not done, of an organisation or of all, without counting them all.
/// Across tenants: before new work is taken on.
///
/// # Errors
/// When the query fails.
pub async fn is_beyond(
    conn: &mut AsyncPgConnection,
    organisation: Option<&OrganisationId>,
    max: i64,
) -> Result<bool, DbError> {
    let open = "SELECT EXISTS (SELECT 1 FROM outbox WHERE done_at IS NULL";
    let found: Beyond = match organisation {
        None => sql_query(format!("{open} OFFSET $1) AS beyond"))
            .bind::<BigInt, _>(max)
            .get_result(conn),
        Some(organisation) => {
            sql_query(format!("{open} AND organisation_id = $2 OFFSET $1) AS beyond"))
                .bind::<BigInt, _>(max)
                .bind::<Text, _>(organisation)
                .get_result(conn)
        }
    }
    .await?;
    Ok(found.beyond)
}

/// How many messages are not done, counted up to `at_most`. Across tenants: for readiness.
///
/// # Errors
/// When the query fails.
pub async fn count_open(conn: &mut AsyncPgConnection, at_most: i64) -> Result<i64, DbError> {
    let open =
        "SELECT count(*) AS n FROM (SELECT 1 FROM outbox WHERE done_at IS NULL LIMIT $1) AS open";
    Ok(sql_query(open).bind::<BigInt, _>(at_most).get_result::<Count>(conn).await?.n)
}
