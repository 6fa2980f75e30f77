//! Organisations: the tenants.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::schema::organisations;
use super::{DbError, Session, app_now};
use crate::ids::OrganisationId;

/// A tenant.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = organisations)]
pub struct Organisation {
    /// Id.
    pub id: OrganisationId,
    /// What people call it.
    pub name: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// Adds an organisation.
///
/// # Errors
/// When the query fails.
pub async fn insert(session: &mut Session, name: &str) -> Result<Organisation, DbError> {
    let row = diesel::insert_into(organisations::table)
        .values((
            organisations::id.eq(OrganisationId::new(session.clock())),
            organisations::name.eq(name),
            organisations::created_at.eq(app_now()),
        ))
        .returning(Organisation::as_returning());
    Ok(row.get_result(session).await?)
}

/// Holds an organisation until the transaction ends: what is counted in it stays so.
///
/// # Errors
/// When the query fails.
pub async fn lock(conn: &mut AsyncPgConnection, id: &OrganisationId) -> Result<(), DbError> {
    let row = organisations::table.filter(organisations::id.eq(id)).select(organisations::id);
    let _: OrganisationId = row.for_no_key_update().get_result(conn).await?;
    Ok(())
}
