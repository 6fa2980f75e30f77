//! Who asks, and what they may do and see: a producer acts with the role and the reach of the API key that
//! its user of the broker is linked to. Without a key it is nobody, unless the operator trusts whoever may
//! publish.

use latchkey_shared::code::Code;
use latchkey_shared::db::api_keys::{ApiKey, Role};
use latchkey_shared::db::producers;
use latchkey_shared::db::workspaces::{self, Workspace};
use latchkey_shared::events::Scope;
use latchkey_shared::ids::{ApiKeyId, OrganisationId, WorkspaceId};
use latchkey_shared::operations::Unable;
use latchkey_shared::refused::Refused;

use super::Parts;

/// What every request needs, as over HTTP.
const LEAST: Role = Role::Admin;

/// Who asks.
#[derive(Debug)]
pub(super) struct Caller {
    producer: String,
    /// `None`: trusted with every organisation.
    key: Option<ApiKey>,
}

impl Caller {
    /// # Errors
    /// `PRODUCER_UNKNOWN`, or `FORBIDDEN_ROLE`.
    pub(super) async fn find(parts: &Parts, user: Option<&str>) -> Result<Self, Unable> {
        let Some(user) = user else {
            // Message ids of all who send none share one space.
            return if parts.terms.trust {
                Ok(Self { producer: String::new(), key: None })
            } else {
                Err(unknown(
                    "Set the property `user_id` to the user that you connect to the broker as.",
                ))
            };
        };
        let mut conn = parts.context.store.conn().await?;
        let key = match producers::find(&mut conn, user).await? {
            Some(producer) => Some(producer.key),
            None if parts.terms.trust => None,
            None => return Err(unknown(NOT_LINKED)),
        };
        if let Some(key) = &key {
            check(key)?;
        }
        Ok(Self { producer: user.to_owned(), key })
    }

    /// In whose name message ids are told apart.
    pub(super) fn producer(&self) -> &str {
        &self.producer
    }

    /// By whose key it acts, if by one.
    pub(super) fn key_id(&self) -> Option<&ApiKeyId> {
        self.key.as_ref().map(|key| &key.id)
    }

    /// Whose key that is.
    pub(super) fn organisation(&self) -> Option<&OrganisationId> {
        self.key.as_ref().map(|key| &key.organisation_id)
    }

    /// The scope of the event about a request that names this workspace, or none within reach.
    ///
    /// # Errors
    /// When a query fails.
    pub(super) async fn scope(
        &self,
        parts: &Parts,
        named: Option<&WorkspaceId>,
    ) -> Result<Option<Scope>, Unable> {
        let own = self.key.as_ref().and_then(|key| key.workspace_id.as_ref());
        if let Some(id) = own.or(named) {
            match self.workspace(parts, id).await {
                Ok(workspace) => return Ok(Some(Scope::Workspace(workspace.id))),
                Err(Unable::Refused(_)) => {}
                Err(unable) => return Err(unable),
            }
        }
        Ok(self.organisation().cloned().map(Scope::Organisation))
    }

    /// The workspace of this id, if it is within reach.
    ///
    /// # Errors
    /// `NOT_FOUND`: an id out of reach is as unknown as one that never was.
    pub(super) async fn workspace(
        &self,
        parts: &Parts,
        id: &WorkspaceId,
    ) -> Result<Workspace, Unable> {
        let mut conn = parts.context.store.conn().await?;
        let found = match &self.key {
            None => workspaces::find_in_any_organisation(&mut conn, id).await?,
            Some(key) if key.workspace_id.as_ref().is_some_and(|own| own != id) => None,
            Some(key) => workspaces::find(&mut conn, &key.organisation_id, id).await?,
        };
        found.ok_or_else(|| Refused::not_found().into())
    }
}

const NOT_LINKED: &str = "No API key that is not revoked stands behind this user of the broker: the operator \
    ties one to it with `latchkey-api producers link USER KEY_ID`.";

/// A key that is revoked cuts its producer off, also where others are trusted.
fn check(key: &ApiKey) -> Result<(), Unable> {
    if key.revoked_at.is_some() {
        return Err(unknown(NOT_LINKED));
    }
    if key.role.covers(LEAST) {
        return Ok(());
    }
    let detail = format!("Link a key of role `{LEAST}`; this one's role is `{}`.", key.role);
    Err(Refused::new(Code::ForbiddenRole, detail).into())
}

fn unknown(detail: &'static str) -> Unable {
    Refused::new(Code::ProducerUnknown, detail).into()
}
