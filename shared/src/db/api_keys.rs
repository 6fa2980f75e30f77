//! API keys, by hash.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::schema::api_keys;
use super::{DbError, Page, Session, app_now, text_enum};
use crate::ids::{ApiKeyId, OrganisationId, WorkspaceId};

text_enum! {
    /// What a key may do. Each role may do what the ones before it may.
    Role {
        /// Read.
        Viewer = "viewer",
        /// Connect, disconnect, and everything about workspaces and webhooks.
        Admin = "admin",
        /// Keys too.
        Owner = "owner",
    }
}

impl Role {
    /// Whether this role may do what `least` may.
    #[must_use]
    pub fn covers(self, least: Self) -> bool {
        self as u8 >= least as u8
    }
}

/// A key, without the key itself.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = api_keys)]
pub struct ApiKey {
    /// Id.
    pub id: ApiKeyId,
    /// Whose it is.
    pub organisation_id: OrganisationId,
    /// The one workspace that it reaches; `None`: the whole organisation.
    pub workspace_id: Option<WorkspaceId>,
    /// What it may do.
    pub role: Role,
    /// What people call it.
    pub name: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// A key about to be added.
#[derive(Debug)]
pub struct NewApiKey<'a> {
    /// Whose it is.
    pub organisation_id: &'a OrganisationId,
    /// The one workspace that it reaches.
    pub workspace_id: Option<&'a WorkspaceId>,
    /// What it may do.
    pub role: Role,
    /// What people call it.
    pub name: &'a str,
    /// SHA-256 of the key.
    pub hash: &'a [u8],
}

/// Adds a key.
///
/// # Errors
/// When the query fails.
pub async fn insert(session: &mut Session, key: &NewApiKey<'_>) -> Result<ApiKey, DbError> {
    let row = diesel::insert_into(api_keys::table)
        .values((
            api_keys::id.eq(ApiKeyId::new(session.clock())),
            api_keys::organisation_id.eq(key.organisation_id),
            api_keys::workspace_id.eq(key.workspace_id),
            api_keys::role.eq(key.role),
            api_keys::name.eq(key.name),
            api_keys::hash.eq(key.hash),
            api_keys::created_at.eq(app_now()),
        ))
        .returning(ApiKey::as_returning());
    Ok(row.get_result(session).await?)
}

/// The key with this hash that is not revoked: who is calling, before any tenant is known.
///
/// # Errors
/// When the query fails.
pub async fn authenticate(
    conn: &mut AsyncPgConnection,
    hash: &[u8],
) -> Result<Option<ApiKey>, DbError> {
    let row = api_keys::table
        .filter(api_keys::hash.eq(hash))
        .filter(api_keys::revoked_at.is_null())
        .select(ApiKey::as_select());
    Ok(row.first(conn).await.optional()?)
}

/// A key, revoked or not. Across tenants: for the operator, who names it at the terminal.
///
/// # Errors
/// When the query fails.
pub async fn find_in_any_organisation(
    conn: &mut AsyncPgConnection,
    id: &ApiKeyId,
) -> Result<Option<ApiKey>, DbError> {
    let row = api_keys::table.find(id).select(ApiKey::as_select());
    Ok(row.first(conn).await.optional()?)
}

/// The keys of an organisation, or those limited to one workspace, that are not revoked.
///
/// # Errors
/// When the query fails.
pub async fn list(
    conn: &mut AsyncPgConnection,
    organisation: &OrganisationId,
    only: Option<&WorkspaceId>,
    page: Page<'_>,
) -> Result<Vec<ApiKey>, DbError> {
    let mut rows = api_keys::table
        .filter(api_keys::organisation_id.eq(organisation))
        .filter(api_keys::revoked_at.is_null())
        .filter(api_keys::id.gt(page.after()))
        .select(ApiKey::as_select())
        .order(api_keys::id)
        .limit(page.limit)
        .into_boxed();
    if let Some(only) = only {
        rows = rows.filter(api_keys::workspace_id.eq(only));
    }
    Ok(rows.load(conn).await?)
}

/// Revokes a key; false when there is no such key to revoke.
///
/// # Errors
/// When the query fails.
pub async fn revoke(
    conn: &mut AsyncPgConnection,
    organisation: &OrganisationId,
    only: Option<&WorkspaceId>,
    id: &ApiKeyId,
) -> Result<bool, DbError> {
    let mut row = diesel::update(api_keys::table)
        .filter(api_keys::organisation_id.eq(organisation))
        .filter(api_keys::id.eq(id))
        .filter(api_keys::revoked_at.is_null())
        .set(api_keys::revoked_at.eq(app_now().nullable()))
        .into_boxed();
    if let Some(only) = only {
        row = row.filter(api_keys::workspace_id.eq(only));
    }
    Ok(row.execute(conn).await? == 1)
}
