//! What is new in the log of many organisations, without its contents: to wake those that wait for it.

use diesel::QueryableByName;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Integer, Nullable, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::LogPosition;
use crate::db::DbError;
use crate::ids::{AccountId, OrganisationId, WorkspaceId};

/// What an event is about.
#[derive(Clone, Debug, QueryableByName)]
pub struct EventHead {
    /// The organisation that the event belongs to.
    #[diesel(sql_type = Text)]
    pub organisation_id: OrganisationId,
    /// Where it happened; `None`: to the organisation.
    #[diesel(sql_type = Nullable<Text>)]
    pub workspace_id: Option<WorkspaceId>,
    /// To which account.
    #[diesel(sql_type = Nullable<Text>)]
    pub account_id: Option<AccountId>,
    /// What happened.
    #[diesel(sql_type = Text)]
    pub kind: String,
}

/// The events of these organisations between two places, of each at most `limit`. Those of a transaction that
/// was open for more than a day are not among them: only the partitions of a day are read.
///
/// # Errors
/// When the query fails.
pub async fn heads(
    conn: &mut AsyncPgConnection,
    organisations: &[&str],
    from: &LogPosition,
    before: &LogPosition,
    limit: i64,
) -> Result<Vec<EventHead>, DbError> {
    let query = sql_query(
        "SELECT new.* FROM unnest($1::text[]) AS waiting (organisation_id) CROSS JOIN LATERAL (
             SELECT organisation_id, workspace_id, account_id, type AS kind FROM events
             WHERE events.organisation_id = waiting.organisation_id
               AND (epoch, xid) >= ($2, $3) AND (epoch, xid) < ($4, $5)
               AND created_at > app_now() - interval '1 day'
             ORDER BY epoch, xid, id LIMIT $6) AS new",
    )
    .bind::<Array<Text>, _>(organisations)
    .bind::<Integer, _>(from.epoch)
    .bind::<BigInt, _>(from.xid)
    .bind::<Integer, _>(before.epoch)
    .bind::<BigInt, _>(before.xid)
    .bind::<BigInt, _>(limit);
    Ok(query.load(conn).await?)
}
