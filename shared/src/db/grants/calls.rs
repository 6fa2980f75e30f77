//! A refresh as its row sees it: intent, answer, or another try.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Interval, Nullable, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::json;

use super::super::account_history::{RefreshEnding, note_refresh};
use super::super::schema::grants;
use super::super::{DbError, app_now, app_now_plus};
use super::{Grant, GrantStatus, NewTokens, reauth};
use crate::ids::GrantKey;

/// A lease about to be taken.
#[derive(Debug)]
pub struct Lease<'a> {
    /// Who takes it: the worker's id, a dot, and a name for this lease.
    pub holder: &'a str,
    /// For how long.
    pub length: TimeDelta,
    /// When somebody looks whether its holder is gone; at the latest when it ends.
    pub look_after: TimeDelta,
}

/// Takes the lease and records the intent to present the current token. The row must be locked.
///
/// # Errors
/// When the query fails.
pub async fn begin_call(
    conn: &mut AsyncPgConnection,
    grant: &Grant,
    lease: &Lease<'_>,
) -> Result<(), DbError> {
    let look_after = lease.look_after.min(lease.length);
    one!(grant.key())
        .set((
            grants::lease_holder.eq(lease.holder),
            grants::lease_until.eq(app_now_plus(lease.length).nullable()),
            grants::next_attempt_at.eq(app_now_plus(look_after).nullable()),
            grants::calling_generation.eq(grant.generation),
            grants::in_doubt_since.eq(grant.in_doubt_since),
            grants::wake_at.eq(None::<DateTime<Utc>>),
            grants::dispatches.eq(0),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Leaves a grant to the process that holds its lease: it is due again when the lease ends, or after
/// `look_after` if that is sooner.
///
/// # Errors
/// When the query fails.
pub async fn wait_for_lease(
    conn: &mut AsyncPgConnection,
    grant: &Grant,
    look_after: Option<TimeDelta>,
) -> Result<(), DbError> {
    let query = sql_query(
        "UPDATE grants SET dispatches = 0,
             next_attempt_at = least(lease_until, app_now() + coalesce($3, interval '1 day'))
         WHERE workspace_id = $1 AND id = $2 AND lease_until > app_now()",
    )
    .bind::<Text, _>(&grant.workspace_id)
    .bind::<Text, _>(&grant.id)
    .bind::<Nullable<Interval>, _>(look_after);
    query.execute(conn).await?;
    Ok(())
}

/// Takes a dispatch back: nothing was called, so it does not count, and the grant is as due as it was, or
/// from `not_before` on.
///
/// # Errors
/// When the query fails.
pub async fn put_back(
    conn: &mut AsyncPgConnection,
    key: GrantKey<'_>,
    not_before: Option<DateTime<Utc>>,
) -> Result<(), DbError> {
    let query = sql_query(
        "UPDATE grants SET dispatches = greatest(dispatches - 1, 0), next_attempt_at = greatest(refresh_at, $3)
         WHERE workspace_id = $1 AND id = $2 AND status = 'active'
             AND (lease_until IS NULL OR lease_until <= app_now())",
    )
    .bind::<Text, _>(key.workspace_id)
    .bind::<Text, _>(key.id)
    .bind::<Nullable<Timestamptz>, _>(not_before);
    query.execute(conn).await?;
    Ok(())
}

/// Gives a lease back: the token was not presented.
///
/// # Errors
/// When the query fails.
pub async fn give_back(
    conn: &mut AsyncPgConnection,
    grant: &Grant,
    holder: &str,
) -> Result<(), DbError> {
    one!(grant.key())
        .filter(grants::lease_holder.eq(holder))
        .set((
            grants::lease_holder.eq(None::<String>),
            grants::lease_until.eq(None::<DateTime<Utc>>),
            grants::next_attempt_at.eq(grants::refresh_at),
            grants::calling_generation.eq(None::<i64>),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Stores the answer to generation `g` as `g + 1` if `g` is still current, lease or not. A grant
/// that is being released takes the answer too, so that the newest token is revoked. The histories of
/// its accounts tell of it. Answers the status of the grant; `None` when the generation has moved on.
///
/// # Errors
/// When the query fails.
pub async fn store_answer(
    conn: &mut AsyncPgConnection,
    grant: &Grant,
    tokens: &NewTokens,
) -> Result<Option<GrantStatus>, DbError> {
    let row = one!(grant.key())
        .filter(grants::generation.eq(grant.generation))
        .filter(grants::status.eq_any([
            GrantStatus::Active,
            GrantStatus::Expired,
            GrantStatus::Releasing,
        ]))
        .set((
            (
                grants::generation.eq(grant.generation + 1),
                grants::sealed_tokens.eq(&tokens.sealed),
                grants::renewable.eq(tokens.renewable),
                grants::scopes.eq(&tokens.scopes),
                grants::issued_at.eq(tokens.issued_at),
                grants::access_expires_at.eq(tokens.access_expires_at),
                grants::refresh_expires_at.eq(tokens.refresh_expires_at),
                grants::refresh_at.eq(tokens.refresh_at),
                grants::next_attempt_at.eq(tokens.refresh_at),
            ),
            (
                grants::attempts.eq(0),
                grants::dispatches.eq(0),
                grants::lease_holder.eq(None::<String>),
                grants::lease_until.eq(None::<DateTime<Utc>>),
                grants::calling_generation.eq(None::<i64>),
                grants::in_doubt_since.eq(None::<DateTime<Utc>>),
                grants::overdue_since.eq(None::<DateTime<Utc>>),
                grants::last_refreshed_at.eq(app_now().nullable()),
            ),
            (
                grants::wake_at.eq(None::<DateTime<Utc>>),
                grants::refused_since.eq(None::<DateTime<Utc>>),
                grants::refused_as.eq(None::<String>),
                grants::action_needed_since.eq(None::<DateTime<Utc>>),
            ),
        ))
        .returning(grants::status);
    let status = row.get_result(conn).await.optional()?;
    if status.is_some() {
        if tokens.reauth.is_some() || grant.reauth_at.is_some() {
            reauth::renew(conn, grant.key(), tokens.reauth).await?;
        }
        let data = json!({
            "tokenGeneration": grant.generation + 1,
            "tokenExpiresAt": tokens.access_expires_at.map(as_text),
        });
        note_refresh(conn, grant.key(), RefreshEnding::Succeeded, &data).await?;
    }
    Ok(status)
}

/// Puts a long-lived token set in the place of the one that the exchange brought. False when the grant
/// is not waiting for it any more.
///
/// # Errors
/// When the query fails.
pub async fn trade_in(
    conn: &mut AsyncPgConnection,
    grant: &Grant,
    tokens: &NewTokens,
) -> Result<bool, DbError> {
    let rows = one!(grant.key())
        .filter(grants::status.eq(GrantStatus::Pending))
        .filter(grants::generation.eq(grant.generation))
        .set((
            grants::generation.eq(grant.generation + 1),
            grants::sealed_tokens.eq(&tokens.sealed),
            grants::renewable.eq(tokens.renewable),
            grants::issued_at.eq(tokens.issued_at),
            grants::access_expires_at.eq(tokens.access_expires_at),
            grants::refresh_expires_at.eq(tokens.refresh_expires_at),
            grants::refresh_at.eq(tokens.refresh_at),
            grants::reauth_at.eq(tokens.reauth.map(|reauth| reauth.at)),
            grants::reauth_notice_at.eq(tokens.reauth.and_then(|reauth| reauth.notice_at)),
        ))
        .execute(conn);
    Ok(rows.await? == 1)
}

fn as_text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// What a refresh without new tokens leaves behind.
#[derive(Debug)]
pub struct FailedCall<'a> {
    /// What went wrong, as a code.
    pub error_code: &'a str,
    /// When to try again.
    pub retry_at: DateTime<Utc>,
    /// From when on a success of another call of the app brings that forward, if any does.
    pub wake_at: Option<DateTime<Utc>>,
    /// Whether the token may have been spent.
    pub in_doubt: bool,
    /// That the platform refused the grant, if it did.
    pub refused: Option<Refused<'a>>,
}

/// A refusal that may have been one of several alike.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'a> {
    /// When the first of them came.
    pub since: DateTime<Utc>,
    /// What all of them said.
    pub words: &'a str,
}

/// Writes down a refresh without new tokens, also in the histories, and frees the lease. What was in doubt before stays so.
///
/// # Errors
/// When the query fails.
pub async fn put_off(
    conn: &mut AsyncPgConnection,
    grant: &Grant,
    failed: &FailedCall<'_>,
) -> Result<(), DbError> {
    let rows = one!(grant.key())
        .filter(grants::generation.eq(grant.generation))
        .set((
            grants::refresh_at.eq(failed.retry_at),
            grants::next_attempt_at.eq(failed.retry_at),
            grants::attempts.eq(grants::attempts + 1),
            grants::lease_holder.eq(None::<String>),
            grants::lease_until.eq(None::<DateTime<Utc>>),
            grants::calling_generation.eq(failed.in_doubt.then_some(grant.generation)),
            grants::wake_at.eq(failed.wake_at),
            grants::dispatches.eq(0),
            failed.refused.map(|refused| {
                (grants::refused_since.eq(refused.since), grants::refused_as.eq(refused.words))
            }),
            (failed.in_doubt && grant.in_doubt_since.is_none())
                .then(|| grants::in_doubt_since.eq(app_now().nullable())),
            grants::last_error_code.eq(failed.error_code),
            grants::last_error_at.eq(app_now().nullable()),
        ))
        .execute(conn)
        .await?;
    if rows == 1 {
        let data = json!({
            "error": failed.error_code,
            "inDoubt": failed.in_doubt,
            "nextAttemptAt": as_text(failed.retry_at),
        });
        note_refresh(conn, grant.key(), RefreshEnding::Failed, &data).await?;
    }
    Ok(())
}

/// Makes a refresh due at `at`. The row must be locked, and nobody may be calling for it.
///
/// # Errors
/// When the query fails.
pub async fn make_due(
    conn: &mut AsyncPgConnection,
    grant: &Grant,
    at: DateTime<Utc>,
) -> Result<(), DbError> {
    // The planner gives the command that says so a few seconds.
    let planned_at = at + TimeDelta::seconds(5);
    one!(grant.key())
        .set((grants::refresh_at.eq(at), grants::next_attempt_at.eq(planned_at)))
        .execute(conn)
        .await?;
    Ok(())
}

/// Notes once that the platform wants the person to act there. False when that was noted before.
///
/// # Errors
/// When the query fails.
pub async fn note_action_needed(
    conn: &mut AsyncPgConnection,
    grant: &Grant,
) -> Result<bool, DbError> {
    let rows = one!(grant.key())
        .filter(grants::action_needed_since.is_null())
        .set(grants::action_needed_since.eq(app_now().nullable()))
        .execute(conn);
    Ok(rows.await? == 1)
}

/// Notes once that the access token has ended while the refresh keeps failing.
///
/// # Errors
/// When the query fails.
pub async fn note_overdue(conn: &mut AsyncPgConnection, grant: &Grant) -> Result<bool, DbError> {
    let rows = one!(grant.key())
        .filter(grants::overdue_since.is_null())
        .set(grants::overdue_since.eq(app_now().nullable()))
        .execute(conn);
    Ok(rows.await? == 1)
}
