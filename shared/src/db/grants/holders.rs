//! Whose grants they are, across tenants: what a platform revokes knows no tenants of ours.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::BigInt;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::super::DbError;
use super::super::schema::grants;
use super::GrantStatus;
use crate::ids::{GrantId, WorkspaceId};
use crate::messages::GrantRef;

/// Takes the advisory lock on a holder until the transaction ends: whether a grant is this person's
/// last is decided by one transaction at a time. Across tenants by nature.
///
/// # Errors
/// When the query fails.
pub async fn lock_holder(conn: &mut AsyncPgConnection, holder_hash: &[u8]) -> Result<(), DbError> {
    let key = holder_hash.first_chunk::<8>().map_or(0, |head| i64::from_be_bytes(*head));
    sql_query("SELECT pg_advisory_xact_lock($1)").bind::<BigInt, _>(key).execute(conn).await?;
    Ok(())
}

/// Whether another living grant of this holder exists anywhere in the installation. The holder must
/// be locked. Across tenants: what a platform revokes knows no tenants of ours.
///
/// # Errors
/// When the query fails.
pub async fn holder_has_another(
    conn: &mut AsyncPgConnection,
    holder_hash: &[u8],
    except: &GrantId,
) -> Result<bool, DbError> {
    let other = grants::table
        .filter(grants::holder_hash.eq(holder_hash))
        .filter(grants::id.ne(except))
        .filter(grants::status.eq_any([
            GrantStatus::Pending,
            GrantStatus::Active,
            GrantStatus::Expired,
        ]));
    Ok(diesel::select(diesel::dsl::exists(other)).get_result(conn).await?)
}

/// The released grants of this holder that the platform was not told of yet: a new consent of the
/// same person spares them. The holder must be locked. Across tenants, as above.
///
/// # Errors
/// When the query fails.
pub async fn releasing_of_holder(
    conn: &mut AsyncPgConnection,
    holder_hash: &[u8],
) -> Result<Vec<GrantRef>, DbError> {
    let rows: Vec<(WorkspaceId, GrantId)> = grants::table
        .filter(grants::holder_hash.eq(holder_hash))
        .filter(grants::status.eq(GrantStatus::Releasing))
        .filter(grants::revocation_sent_at.is_null())
        .select((grants::workspace_id, grants::id))
        .load(conn)
        .await?;
    Ok(rows
        .into_iter()
        .map(|(workspace_id, grant_id)| GrantRef { workspace_id, grant_id })
        .collect())
}

/// When the platform was last told to end what this holder consented to, and the status of the grant by which
/// it was told: while that is releasing, it may still be at it. The holder must be locked. Across tenants, as above.
///
/// # Errors
/// When the query fails.
pub async fn last_revocation(
    conn: &mut AsyncPgConnection,
    holder_hash: &[u8],
) -> Result<Option<(DateTime<Utc>, GrantStatus)>, DbError> {
    let last = grants::table
        .filter(grants::holder_hash.eq(holder_hash))
        .filter(grants::revocation_sent_at.is_not_null())
        .order(grants::revocation_sent_at.desc())
        .select((grants::revocation_sent_at.assume_not_null(), grants::status));
    Ok(last.first(conn).await.optional()?)
}
