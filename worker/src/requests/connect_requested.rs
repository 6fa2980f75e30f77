//! `connect.requested`: starts a connect, and answers with the URL to send the person to. What the answer
//! holds stands sealed in its row and goes to its asker alone.

use latchkey_shared::messages::requests::{ConnectReady, ConnectRequested};
use latchkey_shared::operations::Unable;
use latchkey_shared::operations::start_connect::{self, Door};

use super::ending::Ending;
use super::{Asked, Parts};

pub(super) async fn handle(
    parts: &Parts,
    asked: &Asked,
    request: ConnectRequested,
) -> Result<Option<Ending>, Unable> {
    let workspace = asked.caller.workspace(parts, &request.workspace_id).await?;
    let request = (request.into_start(), Door::NATIVE);
    // May ask the platform where its endpoints are: before the transaction.
    let prepared = start_connect::prepare(parts.means(), &workspace, request).await?;

    let mut work = parts.context.store.begin().await?;
    let ready = ConnectReady::from(prepared.write(&mut work).await?);
    let subject = ready.connect_id.to_string();
    parts.conclude(work, asked, (&workspace.id, &subject, &ready)).await
}
