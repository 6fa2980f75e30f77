//! Grants: what platforms gave us. One token set each, sealed.
//!
//! The lease says who may call the platform, the generation says who may store. A refresh commits
//! its intent before it calls, so that a call whose answer nobody read is known as in doubt.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Interval, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::schema::grants;
use super::{DbError, now, now_plus, text_enum};
use crate::clock::Clock;
use crate::ids::{AppId, GrantId, WorkspaceId};
use crate::keyring::Place;
use crate::messages::GrantRef;

text_enum! {
    /// Where a grant is in its life.
    GrantStatus {
        /// Stored, whose it is is not known yet.
        Pending = "pending",
        /// In use, and kept alive.
        Active = "active",
        /// Dead at the platform, or nothing can renew it.
        Expired = "expired",
        /// Out of use; the platform is to be told.
        Releasing = "releasing",
        /// The platform was told, or we gave up telling it. The tokens are destroyed.
        Revoked = "revoked",
        /// Destroyed without telling the platform.
        Superseded = "superseded",
    }
}

/// A grant, its tokens sealed.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = grants)]
pub struct Grant {
    /// Id.
    pub id: GrantId,
    /// Whose it is.
    pub workspace_id: WorkspaceId,
    /// Which platform gave it.
    pub platform: String,
    /// Through which of the customer's apps; `None`: the installation's.
    pub app_id: Option<AppId>,
    /// Where it is in its life.
    pub status: GrantStatus,
    /// Counts token sets.
    pub generation: i64,
    /// The token set of this generation.
    pub sealed_tokens: Option<Vec<u8>>,
    /// Whether it holds a refresh token.
    pub renewable: bool,
    /// What the person granted.
    pub scopes: Vec<String>,
    /// Finds other grants of the same person through the same app.
    pub holder_hash: Option<Vec<u8>>,
    /// The database's time before the call that brought these tokens.
    pub issued_at: DateTime<Utc>,
    /// When the access token ends.
    pub access_expires_at: Option<DateTime<Utc>>,
    /// When the refresh token ends.
    pub refresh_expires_at: Option<DateTime<Utc>>,
    /// When the next refresh is due.
    pub refresh_at: Option<DateTime<Utc>>,
    /// Failures since the last success.
    pub attempts: i32,
    /// Until when somebody may be calling.
    pub lease_until: Option<DateTime<Utc>>,
    /// The generation whose token was presented last.
    pub calling_generation: Option<i64>,
    /// Since when nobody knows whether the refresh token was spent.
    pub in_doubt_since: Option<DateTime<Utc>>,
    /// Since when the access token has ended while the refresh keeps failing.
    pub overdue_since: Option<DateTime<Utc>>,
    /// When it was refreshed last.
    pub last_refreshed_at: Option<DateTime<Utc>>,
    /// What went wrong last.
    pub last_error_code: Option<String>,
    /// When.
    pub last_error_at: Option<DateTime<Utc>>,
    /// When it was released.
    pub released_at: Option<DateTime<Utc>>,
}

impl Grant {
    /// Where the tokens of this grant's current generation stand.
    #[must_use]
    pub fn tokens_place(&self) -> Place<'_> {
        tokens_place(&self.workspace_id, &self.id, self.generation)
    }

    /// Whether the token of the current generation was presented and no answer was stored.
    #[must_use]
    pub fn is_unanswered(&self) -> bool {
        self.calling_generation == Some(self.generation)
    }
}

/// Where the tokens of a generation of a grant stand.
#[must_use]
pub fn tokens_place<'a>(workspace: &'a WorkspaceId, id: &'a GrantId, generation: i64) -> Place<'a> {
    Place {
        column: "grants.sealed_tokens",
        tenant: workspace.as_str(),
        row: id.as_str(),
        generation,
    }
}

/// A token set about to be stored.
#[derive(Clone, Debug)]
pub struct NewTokens {
    /// Sealed for its place.
    pub sealed: Vec<u8>,
    /// Whether it holds a refresh token.
    pub renewable: bool,
    /// What the person granted.
    pub scopes: Vec<String>,
    /// The database's time before the call.
    pub issued_at: DateTime<Utc>,
    /// When the access token ends.
    pub access_expires_at: Option<DateTime<Utc>>,
    /// When the refresh token ends.
    pub refresh_expires_at: Option<DateTime<Utc>>,
    /// When to refresh.
    pub refresh_at: Option<DateTime<Utc>>,
}

/// A grant about to be added.
#[derive(Debug)]
pub struct NewGrant<'a> {
    /// A new id: the seal is bound to it.
    pub id: GrantId,
    /// Whose it is.
    pub workspace_id: &'a WorkspaceId,
    /// Which platform gave it.
    pub platform: &'a str,
    /// Through which of the customer's apps.
    pub app_id: Option<&'a AppId>,
    /// `Pending`, or `Releasing` when it is not wanted any more.
    pub status: GrantStatus,
    /// Generation 1.
    pub tokens: &'a NewTokens,
}

/// Adds a grant. Durable before anything else happens to the answer.
///
/// # Errors
/// When the query fails.
pub async fn insert(
    conn: &mut AsyncPgConnection,
    clock: &Clock,
    new: &NewGrant<'_>,
) -> Result<(), DbError> {
    let tokens = new.tokens;
    diesel::insert_into(grants::table)
        .values((
            (
                grants::id.eq(&new.id),
                grants::workspace_id.eq(new.workspace_id),
                grants::platform.eq(new.platform),
                grants::app_id.eq(new.app_id),
                grants::status.eq(new.status),
                grants::generation.eq(1),
                grants::created_at.eq(now(clock)),
                (new.status == GrantStatus::Releasing)
                    .then(|| grants::released_at.eq(now(clock).nullable())),
            ),
            (
                grants::sealed_tokens.eq(&tokens.sealed),
                grants::renewable.eq(tokens.renewable),
                grants::scopes.eq(&tokens.scopes),
                grants::issued_at.eq(tokens.issued_at),
                grants::access_expires_at.eq(tokens.access_expires_at),
                grants::refresh_expires_at.eq(tokens.refresh_expires_at),
                grants::refresh_at.eq(tokens.refresh_at),
            ),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// One grant of a workspace.
///
/// # Errors
/// When the query fails.
pub async fn find(
    conn: &mut AsyncPgConnection,
    workspace: &WorkspaceId,
    id: &GrantId,
) -> Result<Option<Grant>, DbError> {
    let row = grants::table.filter(grants::workspace_id.eq(workspace)).filter(grants::id.eq(id));
    Ok(row.select(Grant::as_select()).first(conn).await.optional()?)
}

/// One grant of a workspace, its row locked until the transaction ends.
///
/// # Errors
/// When the query fails.
pub async fn lock(
    conn: &mut AsyncPgConnection,
    workspace: &WorkspaceId,
    id: &GrantId,
) -> Result<Option<Grant>, DbError> {
    let row = grants::table.filter(grants::workspace_id.eq(workspace)).filter(grants::id.eq(id));
    Ok(row.select(Grant::as_select()).for_update().first(conn).await.optional()?)
}

macro_rules! one {
    ($workspace:expr, $id:expr) => {
        diesel::update(grants::table)
            .filter(grants::workspace_id.eq($workspace))
            .filter(grants::id.eq($id))
    };
}

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
/// that is being released takes the answer too, so that the newest token is revoked. Answers the
/// status of the grant; `None` when the generation has moved on.
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
    Ok(row.get_result(conn).await.optional()?)
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

/// Writes down a refresh without new tokens and frees the lease. What was in doubt before stays so.
///
/// # Errors
/// When the query fails.
pub async fn put_off(
    conn: &mut AsyncPgConnection,
    clock: &Clock,
    grant: &Grant,
    failed: &FailedCall<'_>,
) -> Result<(), DbError> {
    one!(&grant.workspace_id, &grant.id)
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

/// Whose grant it is, once the platform has said so; it is in use from now on.
///
/// # Errors
/// When the query fails.
pub async fn activate(
    conn: &mut AsyncPgConnection,
    workspace: &WorkspaceId,
    id: &GrantId,
    holder_hash: &[u8],
) -> Result<bool, DbError> {
    let rows = one!(workspace, id)
        .filter(grants::status.eq(GrantStatus::Pending))
        .set((
            grants::status.eq(GrantStatus::Active),
            grants::holder_hash.eq(holder_hash),
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
    (refresh_expires_at, refresh_at): (Option<DateTime<Utc>>, Option<DateTime<Utc>>),
) -> Result<(), DbError> {
    one!(&grant.workspace_id, &grant.id)
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

/// Ends an active grant whose tokens are still those of this generation.
///
/// # Errors
/// When the query fails.
pub async fn expire(
    conn: &mut AsyncPgConnection,
    clock: &Clock,
    grant: &Grant,
    reason: &str,
) -> Result<bool, DbError> {
    let rows = one!(&grant.workspace_id, &grant.id)
        .filter(grants::status.eq(GrantStatus::Active))
        .filter(grants::generation.eq(grant.generation))
        .set((
            grants::status.eq(GrantStatus::Expired),
            grants::end_reason.eq(reason),
            grants::next_attempt_at.eq(None::<DateTime<Utc>>),
            grants::lease_holder.eq(None::<String>),
            grants::lease_until.eq(None::<DateTime<Utc>>),
            grants::last_error_code.eq(reason),
            grants::last_error_at.eq(now(clock).nullable()),
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
    let rows = one!(workspace, id)
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
    clock: &Clock,
    workspace: &WorkspaceId,
    id: &GrantId,
    reason: &str,
) -> Result<bool, DbError> {
    let rows = one!(workspace, id)
        .filter(grants::status.eq_any([
            GrantStatus::Pending,
            GrantStatus::Active,
            GrantStatus::Expired,
        ]))
        .set((
            grants::status.eq(GrantStatus::Releasing),
            grants::end_reason.eq(reason),
            grants::released_at.eq(now(clock).nullable()),
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
    end(conn, (workspace, id), (GrantStatus::Superseded, reason)).await
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
    end(conn, (workspace, id), (GrantStatus::Revoked, reason)).await
}

async fn end(
    conn: &mut AsyncPgConnection,
    (workspace, id): (&WorkspaceId, &GrantId),
    (status, reason): (GrantStatus, &str),
) -> Result<bool, DbError> {
    let rows = one!(workspace, id)
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

/// Notes that the platform is being told from now on: too late for a new consent to stop it.
///
/// # Errors
/// When the query fails.
pub async fn note_revocation_sent(
    conn: &mut AsyncPgConnection,
    clock: &Clock,
    grant: &Grant,
) -> Result<(), DbError> {
    one!(&grant.workspace_id, &grant.id)
        .filter(grants::revocation_sent_at.is_null())
        .set(grants::revocation_sent_at.eq(now(clock).nullable()))
        .execute(conn)
        .await?;
    Ok(())
}

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

#[derive(QueryableByName)]
struct Due {
    #[diesel(sql_type = Text)]
    platform: String,
    #[diesel(sql_type = Text)]
    app: String,
    #[diesel(sql_type = Text)]
    workspace_id: WorkspaceId,
    #[diesel(sql_type = Text)]
    id: GrantId,
}

/// A due grant with the platform and app that it belongs to, for grouping.
#[derive(Debug)]
pub struct DueGrant {
    /// Platform and app (empty: the installation's).
    pub platform_app: (String, String),
    /// The grant.
    pub grant: GrantRef,
}

/// Takes due grants in the order of their deadlines, each moved 2 min ahead, doubling: a lost
/// message comes due again. Across tenants: for the planner.
///
/// # Errors
/// When the query fails.
pub async fn take_due(
    conn: &mut AsyncPgConnection,
    clock: &Clock,
    limit: i64,
) -> Result<Vec<DueGrant>, DbError> {
    let query = sql_query(
        "WITH due AS (
             SELECT id FROM grants WHERE status = 'active' AND next_attempt_at <= moment($1)
             ORDER BY next_attempt_at LIMIT $2 FOR UPDATE SKIP LOCKED)
         UPDATE grants SET dispatches = dispatches + 1,
             next_attempt_at = moment($1) + interval '2 min' * power(2, least(dispatches, 6))
         FROM due WHERE grants.id = due.id
         RETURNING platform, coalesce(app_id, '') AS app, workspace_id, grants.id",
    )
    .bind::<Interval, _>(clock.offset())
    .bind::<BigInt, _>(limit);
    let rows: Vec<Due> = query.load(conn).await?;
    let due = |row: Due| DueGrant {
        platform_app: (row.platform, row.app),
        grant: GrantRef { workspace_id: row.workspace_id, grant_id: row.id },
    };
    Ok(rows.into_iter().map(due).collect())
}

/// The active grants that nothing can renew any more: the refresh token's own end has passed, or
/// there is none and the access token's end has. Nobody may be calling for them. Across tenants:
/// for the sweep.
///
/// # Errors
/// When the query fails.
pub async fn ended(
    conn: &mut AsyncPgConnection,
    clock: &Clock,
    limit: i64,
) -> Result<Vec<GrantRef>, DbError> {
    let query = sql_query(
        "SELECT '' AS platform, '' AS app, workspace_id, id FROM grants
         WHERE status = 'active'
           AND CASE WHEN renewable THEN refresh_expires_at ELSE access_expires_at END <= moment($1)
           AND (lease_until IS NULL OR lease_until < moment($1))
         LIMIT $2",
    )
    .bind::<Interval, _>(clock.offset())
    .bind::<BigInt, _>(limit);
    let rows: Vec<Due> = query.load(conn).await?;
    Ok(rows
        .into_iter()
        .map(|row| GrantRef { workspace_id: row.workspace_id, grant_id: row.id })
        .collect())
}
