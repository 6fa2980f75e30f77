//! A refresh as its row sees it: intent, answer, or another try.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::json;

use super::super::account_history::{RefreshEnding, note_refresh};
use super::super::schema::grants;
use super::super::{DbError, now, now_plus};
use super::{Grant, GrantStatus, NewTokens, reauth};
use crate::clock::Clock;
use crate::ids::{GrantId, WorkspaceId};

/// Takes the lease and records the intent to present the current token. The row must be locked.
///
/// # Errors
/// When the query fails.
pub async fn begin_call(
    conn: &mut AsyncPgConnection,
    clock: &Clock,
    grant: &Grant,
    (holder, lease): (&str, TimeDelta),
) -> Result<(), DbError> {
    one!(&grant.workspace_id, &grant.id)
        .set((
            grants::lease_holder.eq(holder),
            grants::lease_until.eq(now_plus(clock, lease).nullable()),
            grants::next_attempt_at.eq(now_plus(clock, lease).nullable()),
            grants::calling_generation.eq(grant.generation),
            grants::in_doubt_since.eq(grant.in_doubt_since),
            grants::dispatches.eq(0),
        ))
        .execute(conn)
        .await?;
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
    one!(&grant.workspace_id, &grant.id)
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
    clock: &Clock,
    grant: &Grant,
    tokens: &NewTokens,
) -> Result<Option<GrantStatus>, DbError> {
    let row = one!(&grant.workspace_id, &grant.id)
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
                grants::last_refreshed_at.eq(now(clock).nullable()),
            ),
        ))
        .returning(grants::status);
    let status = row.get_result(conn).await.optional()?;
    if status.is_some() {
        if tokens.reauth.is_some() || grant.reauth_at.is_some() {
            reauth::renew(conn, (&grant.workspace_id, &grant.id), tokens.reauth).await?;
        }
        let data = json!({
            "tokenGeneration": grant.generation + 1,
            "tokenExpiresAt": tokens.access_expires_at.map(as_text),
        });
        let ending = (RefreshEnding::Succeeded, &data);
        note_refresh(conn, clock, (&grant.workspace_id, &grant.id), ending).await?;
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
    let rows = one!(&grant.workspace_id, &grant.id)
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
    /// Whether the token may have been spent.
    pub in_doubt: bool,
}

/// Writes down a refresh without new tokens, also in the histories, and frees the lease. What was in doubt before stays so.
///
/// # Errors
/// When the query fails.
pub async fn put_off(
    conn: &mut AsyncPgConnection,
    clock: &Clock,
    grant: &Grant,
    failed: &FailedCall<'_>,
) -> Result<(), DbError> {
    let rows = one!(&grant.workspace_id, &grant.id)
        .filter(grants::generation.eq(grant.generation))
        .set((
            grants::refresh_at.eq(failed.retry_at),
            grants::next_attempt_at.eq(failed.retry_at),
            grants::attempts.eq(grants::attempts + 1),
            grants::lease_holder.eq(None::<String>),
            grants::lease_until.eq(None::<DateTime<Utc>>),
            grants::calling_generation.eq(failed.in_doubt.then_some(grant.generation)),
            (failed.in_doubt && grant.in_doubt_since.is_none())
                .then(|| grants::in_doubt_since.eq(now(clock).nullable())),
            grants::last_error_code.eq(failed.error_code),
            grants::last_error_at.eq(now(clock).nullable()),
        ))
        .execute(conn)
        .await?;
    if rows == 1 {
        let data = json!({
            "error": failed.error_code,
            "inDoubt": failed.in_doubt,
            "nextAttemptAt": as_text(failed.retry_at),
        });
        let ending = (RefreshEnding::Failed, &data);
        note_refresh(conn, clock, (&grant.workspace_id, &grant.id), ending).await?;
    }
    Ok(())
}

/// Makes a refresh due now; false when the grant is not active or cannot be renewed.
///
/// # Errors
/// When the query fails.
pub async fn make_due(
    conn: &mut AsyncPgConnection,
    clock: &Clock,
    workspace: &WorkspaceId,
    id: &GrantId,
) -> Result<bool, DbError> {
    let rows = one!(workspace, id)
        .filter(grants::status.eq(GrantStatus::Active))
        .filter(grants::renewable.eq(true))
        .set((
            grants::refresh_at.eq(now(clock).nullable()),
            grants::next_attempt_at.eq(now_plus(clock, TimeDelta::seconds(5)).nullable()),
        ))
        .execute(conn);
    Ok(rows.await? == 1)
}

/// Notes once that the access token has ended while the refresh keeps failing.
///
/// # Errors
/// When the query fails.
pub async fn note_overdue(
    conn: &mut AsyncPgConnection,
    clock: &Clock,
    grant: &Grant,
) -> Result<bool, DbError> {
    let rows = one!(&grant.workspace_id, &grant.id)
        .filter(grants::overdue_since.is_null())
        .set(grants::overdue_since.eq(now(clock).nullable()))
        .execute(conn);
    Ok(rows.await? == 1)
}
