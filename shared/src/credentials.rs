//! Which OAuth client speaks to a platform for a workspace.

use secrecy::SecretString;

use crate::db::{DbError, Session, app_secrets, apps, workspaces};
use crate::ids::{AppId, WorkspaceId};
use crate::keyring::SealError;
use crate::platforms::Platform;

/// An OAuth client.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Client id.
    pub client_id: String,
    /// Client secret: the newest.
    pub client_secret: SecretString,
    /// The one before it, while both are on record.
    pub older_secret: Option<SecretString>,
}

impl Credentials {
    /// The same client with its older secret, for a call that was refused because of the newest: the
    /// platform may not know that one yet, and a call refused for its client alone has spent nothing.
    #[must_use]
    pub fn older(&self) -> Option<Self> {
        let client_secret = self.older_secret.clone()?;
        Some(Self { client_id: self.client_id.clone(), client_secret, older_secret: None })
    }
}

/// Why there is no client to speak with.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// No app is named, and the operator has no client of the platform (any more).
    #[error("the platforms file names no client of this platform")]
    NoClient,
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
    session: &mut Session,
    platform: &Platform,
    workspace: &WorkspaceId,
    app: Option<&AppId>,
) -> Result<Credentials, CredentialsError> {
    let Some(app) = app else {
        let client = platform.client.clone().ok_or(CredentialsError::NoClient)?;
        return Ok(Credentials {
            client_id: client.id,
            client_secret: client.secret,
            older_secret: None,
        });
    };
    let organisation = workspaces::organisation_of(session, workspace).await?;
    let app = apps::find(session, &organisation, workspace, app)
        .await?
        .ok_or(CredentialsError::AppGone)?;
    let mut secrets = Vec::new();
    for secret in app_secrets::of_apps(session, &organisation, &[&app.id]).await? {
        secrets.push(session.decrypt_text(secret.aad(), &secret.sealed_secret).await?);
    }
    let mut secrets = secrets.into_iter();
    Ok(Credentials {
        client_id: app.client_id,
        client_secret: secrets.next().ok_or(CredentialsError::AppGone)?,
        older_secret: secrets.next(),
    })
}
