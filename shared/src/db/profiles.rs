//! Profiles: the customer's labels for its end users.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::Text;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::Value;

use super::schema::profiles;
use super::{DbError, Page, Session, Yes, app_now};
use crate::ids::{ProfileId, WorkspaceId};

/// A profile.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = profiles)]
pub struct Profile {
    /// Id.
    pub id: ProfileId,
    /// Where it belongs.
    pub workspace_id: WorkspaceId,
    /// The customer's own id of the end user.
    pub external_id: Option<String>,
    /// What people call it.
    pub name: String,
    /// Whatever the customer wants to keep here.
    pub metadata: Value,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// A profile about to be added.
#[derive(Debug)]
pub struct NewProfile<'a> {
    /// The customer's own id of the end user.
    pub external_id: Option<&'a str>,
    /// What people call it.
    pub name: &'a str,
    /// Whatever the customer wants to keep here.
    pub metadata: &'a Value,
}

/// What is to be changed of a profile; what is `None` stays.
#[derive(AsChangeset, Debug, Default)]
#[diesel(table_name = profiles)]
pub struct ProfileChange {
    /// Another external id; `Some(None)` takes it away.
    pub external_id: Option<Option<String>>,
    /// Another name.
    pub name: Option<String>,
    /// Something else to keep.
    pub metadata: Option<Value>,
}

impl ProfileChange {
    fn is_empty(&self) -> bool {
        self.external_id.is_none() && self.name.is_none() && self.metadata.is_none()
    }
}

/// Adds a profile.
///
/// # Errors
/// When the query fails, also when the external id is taken in the workspace.
pub async fn insert(
    session: &mut Session,
    workspace: &WorkspaceId,
    new: &NewProfile<'_>,
) -> Result<Profile, DbError> {
    let row = diesel::insert_into(profiles::table)
        .values((
            profiles::id.eq(ProfileId::new(session.clock())),
            profiles::workspace_id.eq(workspace),
            profiles::external_id.eq(new.external_id),
            profiles::name.eq(new.name),
            profiles::metadata.eq(new.metadata),
            profiles::created_at.eq(app_now()),
        ))
        .returning(Profile::as_returning());
    Ok(row.get_result(session).await?)
}

/// One profile of a workspace.
///
/// # Errors
/// When the query fails.
pub async fn find(
    conn: &mut AsyncPgConnection,
    workspace: &WorkspaceId,
    id: &ProfileId,
) -> Result<Option<Profile>, DbError> {
    let row = profiles::table
        .filter(profiles::workspace_id.eq(workspace))
        .filter(profiles::id.eq(id))
        .select(Profile::as_select());
    Ok(row.first(conn).await.optional()?)
}

/// The profiles of a workspace, or the one that has an external id.
///
/// # Errors
/// When the query fails.
pub async fn list(
    conn: &mut AsyncPgConnection,
    workspace: &WorkspaceId,
    external_id: Option<&str>,
    page: Page<'_>,
) -> Result<Vec<Profile>, DbError> {
    let mut rows = profiles::table
        .filter(profiles::workspace_id.eq(workspace))
        .filter(profiles::id.gt(page.after()))
        .select(Profile::as_select())
        .order(profiles::id)
        .limit(page.limit)
        .into_boxed();
    if let Some(external_id) = external_id {
        rows = rows.filter(profiles::external_id.eq(external_id));
    }
    Ok(rows.load(conn).await?)
}

/// Changes a profile; `None` when the workspace has no such profile.
///
/// # Errors
/// When the query fails, also when the external id is taken in the workspace.
pub async fn update(
    conn: &mut AsyncPgConnection,
    workspace: &WorkspaceId,
    id: &ProfileId,
    change: &ProfileChange,
) -> Result<Option<Profile>, DbError> {
    if change.is_empty() {
        return find(conn, workspace, id).await;
    }
    let row = diesel::update(profiles::table)
        .filter(profiles::workspace_id.eq(workspace))
        .filter(profiles::id.eq(id))
        .set(change)
        .returning(Profile::as_returning());
    Ok(row.get_result(conn).await.optional()?)
}

/// One profile of a workspace, its row locked until the transaction ends: nothing new names it
/// meanwhile.
///
/// # Errors
/// When the query fails.
pub async fn lock(
    conn: &mut AsyncPgConnection,
    workspace: &WorkspaceId,
    id: &ProfileId,
) -> Result<Option<Profile>, DbError> {
    let row =
        profiles::table.filter(profiles::workspace_id.eq(workspace)).filter(profiles::id.eq(id));
    Ok(row.select(Profile::as_select()).for_update().first(conn).await.optional()?)
}

/// Whether an account that is not disconnected, or a connect that has not ended, names the profile.
/// The profile must be locked, as its workspace's.
///
/// # Errors
/// When the query fails.
pub async fn is_in_use(conn: &mut AsyncPgConnection, profile: &Profile) -> Result<bool, DbError> {
    let query = sql_query(
        "SELECT EXISTS (SELECT 1 FROM accounts WHERE profile_id = $1 AND status <> 'disconnected')
             OR EXISTS (SELECT 1 FROM connects WHERE profile_id = $1
                        AND status NOT IN ('connected', 'failed', 'expired', 'cancelled')) AS yes",
    );
    Ok(query.bind::<Text, _>(&profile.id).get_result::<Yes>(conn).await?.yes)
}

/// Deletes a profile, locked as its workspace's. What has ended forgets it; what has not refuses the
/// deletion.
///
/// # Errors
/// When a query fails, also when the profile is still in use.
pub async fn delete(conn: &mut AsyncPgConnection, profile: &Profile) -> Result<(), DbError> {
    for statement in [
        "UPDATE connects SET profile_id = NULL WHERE profile_id = $1
             AND status IN ('connected', 'failed', 'expired', 'cancelled')",
        "UPDATE accounts SET profile_id = NULL WHERE profile_id = $1 AND status = 'disconnected'",
        "DELETE FROM profiles WHERE id = $1",
    ] {
        sql_query(statement).bind::<Text, _>(&profile.id).execute(conn).await?;
    }
    Ok(())
}
