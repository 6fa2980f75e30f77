//! POSTs that came with an `Idempotency-Key`, and their answers, sealed.
//!
//! Whoever takes a turn runs the request; its answer is written in the transaction of what it did. A
//! turn that was taken over can no longer write, and so can no longer commit.

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Binary, Bool, Interval, Nullable, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use sha2::{Digest as _, Sha256};

use super::schema::idempotency_keys;
use super::{DbError, app_now};
use crate::ids::{ApiKeyId, OrganisationId};
use crate::keyring::Aad;

/// How long a key stands for one request.
pub const KEPT_FOR: TimeDelta = TimeDelta::hours(24);
/// How long a request may run before another may take its turn. Requests end within seconds; one that
/// was frozen for longer finds its turn taken.
pub const LEASE: TimeDelta = TimeDelta::seconds(30);

/// Which row.
#[derive(Clone, Debug)]
pub struct Row {
    organisation: OrganisationId,
    api_key: ApiKeyId,
    key_hash: Vec<u8>,
    name: String,
}

impl Row {
    /// The row of a key that came with this API key.
    #[must_use]
    pub fn new(organisation: &OrganisationId, api_key: &ApiKeyId, key: &str) -> Self {
        let key_hash = Sha256::digest(key.as_bytes()).to_vec();
        let name = format!("{api_key}/{}", hex::encode(&key_hash));
        Self { organisation: organisation.clone(), api_key: api_key.clone(), key_hash, name }
    }

    /// Whose data key seals the answer.
    #[must_use]
    pub fn organisation(&self) -> &OrganisationId {
        &self.organisation
    }

    /// What the answer of a turn is bound to.
    #[must_use]
    pub fn answer_aad(&self, turn: i64) -> Aad<'_> {
        Aad::of_organisation("idempotency_keys.sealed_answer", &self.organisation, &self.name)
            .with_generation(turn)
    }
}

/// What became of asking for a turn.
#[derive(Debug)]
pub enum Asked {
    /// Run the request; this is the number of the turn.
    Turn(i64),
    /// It ran in this turn, with this answer.
    Answered(i64, Vec<u8>),
    /// Another one runs it, and may for so many seconds more.
    Running(i64),
    /// The key stands for another request.
    Other,
}

#[derive(QueryableByName)]
struct Turn {
    #[diesel(sql_type = BigInt)]
    turn: i64,
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Bool)]
    same: bool,
    #[diesel(sql_type = BigInt)]
    turn: i64,
    #[diesel(sql_type = Nullable<Binary>)]
    sealed_answer: Option<Vec<u8>>,
    #[diesel(sql_type = BigInt)]
    seconds: i64,
}

/// Takes the turn to run a request, or says why not.
///
/// # Errors
/// When a query fails.
pub async fn ask(
    conn: &mut AsyncPgConnection,
    row: &Row,
    fingerprint: &[u8],
) -> Result<Asked, DbError> {
    loop {
        if let Some(turn) = take(conn, row, fingerprint).await? {
            return Ok(Asked::Turn(turn));
        }
        // A row that is gone was pruned between the two statements: the turn is free.
        if let Some(found) = look(conn, row, fingerprint).await? {
            return Ok(match found {
                Found { same: false, .. } => Asked::Other,
                Found { sealed_answer: Some(sealed), turn, .. } => Asked::Answered(turn, sealed),
                Found { seconds, .. } => Asked::Running(seconds.max(1)),
            });
        }
    }
}

async fn take(
    conn: &mut AsyncPgConnection,
    row: &Row,
    fingerprint: &[u8],
) -> Result<Option<i64>, DbError> {
    let query = sql_query(
        "INSERT INTO idempotency_keys AS kept
             (organisation_id, api_key_id, key_hash, fingerprint, turn, lease_until, created_at)
         VALUES ($1, $2, $3, $4, 1, app_now() + $5, app_now())
         ON CONFLICT ON CONSTRAINT idempotency_keys_pkey DO UPDATE
         SET fingerprint = excluded.fingerprint, turn = kept.turn + 1, sealed_answer = NULL,
             lease_until = excluded.lease_until, created_at = excluded.created_at
         WHERE kept.lease_until <= app_now()
           AND (kept.created_at <= app_now() - $6
                OR kept.sealed_answer IS NULL AND kept.fingerprint = excluded.fingerprint)
         RETURNING turn",
    )
    .bind::<Text, _>(&row.organisation)
    .bind::<Text, _>(&row.api_key)
    .bind::<Binary, _>(&row.key_hash)
    .bind::<Binary, _>(fingerprint)
    .bind::<Interval, _>(LEASE)
    .bind::<Interval, _>(KEPT_FOR);
    let taken: Option<Turn> = query.get_result(conn).await.optional()?;
    Ok(taken.map(|taken| taken.turn))
}

async fn look(
    conn: &mut AsyncPgConnection,
    row: &Row,
    fingerprint: &[u8],
) -> Result<Option<Found>, DbError> {
    let query = sql_query(
        "SELECT fingerprint = $4 AS same, turn, sealed_answer,
                ceil(extract(epoch FROM lease_until - app_now()))::bigint AS seconds
         FROM idempotency_keys WHERE organisation_id = $1 AND api_key_id = $2 AND key_hash = $3",
    )
    .bind::<Text, _>(&row.organisation)
    .bind::<Text, _>(&row.api_key)
    .bind::<Binary, _>(&row.key_hash)
    .bind::<Binary, _>(fingerprint);
    Ok(query.get_result(conn).await.optional()?)
}

/// Writes the answer of a turn; false when the turn is over. Called in the transaction of what the
/// request does, which must not commit then.
///
/// # Errors
/// When the query fails.
pub async fn keep(
    conn: &mut AsyncPgConnection,
    row: &Row,
    turn: i64,
    sealed_answer: &[u8],
) -> Result<bool, DbError> {
    let rows = diesel::update(idempotency_keys::table)
        .filter(idempotency_keys::organisation_id.eq(&row.organisation))
        .filter(idempotency_keys::api_key_id.eq(&row.api_key))
        .filter(idempotency_keys::key_hash.eq(&row.key_hash))
        .filter(idempotency_keys::turn.eq(turn))
        .filter(idempotency_keys::sealed_answer.is_null())
        .set(idempotency_keys::sealed_answer.eq(sealed_answer))
        .execute(conn);
    Ok(rows.await? == 1)
}

/// Replaces the answer of a turn by what came of it since.
///
/// # Errors
/// When the query fails.
pub async fn replace(
    conn: &mut AsyncPgConnection,
    row: &Row,
    turn: i64,
    sealed_answer: &[u8],
) -> Result<(), DbError> {
    diesel::update(idempotency_keys::table)
        .filter(idempotency_keys::organisation_id.eq(&row.organisation))
        .filter(idempotency_keys::api_key_id.eq(&row.api_key))
        .filter(idempotency_keys::key_hash.eq(&row.key_hash))
        .filter(idempotency_keys::turn.eq(turn))
        .set(idempotency_keys::sealed_answer.eq(sealed_answer))
        .execute(conn)
        .await?;
    Ok(())
}

/// Ends a turn that did nothing, so that the same request may run at once when it is repeated. A turn
/// whose answer is there stays as it is: then it did something after all.
///
/// # Errors
/// When the query fails.
pub async fn give_up(conn: &mut AsyncPgConnection, row: &Row, turn: i64) -> Result<(), DbError> {
    diesel::update(idempotency_keys::table)
        .filter(idempotency_keys::organisation_id.eq(&row.organisation))
        .filter(idempotency_keys::api_key_id.eq(&row.api_key))
        .filter(idempotency_keys::key_hash.eq(&row.key_hash))
        .filter(idempotency_keys::turn.eq(turn))
        .filter(idempotency_keys::sealed_answer.is_null())
        .set(idempotency_keys::lease_until.eq(app_now()))
        .execute(conn)
        .await?;
    Ok(())
}

/// Deletes what is older than [`KEPT_FOR`]. Across tenants: for the sweep.
///
/// # Errors
/// When the query fails.
pub async fn prune(conn: &mut AsyncPgConnection, limit: i64) -> Result<usize, DbError> {
    let query = sql_query(
        "DELETE FROM idempotency_keys WHERE ctid = ANY (ARRAY(
             SELECT ctid FROM idempotency_keys
             WHERE created_at <= app_now() - $1 AND lease_until <= app_now() LIMIT $2
             FOR UPDATE SKIP LOCKED))",
    )
    .bind::<Interval, _>(KEPT_FOR)
    .bind::<BigInt, _>(limit);
    Ok(query.execute(conn).await?)
}
