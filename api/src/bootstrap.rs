//! The first rows of an installation: somebody has to hold a key before anybody can make one.

use diesel_async::{AnsiTransactionManager, TransactionManager as _};
use latchkey_shared::authorize;
use latchkey_shared::db::api_keys::{self, NewApiKey, Role};
use latchkey_shared::db::workspaces::{self, AccountPolicy, NewWorkspace};
use latchkey_shared::db::{Db, organisations};
use latchkey_shared::ids::{OrganisationId, WorkspaceId};
use latchkey_shared::keyring::KeyOwner;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Serialize, Serializer};

use crate::auth;

/// What the first rows are called.
#[derive(Clone, Debug, clap::Args)]
pub struct Names {
    /// What people call the organisation
    #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub organisation: String,

    /// What people call its first workspace
    #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub workspace: String,
}

/// What was made. Serializing it shows the key: the only time that anybody sees it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Bootstrapped {
    /// The organisation.
    pub organisation_id: OrganisationId,
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// A key with role owner that reaches the whole organisation.
    #[serde(serialize_with = "expose")]
    pub api_key: SecretString,
}

impl Bootstrapped {
    /// The key in the clear.
    #[must_use]
    pub fn expose_key(&self) -> &str {
        self.api_key.expose_secret()
    }
}

fn expose<S: Serializer>(key: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(key.expose_secret())
}

/// Makes an organisation, a workspace, their data keys and an owner's API key, or nothing at all.
///
/// # Errors
/// When the database is away, or the keyring is not the one of this database.
pub async fn bootstrap(db: &Db, names: &Names) -> anyhow::Result<Bootstrapped> {
    let (mut conn, keys) = (db.conn().await?, db.keys());
    keys.check(&mut conn).await?;
    // Left open by an error, the transaction ends with its connection, which the pool throws away.
    AnsiTransactionManager::begin_transaction(&mut *conn).await?;
    let organisation = organisations::insert(&mut conn, &names.organisation).await?;
    let owner = KeyOwner::Organisation(&organisation.id);
    keys.create_key(&mut conn, owner).await?;
    let first = NewWorkspace {
        organisation_id: &organisation.id,
        name: &names.workspace,
        redirect_allowlist: &[],
        account_policy: AccountPolicy::Many,
    };
    let workspace = workspaces::insert(&mut conn, &first).await?;
    let owner =
        KeyOwner::Workspace { organisation: Some(&organisation.id), workspace: &workspace.id };
    keys.create_key(&mut conn, owner).await?;
    let key = auth::new_key();
    let new = NewApiKey {
        organisation_id: &organisation.id,
        workspace_id: None,
        role: Role::Owner,
        name: "bootstrap",
        hash: &authorize::hash(&key),
    };
    api_keys::insert(&mut conn, &new).await?;
    AnsiTransactionManager::commit_transaction(&mut *conn).await?;
    Ok(Bootstrapped {
        organisation_id: organisation.id,
        workspace_id: workspace.id,
        api_key: key.into(),
    })
}
