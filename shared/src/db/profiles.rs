//! Profiles: the customer's labels for its end users.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::Value;

use super::schema::profiles;
use super::{DbError, now};
use crate::clock::Clock;
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

/// Adds a profile.
///
/// # Errors
/// When the query fails, also when the external id is taken in the workspace.
pub async fn insert(
    conn: &mut AsyncPgConnection,
    clock: &Clock,
    workspace: &WorkspaceId,
    name: &str,
    external_id: Option<&str>,
) -> Result<Profile, DbError> {
    let row = diesel::insert_into(profiles::table)
        .values((
            profiles::id.eq(ProfileId::new(clock)),
            profiles::workspace_id.eq(workspace),
            profiles::external_id.eq(external_id),
            profiles::name.eq(name),
            profiles::created_at.eq(now(clock)),
        ))
        .returning(Profile::as_returning());
    Ok(row.get_result(conn).await?)
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
