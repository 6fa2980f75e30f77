//! Workspaces: the isolation boundary inside an organisation.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::schema::workspaces;
use super::{DbError, Page, Session, app_now, text_enum};
use crate::ids::{OrganisationId, WorkspaceId};

text_enum! {
    /// How many accounts of one platform may be in use in a workspace at a time.
    AccountPolicy {
        /// Any number.
        Many = "many",
        /// One: every connect is exclusive.
        OnePerPlatform = "one_per_platform",
    }
}

/// A workspace.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = workspaces)]
pub struct Workspace {
    /// Id.
    pub id: WorkspaceId,
    /// Whose it is.
    pub organisation_id: OrganisationId,
    /// What people call it.
    pub name: String,
    /// Where connects may send the browser back to; empty: any https URL, and http on loopback.
    pub redirect_allowlist: Vec<String>,
    /// How many accounts of one platform may be in use.
    pub account_policy: AccountPolicy,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// What may be changed of a workspace; what is `None` stays.
#[derive(AsChangeset, Debug, Default)]
#[diesel(table_name = workspaces)]
pub struct WorkspaceChange {
    /// A new name.
    pub name: Option<String>,
    /// A new list.
    pub redirect_allowlist: Option<Vec<String>>,
    /// A new policy; the accounts in use are the caller's to judge, under the workspace's lock.
    pub account_policy: Option<AccountPolicy>,
}

/// A workspace about to be added.
#[derive(Debug)]
pub struct NewWorkspace<'a> {
    /// Whose it is.
    pub organisation_id: &'a OrganisationId,
    /// What people call it.
    pub name: &'a str,
    /// Where connects may send the browser back to.
    pub redirect_allowlist: &'a [String],
    /// How many accounts of one platform may be in use.
    pub account_policy: AccountPolicy,
}

/// What the transaction that adds an account must know of the workspace.
#[derive(Clone, Copy, Debug, Queryable, Selectable)]
#[diesel(table_name = workspaces)]
pub struct Terms {
    /// How many accounts of one platform may be in use.
    pub account_policy: AccountPolicy,
    /// Since when it is hidden: nothing is added to it any more.
    pub deleted_at: Option<DateTime<Utc>>,
}

/// Adds a workspace. Its data key is the caller's to make, in the same transaction.
///
/// # Errors
/// When the query fails.
pub async fn insert(session: &mut Session, new: &NewWorkspace<'_>) -> Result<Workspace, DbError> {
    let row = diesel::insert_into(workspaces::table)
        .values((
            workspaces::id.eq(WorkspaceId::new(session.clock())),
            workspaces::organisation_id.eq(new.organisation_id),
            workspaces::name.eq(new.name),
            workspaces::redirect_allowlist.eq(new.redirect_allowlist),
            workspaces::account_policy.eq(new.account_policy),
            workspaces::created_at.eq(app_now()),
        ))
        .returning(Workspace::as_returning());
    Ok(row.get_result(session).await?)
}

/// One workspace of an organisation, unless it was deleted.
///
/// # Errors
/// When the query fails.
pub async fn find(
    conn: &mut AsyncPgConnection,
    organisation: &OrganisationId,
    id: &WorkspaceId,
) -> Result<Option<Workspace>, DbError> {
    let row = workspaces::table
        .filter(workspaces::organisation_id.eq(organisation))
        .filter(workspaces::id.eq(id))
        .filter(workspaces::deleted_at.is_null())
        .select(Workspace::as_select());
    Ok(row.first(conn).await.optional()?)
}

/// One workspace of whatever organisation, unless it was deleted. Across tenants: for a producer that is
/// trusted with all of them.
///
/// # Errors
/// When the query fails.
pub async fn find_in_any_organisation(
    conn: &mut AsyncPgConnection,
    id: &WorkspaceId,
) -> Result<Option<Workspace>, DbError> {
    let row = workspaces::table
        .filter(workspaces::id.eq(id))
        .filter(workspaces::deleted_at.is_null())
        .select(Workspace::as_select());
    Ok(row.first(conn).await.optional()?)
}

/// Locks a workspace, also a deleted one, until the transaction ends: of those who add accounts to it,
/// or judge how many it has, one goes at a time. Rows that name it are inserted meanwhile all the same.
///
/// # Errors
/// When the query fails, also when there is no such workspace.
pub async fn lock(conn: &mut AsyncPgConnection, id: &WorkspaceId) -> Result<Terms, DbError> {
    let row = workspaces::table.find(id).select(Terms::as_select()).for_no_key_update();
    Ok(row.first(conn).await?)
}

/// The organisation that a workspace belongs to. For workers, whose messages name workspaces only.
///
/// # Errors
/// When the query fails, also when there is no such workspace.
pub async fn organisation_of(
    conn: &mut AsyncPgConnection,
    id: &WorkspaceId,
) -> Result<OrganisationId, DbError> {
    Ok(workspaces::table.find(id).select(workspaces::organisation_id).first(conn).await?)
}

/// The workspaces of an organisation, or the one that a key reaches.
///
/// # Errors
/// When the query fails.
pub async fn list(
    conn: &mut AsyncPgConnection,
    organisation: &OrganisationId,
    only: Option<&WorkspaceId>,
    page: Page<'_>,
) -> Result<Vec<Workspace>, DbError> {
    let mut rows = workspaces::table
        .filter(workspaces::organisation_id.eq(organisation))
        .filter(workspaces::id.gt(page.after()))
        .filter(workspaces::deleted_at.is_null())
        .select(Workspace::as_select())
        .order(workspaces::id)
        .limit(page.limit)
        .into_boxed();
    if let Some(only) = only {
        rows = rows.filter(workspaces::id.eq(only));
    }
    Ok(rows.load(conn).await?)
}

/// Changes a workspace; `None` when the organisation has no such workspace.
///
/// # Errors
/// When the query fails.
pub async fn update(
    conn: &mut AsyncPgConnection,
    organisation: &OrganisationId,
    id: &WorkspaceId,
    change: &WorkspaceChange,
) -> Result<Option<Workspace>, DbError> {
    if change.name.is_none()
        && change.redirect_allowlist.is_none()
        && change.account_policy.is_none()
    {
        return find(conn, organisation, id).await;
    }
    let row = diesel::update(workspaces::table)
        .filter(workspaces::organisation_id.eq(organisation))
        .filter(workspaces::id.eq(id))
        .filter(workspaces::deleted_at.is_null())
        .set(change)
        .returning(Workspace::as_returning());
    Ok(row.get_result(conn).await.optional()?)
}
