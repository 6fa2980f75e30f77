//! The tenant that a data key belongs to.

use crate::ids::{OrganisationId, WorkspaceId};

/// The owner of a data key.
#[derive(Clone, Copy, Debug)]
pub enum KeyOwner<'a> {
    /// The installation: one key, for keyed hashes that hold across tenants.
    Installation,
    /// An organisation: apps and webhook endpoints.
    Organisation(&'a OrganisationId),
    /// A workspace: everything else.
    Workspace {
        /// Its organisation; needed only to make a key.
        organisation: Option<&'a OrganisationId>,
        /// The workspace.
        workspace: &'a WorkspaceId,
    },
}

impl<'a> KeyOwner<'a> {
    /// The workspace, for looking its keys up.
    #[must_use]
    pub fn workspace(workspace: &'a WorkspaceId) -> Self {
        Self::Workspace { organisation: None, workspace }
    }

    pub(crate) fn organisation_id(&self) -> Option<&'a OrganisationId> {
        match self {
            Self::Installation => None,
            Self::Organisation(organisation) => Some(organisation),
            Self::Workspace { organisation, .. } => *organisation,
        }
    }

    pub(crate) fn workspace_id(&self) -> Option<&'a WorkspaceId> {
        match self {
            Self::Workspace { workspace, .. } => Some(workspace),
            _ => None,
        }
    }

    pub(super) fn name(&self) -> &'a str {
        match self {
            Self::Installation => "installation",
            Self::Organisation(id) => id.as_str(),
            Self::Workspace { workspace, .. } => workspace.as_str(),
        }
    }
}
