//! A connect that only the application's backend can finish: what was chosen waits, sealed, beside the claim
//! that the redirect carries. Nothing else changes before somebody brings it back.

use chrono::TimeDelta;
use latchkey_shared::candidates::{self, Candidate};
use latchkey_shared::db::connects::{self, Advance, Binding, Connect, ConnectStatus};
use latchkey_shared::db::grants::Grant;
use latchkey_shared::random;

use super::admit::{self, Verdict};
use super::{Reason, fail};
use crate::context::Context;
use crate::outcome::{Failure, Outcome};

/// How long the application has.
const PATIENCE: TimeDelta = TimeDelta::minutes(10);

/// Whether the application must say first that the person is who it thinks.
pub fn is_due(connect: &Connect) -> bool {
    connect.binding == Binding::Claim && connect.claimed_at.is_none()
}

/// Lays down what was chosen, and the claim. What could not be connected is refused at once.
///
/// # Errors
/// [`Failure`].
pub async fn run(
    context: &Context,
    connect: &Connect,
    grant: &Grant,
    chosen: &[Candidate],
) -> Result<Outcome, Failure> {
    let mut work = context.store.begin().await?;
    let Some(connect) = admit::lock_waiting(&mut work, connect, grant).await? else {
        return Ok(Outcome::Stale("ended meanwhile"));
    };
    if let Verdict::Refused(code) = admit::judge(&mut work, &connect, chosen).await? {
        fail(&mut work, &connect, &Reason::new(code)).await?;
        work.commit().await?;
        return Ok(Outcome::Done);
    }
    let step = Advance::to(
        ConnectStatus::Claiming,
        &[ConnectStatus::Exchanging, ConnectStatus::Selecting],
    );
    if connects::advance(&mut work, connect.key(), &step).await?.is_none() {
        return Ok(Outcome::Stale("it waits to be claimed"));
    }
    let claim = connects::claim_aad(connect.key());
    let claim = work.encrypt(claim, random::token().as_bytes()).await?;
    let aad = connects::candidates_aad(connect.key());
    let chosen = candidates::encrypt(&mut work, aad, chosen).await?;
    connects::set_claim(&mut work, connect.key(), &claim, &chosen, PATIENCE).await?;
    work.commit().await?;
    Ok(Outcome::Done)
}
