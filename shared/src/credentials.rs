//! Which OAuth client speaks to a platform for a workspace.

use diesel_async::AsyncPgConnection;
use secrecy::SecretString;

use crate::db::{DbError, apps, workspaces};
use crate::ids::{AppId, WorkspaceId};
use crate::keyring::{Owner, SealError, Vault};
use crate::platforms::Platform;

/// An OAuth client.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Client id.
    pub client_id: String,
    /// Client secret.
    pub client_secret: SecretString,
}

/// Why there is no client to speak with.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The customer's app is gone, or out of this workspace's reach.
    #[error("the app is not there any more")]
    AppGone,
    /// The secret could not be opened.
    #[error("the app's secret could not be opened")]
    Seal(#[from] SealError),
    /// The database failed.
    #[error("the app could not be read")]
    Db(#[from] DbError),
}

/// The customer's app where one is named, else the installation's own client.
///
/// # Errors
/// [`CredentialsError`].
pub async fn resolve(
    conn: &mut AsyncPgConnection,
    vault: &Vault,
    platform: &Platform,
    (workspace, app): (&WorkspaceId, Option<&AppId>),
) -> Result<Credentials, CredentialsError> {
    let Some(app) = app else {
        return Ok(Credentials {
            client_id: platform.client_id.clone(),
            client_secret: platform.client_secret.clone(),
        });
    };
    let organisation = workspaces::organisation_of(conn, workspace).await?;
    let app =
        apps::find(conn, &organisation, workspace, app).await?.ok_or(CredentialsError::AppGone)?;
    let key =
        vault.opening_key(conn, Owner::Organisation(&organisation), &app.sealed_secret).await?;
    let secret = key.open(apps::secret_place(&organisation, &app.id), &app.sealed_secret)?;
    let secret = std::str::from_utf8(&secret).map_err(|_| SealError::UnknownFormat)?;
    Ok(Credentials { client_id: app.client_id, client_secret: secret.into() })
}
