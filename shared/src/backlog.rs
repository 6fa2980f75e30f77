//! Whether too many messages wait to take on more work.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::code::Code;
use crate::db::{DbError, outbox};
use crate::ids::OrganisationId;
use crate::refused::Refused;
use crate::work::Store;

/// For how long an answer is good: looking at every request would add to the load.
const FRESH: Duration = Duration::from_secs(1);
/// One organisation may fill this part of the outbox, with what its own queues do not take.
const SHARE: i64 = 4;

/// The outbox, seen from its far end.
#[derive(Debug)]
pub struct Backlog {
    max: i64,
    /// By organisation; `None`: all of it.
    seen: Mutex<HashMap<Option<OrganisationId>, (Instant, bool)>>,
}

impl Backlog {
    /// Beyond `max` open messages it is too long.
    #[must_use]
    pub fn new(max: i64) -> Self {
        Self { max, seen: Mutex::default() }
    }

    /// Whether it was too long within the last second.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_too_long(&self, store: &Store) -> Result<bool, DbError> {
        self.look(store, None).await
    }

    /// Why an organisation's work is not taken on, if it is not: the outbox is too long, or the
    /// organisation's part of it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn refusal(
        &self,
        store: &Store,
        organisation: &OrganisationId,
    ) -> Result<Option<Refused>, DbError> {
        let detail = if self.look(store, None).await? {
            "Try again later; if it stays, the operator has to look at RabbitMQ and the workers."
        } else if self.look(store, Some(organisation)).await? {
            "Too many events and replies of this organisation wait, since queues that are bound for it take none: \
             make room in them or delete them, and try again."
        } else {
            return Ok(None);
        };
        Ok(Some(Refused::new(Code::OutboxFull, detail)))
    }

    async fn look(
        &self,
        store: &Store,
        organisation: Option<&OrganisationId>,
    ) -> Result<bool, DbError> {
        let whose = organisation.cloned();
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(&whose).copied();
        if let Some((_, too_long)) = seen.filter(|(at, _)| at.elapsed() < FRESH) {
            return Ok(too_long);
        }
        let max = if whose.is_some() { (self.max / SHARE).max(1) } else { self.max };
        let too_long = outbox::is_beyond(&mut *store.conn().await?, organisation, max).await?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, (at, _)| at.elapsed() < FRESH);
        seen.insert(whose, (Instant::now(), too_long));
        Ok(too_long)
    }
}
