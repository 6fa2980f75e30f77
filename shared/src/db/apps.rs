//! Apps: OAuth clients that customers registered at a platform themselves.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::schema::apps;
use super::{DbError, now};
use crate::clock::Clock;
use crate::ids::{AppId, OrganisationId, WorkspaceId};
use crate::keyring::Place;

/// An app, its secret sealed.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = apps)]
pub struct App {
    /// Id.
    pub id: AppId,
    /// Whose it is.
    pub organisation_id: OrganisationId,
    /// The one workspace that may use it; `None`: every workspace of the organisation.
    pub workspace_id: Option<WorkspaceId>,
    /// The platform that it is registered at.
    pub platform: String,
    /// What people call it.
    pub name: String,
    /// The client id.
    pub client_id: String,
    /// The client secret, sealed with the organisation's data key.
    pub sealed_secret: Vec<u8>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// An app about to be added.
#[derive(Debug)]
pub struct NewApp<'a> {
    /// A new id: the seal is bound to it.
    pub id: AppId,
    /// Whose it is.
    pub organisation_id: &'a OrganisationId,
    /// The one workspace that may use it.
    pub workspace_id: Option<&'a WorkspaceId>,
    /// The platform.
    pub platform: &'a str,
    /// What people call it.
    pub name: &'a str,
    /// The client id.
    pub client_id: &'a str,
    /// The sealed client secret.
    pub sealed_secret: &'a [u8],
}

/// Where an app's secret stands.
#[must_use]
pub fn secret_place<'a>(organisation: &'a OrganisationId, id: &'a AppId) -> Place<'a> {
    Place {
        column: "apps.sealed_secret",
        tenant: organisation.as_str(),
        row: id.as_str(),
        generation: 0,
    }
}

/// Adds an app.
///
/// # Errors
/// When the query fails.
pub async fn insert(
    conn: &mut AsyncPgConnection,
    clock: &Clock,
    app: &NewApp<'_>,
) -> Result<App, DbError> {
    let row = diesel::insert_into(apps::table)
        .values((
            apps::id.eq(&app.id),
            apps::organisation_id.eq(app.organisation_id),
            apps::workspace_id.eq(app.workspace_id),
            apps::platform.eq(app.platform),
            apps::name.eq(app.name),
            apps::client_id.eq(app.client_id),
            apps::sealed_secret.eq(app.sealed_secret),
            apps::created_at.eq(now(clock)),
        ))
        .returning(App::as_returning());
    Ok(row.get_result(conn).await?)
}

/// An app that this workspace of the organisation may use.
///
/// # Errors
/// When the query fails.
pub async fn find(
    conn: &mut AsyncPgConnection,
    organisation: &OrganisationId,
    workspace: &WorkspaceId,
    id: &AppId,
) -> Result<Option<App>, DbError> {
    let row = apps::table
        .filter(apps::organisation_id.eq(organisation))
        .filter(apps::workspace_id.is_null().or(apps::workspace_id.eq(workspace)))
        .filter(apps::id.eq(id))
        .select(App::as_select());
    Ok(row.first(conn).await.optional()?)
}
