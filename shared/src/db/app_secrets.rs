//! The client secrets of apps: one, or two while a secret is being changed at the platform.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::schema::app_secrets;
use super::{DbError, app_now};
use crate::ids::{AppId, AppSecretId, OrganisationId};
use crate::keyring::Aad;

/// A client secret, sealed.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = app_secrets)]
pub struct AppSecret {
    /// Id.
    pub id: AppSecretId,
    /// Whose it is.
    pub organisation_id: OrganisationId,
    /// The app that it belongs to.
    pub app_id: AppId,
    /// The secret, sealed with the organisation's data key.
    pub sealed_secret: Vec<u8>,
    /// When it was added.
    pub created_at: DateTime<Utc>,
}

impl AppSecret {
    /// Where this secret stands.
    #[must_use]
    pub fn aad(&self) -> Aad<'_> {
        secret_aad(&self.organisation_id, &self.id)
    }
}

/// What a secret is encrypted with.
#[must_use]
pub fn secret_aad<'a>(organisation: &'a OrganisationId, id: &'a AppSecretId) -> Aad<'a> {
    Aad::of_organisation("app_secrets.sealed_secret", organisation, id.as_str())
}

/// Adds a secret under a new id, which its seal is bound to.
///
/// # Errors
/// When the query fails.
pub async fn insert(
    conn: &mut AsyncPgConnection,
    organisation: &OrganisationId,
    app: &AppId,
    id: &AppSecretId,
    sealed: &[u8],
) -> Result<AppSecret, DbError> {
    let row = diesel::insert_into(app_secrets::table)
        .values((
            app_secrets::id.eq(id),
            app_secrets::organisation_id.eq(organisation),
            app_secrets::app_id.eq(app),
            app_secrets::sealed_secret.eq(sealed),
            app_secrets::created_at.eq(app_now()),
        ))
        .returning(AppSecret::as_returning());
    Ok(row.get_result(conn).await?)
}

/// The secrets of some apps of an organisation, the newest first.
///
/// # Errors
/// When the query fails.
pub async fn of_apps(
    conn: &mut AsyncPgConnection,
    organisation: &OrganisationId,
    apps: &[&AppId],
) -> Result<Vec<AppSecret>, DbError> {
    let rows = app_secrets::table
        .filter(app_secrets::organisation_id.eq(organisation))
        .filter(app_secrets::app_id.eq_any(apps))
        .order((app_secrets::created_at.desc(), app_secrets::id.desc()));
    Ok(rows.select(AppSecret::as_select()).load(conn).await?)
}

/// Destroys a secret; false when the app has no such secret.
///
/// # Errors
/// When the query fails.
pub async fn delete(
    conn: &mut AsyncPgConnection,
    organisation: &OrganisationId,
    app: &AppId,
    id: &AppSecretId,
) -> Result<bool, DbError> {
    let rows = diesel::delete(app_secrets::table)
        .filter(app_secrets::organisation_id.eq(organisation))
        .filter(app_secrets::app_id.eq(app))
        .filter(app_secrets::id.eq(id))
        .execute(conn);
    Ok(rows.await? == 1)
}
