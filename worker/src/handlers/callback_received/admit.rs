//! Whether what a consent brought may become accounts. Judged under the workspace's lock, which everybody
//! takes who adds an account or changes the policy: what is true here stays so until the commit.

use std::collections::BTreeMap;

use latchkey_shared::candidates::Candidate;
use latchkey_shared::db::DbError;
use latchkey_shared::db::accounts::{self, Account};
use latchkey_shared::db::connects::{self, Connect, ConnectStatus};
use latchkey_shared::db::grants::Grant;
use latchkey_shared::db::workspaces::{self, AccountPolicy};
use latchkey_shared::ids::AccountId;
use latchkey_shared::work::Work;

/// The steps from which a connect can still be finished.
pub const WAITING: [ConnectStatus; 3] =
    [ConnectStatus::Exchanging, ConnectStatus::Selecting, ConnectStatus::Claiming];

/// The slot of an exclusive connect is taken.
pub const ALREADY_CONNECTED: &str = "ACCOUNT_ALREADY_CONNECTED";

/// The account is in use for another profile.
pub const OF_ANOTHER_PROFILE: &str = "ACCOUNT_OF_ANOTHER_PROFILE";

/// What is to be done with what a consent brought.
pub enum Verdict {
    /// It is connected.
    Admitted(Ground),
    /// The connect ends, with this reason.
    Refused(&'static str),
}

/// What is there already, under the workspace's lock.
pub struct Ground {
    /// The accounts that the chosen identities have, by the platform's id.
    pub before: BTreeMap<String, Account>,
    /// Whether the connect is exclusive by itself or by the policy: its account takes the slot.
    pub exclusive: bool,
}

/// The connect as it is now, locked, if it still waits to be finished with this grant.
///
/// # Errors
/// When the query fails.
pub async fn lock_waiting(
    work: &mut Work,
    connect: &Connect,
    grant: &Grant,
) -> Result<Option<Connect>, DbError> {
    let connect = connects::lock(work, &connect.workspace_id, &connect.id).await?;
    Ok(connect
        .filter(|now| WAITING.contains(&now.status) && now.grant_id.as_ref() == Some(&grant.id)))
}

/// Locks the workspace until the transaction ends, and judges by what is there then: read any earlier, an
/// account might be given another grant meanwhile, and the one that it had would be left behind.
///
/// # Errors
/// When a query fails.
pub async fn judge(
    work: &mut Work,
    connect: &Connect,
    chosen: &[Candidate],
) -> Result<Verdict, DbError> {
    let terms = workspaces::lock(work, &connect.workspace_id).await?;
    if terms.deleted_at.is_some() {
        return Ok(Verdict::Refused("WORKSPACE_DELETED"));
    }
    let before = before(work, connect, chosen).await?;
    if before.values().any(|account| connect.must_leave(account)) {
        return Ok(Verdict::Refused(OF_ANOTHER_PROFILE));
    }
    let known = |id: &AccountId| before.values().any(|account| account.id == *id);
    if connect.account_id.as_ref().is_some_and(|wanted| !known(wanted)) {
        return Ok(Verdict::Refused(connects::IDENTITY_MISMATCH));
    }
    let exclusive = connect.exclusive || terms.account_policy == AccountPolicy::OnePerPlatform;
    if exclusive {
        let holders = accounts::in_use(work, &connect.workspace_id, &connect.platform).await?;
        if chosen.len() != 1 || holders.iter().any(|holder| !known(&holder.id)) {
            return Ok(Verdict::Refused(ALREADY_CONNECTED));
        }
    }
    Ok(Verdict::Admitted(Ground { before, exclusive }))
}

async fn before(
    work: &mut Work,
    connect: &Connect,
    chosen: &[Candidate],
) -> Result<BTreeMap<String, Account>, DbError> {
    let ids: Vec<&str> = chosen.iter().map(|one| one.id.as_str()).collect();
    let (workspace, platform) = (&connect.workspace_id, &connect.platform);
    let known = accounts::of_identities(work, workspace, platform, &ids).await?;
    Ok(known.into_iter().map(|account| (account.platform_user_id.clone(), account)).collect())
}
