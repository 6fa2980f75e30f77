//! Requests of producers, and what they were answered: asked twice, done once. A row is written in the
//! transaction of what the request did, so that one is not without the other.

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Interval};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::Value;

use super::schema::requests;
use super::{DbError, app_now};
use crate::ids::WorkspaceId;
use crate::keyring::Aad;
use crate::messages::requests::RequestKind;

/// How long a message id stands for one request.
pub const KEPT_FOR: TimeDelta = TimeDelta::days(7);

/// Which request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Name {
    producer: String,
    message_id: String,
    /// Both, so that no two names make the same text.
    row: String,
}

impl Name {
    /// The request that this producer sent under this message id.
    #[must_use]
    pub fn new(producer: &str, message_id: &str) -> Self {
        let row = format!("{}/{producer}/{message_id}", producer.len());
        Self { producer: producer.to_owned(), message_id: message_id.to_owned(), row }
    }

    /// The user of the broker; empty for a message that came without one.
    #[must_use]
    pub fn producer(&self) -> &str {
        &self.producer
    }

    /// The AMQP `message_id`.
    #[must_use]
    pub fn message_id(&self) -> &str {
        &self.message_id
    }

    /// What the sealed reply is bound to.
    #[must_use]
    pub fn reply_aad<'a>(&'a self, workspace: &'a WorkspaceId) -> Aad<'a> {
        Aad::of_workspace("requests.sealed_reply", workspace, &self.row)
    }
}

/// What was answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Kept {
    /// It was done: the reply's body, sealed with the workspace's key.
    Done(WorkspaceId, Vec<u8>),
    /// It was refused: the reply's body.
    Refused(Value),
}

/// A request that was dealt with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Known {
    /// What was asked for.
    pub kind: RequestKind,
    /// What the message id stands for.
    pub fingerprint: Vec<u8>,
    /// What was answered.
    pub kept: Kept,
}

/// Writes down a request with its answer; false when it is there already: then nothing may be committed.
/// `subject` is the connect or the account that it was about.
///
/// # Errors
/// When the query fails.
pub async fn insert(
    conn: &mut AsyncPgConnection,
    name: &Name,
    subject: Option<&str>,
    known: &Known,
) -> Result<bool, DbError> {
    let (workspace, sealed, refusal) = match &known.kept {
        Kept::Done(workspace, sealed) => (Some(workspace), Some(sealed), None),
        Kept::Refused(refusal) => (None, None, Some(refusal)),
    };
    let row = diesel::insert_into(requests::table)
        .values((
            requests::producer.eq(&name.producer),
            requests::message_id.eq(&name.message_id),
            requests::kind.eq(known.kind),
            requests::fingerprint.eq(&known.fingerprint),
            requests::workspace_id.eq(workspace),
            requests::subject_id.eq(subject),
            requests::sealed_reply.eq(sealed),
            requests::refusal.eq(refusal),
            requests::created_at.eq(app_now()),
        ))
        .on_conflict_do_nothing();
    Ok(row.execute(conn).await? == 1)
}

type Columns = (RequestKind, Vec<u8>, Option<WorkspaceId>, Option<Vec<u8>>, Option<Value>);

/// The request of this name, if it was dealt with.
///
/// # Errors
/// When the query fails.
pub async fn find(conn: &mut AsyncPgConnection, name: &Name) -> Result<Option<Known>, DbError> {
    let row = requests::table
        .filter(requests::producer.eq(&name.producer))
        .filter(requests::message_id.eq(&name.message_id))
        .select((
            requests::kind,
            requests::fingerprint,
            requests::workspace_id,
            requests::sealed_reply,
            requests::refusal,
        ));
    let row: Option<Columns> = row.first(conn).await.optional()?;
    Ok(row.map(|(kind, fingerprint, workspace, sealed, refusal)| {
        let kept = match workspace.zip(sealed) {
            Some((workspace, sealed)) => Kept::Done(workspace, sealed),
            None => Kept::Refused(refusal.unwrap_or_default()),
        };
        Known { kind, fingerprint, kept }
    }))
}

/// Deletes what is older than [`KEPT_FOR`]. Across tenants: for the sweep.
///
/// # Errors
/// When the query fails.
pub async fn prune(conn: &mut AsyncPgConnection, limit: i64) -> Result<usize, DbError> {
    let query = sql_query(
        "DELETE FROM requests WHERE ctid = ANY (ARRAY(
             SELECT ctid FROM requests WHERE created_at <= app_now() - $1 LIMIT $2
             FOR UPDATE SKIP LOCKED))",
    )
    .bind::<Interval, _>(KEPT_FOR)
    .bind::<BigInt, _>(limit);
    Ok(query.execute(conn).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_names_seal_for_the_same_place() {
        let names = [Name::new("a", "b/c"), Name::new("a/b", "c"), Name::new("", "a/b/c")];
        for (at, name) in names.iter().enumerate() {
            assert!(names[at + 1..].iter().all(|other| other.row != name.row));
        }
    }
}
