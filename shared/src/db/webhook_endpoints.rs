//! Webhook endpoints: where applications want to hear of events.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::schema::webhook_endpoints;
use super::{DbError, Page, now};
use crate::clock::Clock;
use crate::ids::{EndpointId, OrganisationId, WorkspaceId};
use crate::keyring::Place;

/// An endpoint, its secret sealed.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = webhook_endpoints)]
pub struct Endpoint {
    /// Id.
    pub id: EndpointId,
    /// Whose it is.
    pub organisation_id: OrganisationId,
    /// Whose events it hears; `None`: every workspace of the organisation.
    pub workspace_id: Option<WorkspaceId>,
    /// Where it is.
    pub url: String,
    /// Which types it hears; empty: all.
    pub event_types: Vec<String>,
    /// The signing secret, sealed with the organisation's data key.
    pub sealed_secret: Vec<u8>,
    /// Since when nothing is delivered to it.
    pub disabled_at: Option<DateTime<Utc>>,
    /// Why.
    pub disabled_reason: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// An endpoint about to be added.
#[derive(Debug)]
pub struct NewEndpoint<'a> {
    /// A new id: the seal is bound to it.
    pub id: EndpointId,
    /// Whose it is.
    pub organisation_id: &'a OrganisationId,
    /// Whose events it hears.
    pub workspace_id: Option<&'a WorkspaceId>,
    /// Where it is.
    pub url: &'a str,
    /// Which types it hears.
    pub event_types: &'a [String],
    /// The sealed signing secret.
    pub sealed_secret: &'a [u8],
}

/// Where an endpoint's secret stands.
#[must_use]
pub fn secret_place<'a>(organisation: &'a OrganisationId, id: &'a EndpointId) -> Place<'a> {
    Place {
        column: "webhook_endpoints.sealed_secret",
        tenant: organisation.as_str(),
        row: id.as_str(),
        generation: 0,
    }
}

/// Adds an endpoint.
///
/// # Errors
/// When the query fails.
pub async fn insert(
    conn: &mut AsyncPgConnection,
    clock: &Clock,
    new: &NewEndpoint<'_>,
) -> Result<Endpoint, DbError> {
    let row = diesel::insert_into(webhook_endpoints::table)
        .values((
            webhook_endpoints::id.eq(&new.id),
            webhook_endpoints::organisation_id.eq(new.organisation_id),
            webhook_endpoints::workspace_id.eq(new.workspace_id),
            webhook_endpoints::url.eq(new.url),
            webhook_endpoints::event_types.eq(new.event_types),
            webhook_endpoints::sealed_secret.eq(new.sealed_secret),
            webhook_endpoints::created_at.eq(now(clock)),
        ))
        .returning(Endpoint::as_returning());
    Ok(row.get_result(conn).await?)
}

/// One endpoint of an organisation.
///
/// # Errors
/// When the query fails.
pub async fn find(
    conn: &mut AsyncPgConnection,
    organisation: &OrganisationId,
    id: &EndpointId,
) -> Result<Option<Endpoint>, DbError> {
    let row = webhook_endpoints::table
        .filter(webhook_endpoints::organisation_id.eq(organisation))
        .filter(webhook_endpoints::id.eq(id))
        .select(Endpoint::as_select());
    Ok(row.first(conn).await.optional()?)
}

/// The endpoints of an organisation, or those of the one workspace that a key reaches.
///
/// # Errors
/// When the query fails.
pub async fn list(
    conn: &mut AsyncPgConnection,
    organisation: &OrganisationId,
    only: Option<&WorkspaceId>,
    page: Page<'_>,
) -> Result<Vec<Endpoint>, DbError> {
    let mut rows = webhook_endpoints::table
        .filter(webhook_endpoints::organisation_id.eq(organisation))
        .filter(webhook_endpoints::id.gt(page.after()))
        .select(Endpoint::as_select())
        .order(webhook_endpoints::id)
        .limit(page.limit)
        .into_boxed();
    if let Some(only) = only {
        rows = rows.filter(webhook_endpoints::workspace_id.eq(only));
    }
    Ok(rows.load(conn).await?)
}

/// Deletes an endpoint with its deliveries; false when there is no such endpoint.
///
/// # Errors
/// When the query fails.
pub async fn delete(
    conn: &mut AsyncPgConnection,
    organisation: &OrganisationId,
    only: Option<&WorkspaceId>,
    id: &EndpointId,
) -> Result<bool, DbError> {
    let mut row = diesel::delete(webhook_endpoints::table)
        .filter(webhook_endpoints::organisation_id.eq(organisation))
        .filter(webhook_endpoints::id.eq(id))
        .into_boxed();
    if let Some(only) = only {
        row = row.filter(webhook_endpoints::workspace_id.eq(only));
    }
    Ok(row.execute(conn).await? == 1)
}

/// Stops deliveries to an endpoint.
///
/// # Errors
/// When the query fails.
pub async fn disable(
    conn: &mut AsyncPgConnection,
    clock: &Clock,
    organisation: &OrganisationId,
    id: &EndpointId,
    reason: &str,
) -> Result<(), DbError> {
    diesel::update(webhook_endpoints::table)
        .filter(webhook_endpoints::organisation_id.eq(organisation))
        .filter(webhook_endpoints::id.eq(id))
        .filter(webhook_endpoints::disabled_at.is_null())
        .set((
            webhook_endpoints::disabled_at.eq(now(clock).nullable()),
            webhook_endpoints::disabled_reason.eq(reason),
        ))
        .execute(conn)
        .await?;
    Ok(())
}
