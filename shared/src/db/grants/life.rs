//! How a grant comes into use and goes out of it.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::super::schema::grants;
use super::super::{DbError, app_now};
use super::{Grant, GrantStatus};
use crate::ids::{GrantId, GrantKey, WorkspaceId};

/// Whose grant it is, once the platform has said so, with its tokens sealed anew: they hold whatever of
/// the person calls must name. False when it is not waiting for that any more.
///
/// # Errors
/// When the query fails.
pub async fn name_holder(
    conn: &mut AsyncPgConnection,
    grant: &Grant,
    holder_hash: &[u8],
    sealed: &[u8],
) -> Result<bool, DbError> {
    let rows = one!(grant.key())
        .filter(grants::status.eq(GrantStatus::Pending))
        .filter(grants::generation.eq(grant.generation))
        .set((grants::holder_hash.eq(holder_hash), grants::sealed_tokens.eq(sealed)))
        .execute(conn);
    Ok(rows.await? == 1)
}

/// A grant whose holder is known is in use from now on. False when it is out of use already.
///
/// # Errors
/// When the query fails.
pub async fn activate(
    conn: &mut AsyncPgConnection,
    workspace: &WorkspaceId,
    id: &GrantId,
) -> Result<bool, DbError> {
    let rows = one!(GrantKey { workspace_id: workspace, id })
        .filter(grants::status.eq(GrantStatus::Pending))
        .filter(grants::holder_hash.is_not_null())
        .set((
            grants::status.eq(GrantStatus::Active),
            grants::next_attempt_at.eq(grants::refresh_at),
        ))
        .execute(conn);
    Ok(rows.await? == 1)
}

/// Gives a new grant the refresh token of the one that it takes the place of.
///
/// # Errors
/// When the query fails.
pub async fn adopt_refresh_token(
    conn: &mut AsyncPgConnection,
    grant: &Grant,
    sealed: &[u8],
    refresh_expires_at: Option<DateTime<Utc>>,
    refresh_at: Option<DateTime<Utc>>,
) -> Result<(), DbError> {
    one!(grant.key())
        .filter(grants::generation.eq(grant.generation))
        .set((
            grants::sealed_tokens.eq(sealed),
            grants::renewable.eq(true),
            grants::refresh_expires_at.eq(refresh_expires_at),
            grants::refresh_at.eq(refresh_at),
            grants::next_attempt_at.eq(refresh_at),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Writes down what is wrong with a grant that works.
///
/// # Errors
/// When the query fails.
pub async fn note_error(
    conn: &mut AsyncPgConnection,
    key: GrantKey<'_>,
    code: &str,
) -> Result<(), DbError> {
    one!(key)
        .set((grants::last_error_code.eq(code), grants::last_error_at.eq(app_now().nullable())))
        .execute(conn)
        .await?;
    Ok(())
}

/// Ends an active grant whose tokens are still those of this generation.
///
/// # Errors
/// When the query fails.
pub async fn expire(
    conn: &mut AsyncPgConnection,
    grant: &Grant,
    reason: &str,
) -> Result<bool, DbError> {
    let rows = one!(grant.key())
        .filter(grants::status.eq(GrantStatus::Active))
        .filter(grants::generation.eq(grant.generation))
        .set((
            grants::status.eq(GrantStatus::Expired),
            grants::end_reason.eq(reason),
            grants::next_attempt_at.eq(None::<DateTime<Utc>>),
            grants::lease_holder.eq(None::<String>),
            grants::lease_until.eq(None::<DateTime<Utc>>),
            grants::last_error_code.eq(reason),
            grants::last_error_at.eq(app_now().nullable()),
        ))
        .execute(conn);
    Ok(rows.await? == 1)
}

/// Brings an expired grant back into use: new tokens came after all.
///
/// # Errors
/// When the query fails.
pub async fn revive(
    conn: &mut AsyncPgConnection,
    workspace: &WorkspaceId,
    id: &GrantId,
) -> Result<bool, DbError> {
    let rows = one!(GrantKey { workspace_id: workspace, id })
        .filter(grants::status.eq(GrantStatus::Expired))
        .set((grants::status.eq(GrantStatus::Active), grants::end_reason.eq(None::<String>)))
        .execute(conn);
    Ok(rows.await? == 1)
}

/// Puts a grant out of use: the platform is to be told. False when it was already.
///
/// # Errors
/// When the query fails.
pub async fn release(
    conn: &mut AsyncPgConnection,
    workspace: &WorkspaceId,
    id: &GrantId,
    reason: &str,
) -> Result<bool, DbError> {
    let rows = one!(GrantKey { workspace_id: workspace, id })
        .filter(grants::status.eq_any([
            GrantStatus::Pending,
            GrantStatus::Active,
            GrantStatus::Expired,
        ]))
        .set((
            grants::status.eq(GrantStatus::Releasing),
            grants::end_reason.eq(reason),
            grants::released_at.eq(app_now().nullable()),
            grants::next_attempt_at.eq(None::<DateTime<Utc>>),
        ))
        .execute(conn);
    Ok(rows.await? == 1)
}

/// Destroys the tokens of a grant that is not to be revoked at the platform: another consent of the
/// same person depends on it, or a newer one took its place.
///
/// # Errors
/// When the query fails.
pub async fn supersede(
    conn: &mut AsyncPgConnection,
    workspace: &WorkspaceId,
    id: &GrantId,
    reason: &str,
) -> Result<bool, DbError> {
    end(conn, GrantKey { workspace_id: workspace, id }, GrantStatus::Superseded, reason).await
}

/// The platform was told, or will never be: destroys the tokens.
///
/// # Errors
/// When the query fails.
pub async fn finish_release(
    conn: &mut AsyncPgConnection,
    workspace: &WorkspaceId,
    id: &GrantId,
    reason: &str,
) -> Result<bool, DbError> {
    end(conn, GrantKey { workspace_id: workspace, id }, GrantStatus::Revoked, reason).await
}

async fn end(
    conn: &mut AsyncPgConnection,
    key: GrantKey<'_>,
    status: GrantStatus,
    reason: &str,
) -> Result<bool, DbError> {
    let rows = one!(key)
        .filter(grants::status.ne_all([GrantStatus::Revoked, GrantStatus::Superseded]))
        .set((
            grants::status.eq(status),
            grants::sealed_tokens.eq(None::<Vec<u8>>),
            grants::end_reason.eq(reason),
            grants::next_attempt_at.eq(None::<DateTime<Utc>>),
            grants::refresh_at.eq(None::<DateTime<Utc>>),
            grants::lease_holder.eq(None::<String>),
            grants::lease_until.eq(None::<DateTime<Utc>>),
        ))
        .execute(conn);
    Ok(rows.await? == 1)
}

/// Notes that the platform is being told, once more: too late for a new consent to stop this call.
///
/// # Errors
/// When the query fails.
pub async fn note_revocation_sent(
    conn: &mut AsyncPgConnection,
    grant: &Grant,
) -> Result<(), DbError> {
    one!(grant.key())
        .set(grants::revocation_sent_at.eq(app_now().nullable()))
        .execute(conn)
        .await?;
    Ok(())
}
