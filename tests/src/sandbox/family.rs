//! One consent, and the pairs of tokens that came from it.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// Why a family ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The client revoked its refresh token.
    RevokedByClient,
    /// The person removed the app at the platform.
    RemovedByPerson,
    /// A spent refresh token was presented again.
    RefreshTokenReused,
    /// A code was presented twice.
    CodeReused,
}

/// How a family stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FamilyView {
    /// The family's id.
    pub family: String,
    /// Who consented.
    pub user: String,
    /// Whether it has tokens, and its newest refresh token would still be taken.
    pub alive: bool,
    /// The newest pair's number; none before the code was exchanged.
    pub generation: Option<u32>,
    /// Why it ended.
    pub ended: Option<Ending>,
}

/// What the person approved.
#[derive(Debug)]
pub(super) struct Consent {
    pub(super) client: String,
    pub(super) user: String,
    pub(super) redirect_uri: String,
    pub(super) challenge: String,
    pub(super) scope: String,
    pub(super) access_lifetime: Option<TimeDelta>,
}

/// A pair as it is answered.
#[derive(Clone, Debug)]
pub(super) struct Issue {
    pub(super) generation: u32,
    pub(super) scope: String,
    pub(super) access: String,
    pub(super) access_until: DateTime<Utc>,
    /// None where the refresh token that was presented stays.
    pub(super) refresh: Option<String>,
    pub(super) refresh_until: Option<DateTime<Utc>>,
}

/// One consent and all that was issued for it.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) id: String,
    pub(super) consent: Consent,
    pub(super) code_until: DateTime<Utc>,
    pub(super) code_used: bool,
    pub(super) pairs: Vec<Pair>,
    pub(super) ended: Option<Ending>,
}

/// One generation: an access token and the refresh token beside it.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) made_at: DateTime<Utc>,
    pub(super) access: String,
    pub(super) access_until: DateTime<Utc>,
    pub(super) access_revoked: bool,
    pub(super) refresh: String,
    pub(super) refresh_until: Option<DateTime<Utc>>,
}

impl Family {
    /// Ends the family if it has not ended before.
    pub(super) fn end(&mut self, why: Ending) -> Option<Ending> {
        match self.ended {
            Some(_) => None,
            None => {
                self.ended = Some(why);
                self.ended
            }
        }
    }

    pub(super) fn answer(&self, generation: usize) -> Issue {
        let pair = &self.pairs[generation];
        Issue {
            generation: number(generation),
            scope: self.consent.scope.clone(),
            access: pair.access.clone(),
            access_until: pair.access_until,
            refresh: Some(pair.refresh.clone()),
            refresh_until: pair.refresh_until,
        }
    }

    pub(super) fn view(&self, now: DateTime<Utc>) -> FamilyView {
        let newest = self.pairs.last();
        let lives = |pair: &Pair| pair.refresh_until.is_none_or(|until| now < until);
        FamilyView {
            family: self.id.clone(),
            user: self.consent.user.clone(),
            alive: self.ended.is_none() && newest.is_some_and(lives),
            generation: self.pairs.len().checked_sub(1).map(number),
            ended: self.ended,
        }
    }
}

/// A generation as it is told.
pub(super) fn number(generation: usize) -> u32 {
    u32::try_from(generation).unwrap_or(u32::MAX)
}
