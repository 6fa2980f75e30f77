//! Putting a grant out of use: by a disconnect, or by a cancel that came after the exchange.

use latchkey_shared::db::grants;
use latchkey_shared::ids::{GrantId, WorkspaceId};
use latchkey_shared::messages::{Command, RevocationDue};
use latchkey_shared::work::Work;

use crate::problem::Problem;
use crate::state::App;

/// Releases a grant and has the platform told; false when it was out of use already.
pub(crate) async fn release(
    app: &App,
    work: &mut Work,
    (workspace, grant): (&WorkspaceId, &GrantId),
    reason: &str,
) -> Result<bool, Problem> {
    if !grants::release(work, app.clock(), workspace, grant, reason).await? {
        return Ok(false);
    }
    let command = Command::RevocationDue(RevocationDue {
        workspace_id: workspace.clone(),
        grant_id: grant.clone(),
    });
    work.send(&command).await?;
    Ok(true)
}
