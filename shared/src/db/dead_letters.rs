//! Dead letters: messages that no handler could finish, kept until a person looks.

use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::{Map, Value};

use super::schema::dead_letters;
use super::{DbError, Session, app_now};
use crate::ids::DeadLetterId;
use crate::redact;

/// A dead letter.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = dead_letters)]
pub struct DeadLetter {
    /// Id.
    pub id: DeadLetterId,
    /// AMQP `message_id`.
    pub message_id: Option<String>,
    /// AMQP `type`.
    pub kind: Option<String>,
    /// The queue that it died in.
    pub queue: Option<String>,
    /// Why, in the broker's word.
    pub reason: String,
    /// Body.
    pub body: Vec<u8>,
}

/// A dead letter about to be kept. Strangers wrote parts of it: what is stored is made to fit, and holds nothing
/// that could be a secret.
#[derive(Debug)]
pub struct NewDeadLetter<'a> {
    /// AMQP `message_id`.
    pub message_id: Option<&'a str>,
    /// AMQP `type`.
    pub kind: Option<&'a str>,
    /// The queue that it died in.
    pub queue: Option<&'a str>,
    /// Routing key.
    pub routing_key: &'a str,
    /// What else is known of it, by name.
    pub about: &'a [(&'a str, Option<&'a str>)],
    /// As it was sent.
    pub body: &'a [u8],
    /// Why, in the broker's word.
    pub reason: &'a str,
}

/// Keeps a dead letter; false: the same message from the same queue is kept already.
///
/// # Errors
/// When the query fails.
pub async fn insert(session: &mut Session, letter: &NewDeadLetter<'_>) -> Result<bool, DbError> {
    let about = letter.about.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
    let about: Map<_, _> =
        about.map(|(name, value)| (name.to_owned(), redact::text(value).into())).collect();
    let rows = diesel::insert_into(dead_letters::table)
        .values((
            dead_letters::id.eq(DeadLetterId::new(session.clock())),
            dead_letters::message_id.eq(letter.message_id.map(redact::text)),
            dead_letters::kind.eq(letter.kind.map(redact::text)),
            dead_letters::queue.eq(letter.queue.map(redact::text)),
            dead_letters::routing_key.eq(redact::text(letter.routing_key)),
            dead_letters::headers.eq(Value::Object(about)),
            dead_letters::body.eq(redact::body(letter.body).to_string().into_bytes()),
            dead_letters::reason.eq(redact::text(letter.reason)),
            dead_letters::died_at.eq(app_now()),
        ))
        .on_conflict_do_nothing()
        .execute(session)
        .await?;
    Ok(rows == 1)
}

/// All dead letters, oldest first. Across tenants: for operators.
///
/// # Errors
/// When the query fails.
pub async fn list(conn: &mut AsyncPgConnection) -> Result<Vec<DeadLetter>, DbError> {
    Ok(dead_letters::table
        .select(DeadLetter::as_select())
        .order(dead_letters::id)
        .load(conn)
        .await?)
}
