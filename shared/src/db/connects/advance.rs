//! The steps of a connect, each taken once and stamped on its timeline.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Bytea, Interval, Jsonb, Nullable, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::Value;

use super::super::schema::connects;
use super::super::{DbError, app_now_plus};
use super::{Connect, ConnectStatus, find};
use crate::ids::{ConnectId, ConnectKey, GrantId, WorkspaceId};

/// One step of a connect.
#[derive(Debug)]
pub struct Advance<'a> {
    /// The status after it.
    pub to: ConnectStatus,
    /// The statuses that it may be taken from.
    pub from: &'a [ConnectStatus],
    /// Why, if it does not end well.
    pub reason_code: Option<&'a str>,
    /// What the platform said, redacted.
    pub platform_error: Option<&'a Value>,
    /// The sealed code.
    pub sealed_code: Option<&'a [u8]>,
    /// SHA-256 of the cookie that may see the page.
    pub page_hash: Option<&'a [u8]>,
    /// What the same code is known by.
    pub code_hash: Option<&'a [u8]>,
    /// How long a worker may wait for the platform's answer.
    pub lease: Option<TimeDelta>,
    /// The accounts that it connected.
    pub account_ids: &'a [String],
    /// Only before the connect's own end.
    pub in_time: bool,
    /// Only while the lease is this one: nobody else has taken the connect since.
    pub lease_was: Option<DateTime<Utc>>,
}

impl<'a> Advance<'a> {
    /// A step to `to`, taken only from one of `from`.
    #[must_use]
    pub fn to(to: ConnectStatus, from: &'a [ConnectStatus]) -> Self {
        Self {
            to,
            from,
            reason_code: None,
            platform_error: None,
            sealed_code: None,
            page_hash: None,
            code_hash: None,
            lease: None,
            account_ids: &[],
            in_time: false,
            lease_was: None,
        }
    }
}

/// Takes a step, stamps it on the timeline, and wipes what is sealed when the connect has ended.
/// `None` when it was not in one of the steps before, so that of two callers one wins.
///
/// # Errors
/// When the query fails.
pub async fn advance(
    conn: &mut AsyncPgConnection,
    key: ConnectKey<'_>,
    step: &Advance<'_>,
) -> Result<Option<Connect>, DbError> {
    let from: Vec<&str> = step.from.iter().map(|status| status.as_str()).collect();
    let guard = if step.in_time { "AND expires_at > app_now()" } else { "" };
    let wipe = step.to.is_final();
    let query = format!(
        "UPDATE connects SET status = $1, status_at = app_now(),
             timeline = timeline || jsonb_build_array(jsonb_strip_nulls(jsonb_build_object(
                 'status', $1, 'at', to_char(app_now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), 'reason', $2))),
             reason_code = coalesce($2, reason_code), platform_error = coalesce($3, platform_error),
             sealed_code = CASE WHEN {wipe} THEN NULL ELSE coalesce($4, sealed_code) END,
             sealed_verifier = CASE WHEN {wipe} THEN NULL ELSE sealed_verifier END,
             sealed_candidates = CASE WHEN {wipe} THEN NULL ELSE sealed_candidates END,
             sealed_state = CASE WHEN {wipe} THEN NULL ELSE sealed_state END,
             sealed_claim = CASE WHEN {wipe} THEN NULL ELSE sealed_claim END,
             page_hash = coalesce($5, page_hash), code_hash = coalesce($12, code_hash),
             lease_until = app_now() + $6,
             account_ids = $7
         WHERE workspace_id = $8 AND id = $9 AND status = ANY ($10) {guard}
           AND ($11::timestamptz IS NULL OR lease_until = $11)"
    );
    let rows = sql_query(query)
        .bind::<Text, _>(step.to)
        .bind::<Nullable<Text>, _>(step.reason_code)
        .bind::<Nullable<Jsonb>, _>(step.platform_error)
        .bind::<Nullable<Bytea>, _>(step.sealed_code)
        .bind::<Nullable<Bytea>, _>(step.page_hash)
        .bind::<Nullable<Interval>, _>(step.lease)
        .bind::<Array<Text>, _>(step.account_ids)
        .bind::<Text, _>(key.workspace_id)
        .bind::<Text, _>(key.id)
        .bind::<Array<Text>, _>(from)
        .bind::<Nullable<Timestamptz>, _>(step.lease_was)
        .bind::<Nullable<Bytea>, _>(step.code_hash)
        .execute(conn)
        .await?;
    if rows == 0 {
        return Ok(None);
    }
    let connect = find(conn, key.workspace_id, key.id).await?;
    if let Some(connect) = connect.as_ref().filter(|connect| connect.status.is_final()) {
        let ending = step.reason_code.unwrap_or(step.to.as_str()).to_ascii_lowercase();
        let platform = connect.platform.clone();
        metrics::counter!("latchkey_connects_ended_total", "platform" => platform, "ending" => ending)
            .increment(1);
    }
    Ok(connect)
}

/// Ties the answer of the exchange to the connect and wipes what the exchange used.
///
/// # Errors
/// When the query fails.
pub async fn store_grant(
    conn: &mut AsyncPgConnection,
    workspace: &WorkspaceId,
    id: &ConnectId,
    grant: &GrantId,
) -> Result<bool, DbError> {
    let rows = diesel::update(connects::table)
        .filter(connects::workspace_id.eq(workspace))
        .filter(connects::id.eq(id))
        .filter(connects::status.eq(ConnectStatus::Exchanging))
        .filter(connects::grant_id.is_null())
        .set((
            connects::grant_id.eq(grant),
            connects::sealed_code.eq(None::<Vec<u8>>),
            connects::sealed_verifier.eq(None::<Vec<u8>>),
            connects::tries.eq(0),
        ))
        .execute(conn);
    Ok(rows.await? == 1)
}

/// Says how long a worker may be waiting for the platform, and answers until when that is.
///
/// # Errors
/// When the query fails.
pub async fn set_lease(
    conn: &mut AsyncPgConnection,
    key: ConnectKey<'_>,
    lease: TimeDelta,
) -> Result<Option<DateTime<Utc>>, DbError> {
    let until = diesel::update(connects::table)
        .filter(connects::workspace_id.eq(key.workspace_id))
        .filter(connects::id.eq(key.id))
        .set(connects::lease_until.eq(app_now_plus(lease).nullable()))
        .returning(connects::lease_until)
        .get_result::<Option<DateTime<Utc>>>(conn)
        .await
        .optional()?;
    Ok(until.flatten())
}

/// Counts a call that brought no answer. The connect rests for so long before the next.
///
/// # Errors
/// When the query fails.
pub async fn note_try(
    conn: &mut AsyncPgConnection,
    key: ConnectKey<'_>,
    rest: TimeDelta,
) -> Result<(), DbError> {
    diesel::update(connects::table)
        .filter(connects::workspace_id.eq(key.workspace_id))
        .filter(connects::id.eq(key.id))
        .set((
            connects::tries.eq(connects::tries + 1),
            connects::lease_until.eq(app_now_plus(rest).nullable()),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Lets a lease end in so short a while, unless it is no longer the one that was `until` then.
///
/// # Errors
/// When the query fails.
pub async fn shorten_lease(
    conn: &mut AsyncPgConnection,
    key: ConnectKey<'_>,
    until: Option<DateTime<Utc>>,
    rest: TimeDelta,
) -> Result<(), DbError> {
    diesel::update(connects::table)
        .filter(connects::workspace_id.eq(key.workspace_id))
        .filter(connects::id.eq(key.id))
        .filter(connects::lease_until.eq(until))
        .filter(connects::lease_until.gt(app_now_plus(rest).nullable()))
        .set(connects::lease_until.eq(app_now_plus(rest).nullable()))
        .execute(conn)
        .await?;
    Ok(())
}
