//! What a person may choose from after one consent. The tokens that are sealed beside it are never shown.

use latchkey_shared::candidates::{self, Candidate};
use latchkey_shared::db::Session;
use latchkey_shared::db::accounts::{self, Account};
use latchkey_shared::db::connects::{self, Connect, ConnectStatus};
use latchkey_shared::ids::AccountId;
use serde::Serialize;
use utoipa::ToSchema;

use crate::code::Code;
use crate::problem::Problem;

const OF_ANOTHER_PROFILE: &str = "ACCOUNT_OF_ANOTHER_PROFILE";

/// Something that the consent can connect.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Candidate)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CandidateView {
    /// The platform's id of it; what is chosen by.
    id: String,
    username: Option<String>,
    display_name: Option<String>,
    avatar_url: Option<String>,
    /// Whether it can be connected.
    eligible: bool,
    /// Why not, as a code.
    #[schema(example = "ROLE_NOT_ENOUGH")]
    reason: Option<String>,
    /// The account of this workspace that it is already, whatever that account's status.
    #[schema(value_type = Option<String>)]
    account_id: Option<AccountId>,
}

/// One of the candidates, with the account that it is already.
pub(crate) struct Choice {
    /// What the platform says of it.
    pub(crate) candidate: Candidate,
    /// The account of this workspace.
    pub(crate) account: Option<Account>,
}

impl Choice {
    /// Why it cannot be connected by this connect, as a code.
    pub(crate) fn ineligible(&self, connect: &Connect) -> Option<&str> {
        let anothers = self.account.as_ref().is_some_and(|account| connect.must_leave(account));
        self.candidate.ineligible.as_deref().or(anothers.then_some(OF_ANOTHER_PROFILE))
    }
}

impl CandidateView {
    pub(crate) fn of(choice: &Choice, connect: &Connect) -> Self {
        let ineligible = choice.ineligible(connect);
        let candidate = &choice.candidate;
        Self {
            id: candidate.id.clone(),
            username: candidate.username.clone(),
            display_name: candidate.display_name.clone(),
            avatar_url: candidate.avatar_url.clone(),
            eligible: ineligible.is_none(),
            reason: ineligible.map(ToOwned::to_owned),
            account_id: choice.account.as_ref().map(|account| account.id.clone()),
        }
    }
}

/// The candidates of a connect, in the clear.
///
/// # Errors
/// `CONNECT_NOT_SELECTING` when there are none.
pub(crate) async fn decrypt(
    session: &mut Session,
    connect: &Connect,
) -> Result<Vec<Choice>, Problem> {
    let workspace = &connect.workspace_id;
    let sealed = connect.sealed_candidates.as_ref();
    let sealed = sealed.filter(|_| connect.status == ConnectStatus::Selecting);
    let sealed = sealed.ok_or_else(|| not_selecting(connect))?;
    let aad = connects::candidates_aad(connect.key());
    let all = candidates::decrypt(session, aad, sealed).await?;
    let ids: Vec<&str> = all.iter().map(|candidate| candidate.id.as_str()).collect();
    let mut known = accounts::of_identities(session, workspace, &connect.platform, &ids).await?;
    let choices = all.into_iter().map(|candidate| {
        let at = known.iter().position(|account| account.platform_user_id == candidate.id);
        Choice { account: at.map(|at| known.swap_remove(at)), candidate }
    });
    Ok(choices.collect())
}

pub(super) fn not_selecting(connect: &Connect) -> Problem {
    let detail = format!(
        "The connect is `{}`; there is something to choose only while it is `{}`.",
        connect.status,
        ConnectStatus::Selecting
    );
    Problem::new(Code::ConnectNotSelecting, detail)
}
