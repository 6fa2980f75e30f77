//! Data keys, wrapped, and the canaries that prove a keyring right.

use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::schema::{data_keys, keyring_canaries};
use super::{DbError, app_now};
use crate::ids::DataKeyId;
use crate::keyring::KeyOwner;

/// A data key as it is stored: useless without the keyring.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = data_keys)]
pub struct WrappedKey {
    /// Id; every value sealed with the key carries it.
    pub id: DataKeyId,
    /// The key-encryption key that wrapped it.
    pub kek_id: String,
    /// Nonce, ciphertext and tag.
    pub wrapped: Vec<u8>,
}

/// Adds a data key. Answers false when the owner may have only one and has it.
///
/// # Errors
/// When the query fails.
pub async fn insert(
    conn: &mut AsyncPgConnection,
    owner: KeyOwner<'_>,
    key: &WrappedKey,
) -> Result<bool, DbError> {
    let rows = diesel::insert_into(data_keys::table)
        .values((
            data_keys::id.eq(&key.id),
            data_keys::organisation_id.eq(owner.organisation_id()),
            data_keys::workspace_id.eq(owner.workspace_id()),
            data_keys::kek_id.eq(&key.kek_id),
            data_keys::wrapped.eq(&key.wrapped),
            data_keys::created_at.eq(app_now()),
        ))
        .on_conflict_do_nothing()
        .execute(conn);
    Ok(rows.await? == 1)
}

/// The owner's key by id, or its newest.
///
/// # Errors
/// When the query fails.
pub async fn find(
    conn: &mut AsyncPgConnection,
    owner: KeyOwner<'_>,
    id: Option<&DataKeyId>,
) -> Result<Option<WrappedKey>, DbError> {
    let mut row = data_keys::table
        .order(data_keys::id.desc())
        .select(WrappedKey::as_select())
        .limit(1)
        .into_boxed();
    row = match owner {
        KeyOwner::Installation => row.filter(data_keys::organisation_id.is_null()),
        KeyOwner::Organisation(id) => {
            row.filter(data_keys::organisation_id.eq(id)).filter(data_keys::workspace_id.is_null())
        }
        KeyOwner::Workspace { workspace, .. } => row.filter(data_keys::workspace_id.eq(workspace)),
    };
    if let Some(id) = id {
        row = row.filter(data_keys::id.eq(id));
    }
    Ok(row.first(conn).await.optional()?)
}

/// The key-encryption keys that some data key needs. Across tenants: for the check at boot.
///
/// # Errors
/// When the query fails.
pub async fn kek_ids_in_use(conn: &mut AsyncPgConnection) -> Result<Vec<String>, DbError> {
    Ok(data_keys::table.select(data_keys::kek_id).distinct().load(conn).await?)
}

/// The canary of a key-encryption key.
///
/// # Errors
/// When the query fails.
pub async fn canary(
    conn: &mut AsyncPgConnection,
    kek_id: &str,
) -> Result<Option<Vec<u8>>, DbError> {
    Ok(keyring_canaries::table
        .find(kek_id)
        .select(keyring_canaries::sealed)
        .first(conn)
        .await
        .optional()?)
}

/// Adds a canary, unless another process just did.
///
/// # Errors
/// When the query fails.
pub async fn insert_canary(
    conn: &mut AsyncPgConnection,
    kek_id: &str,
    sealed: &[u8],
) -> Result<(), DbError> {
    diesel::insert_into(keyring_canaries::table)
        .values((
            keyring_canaries::kek_id.eq(kek_id),
            keyring_canaries::sealed.eq(sealed),
            keyring_canaries::created_at.eq(app_now()),
        ))
        .on_conflict_do_nothing()
        .execute(conn)
        .await?;
    Ok(())
}
