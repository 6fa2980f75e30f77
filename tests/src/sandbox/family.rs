//! One consent, and the pairs of tokens that came from it.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::dialect::Problem;

/// Why a family ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The client revoked its refresh token, or all that a vendor ends with it.
    RevokedByClient,
    /// The person removed the app at the platform.
    RemovedByPerson,
    /// A spent refresh token was presented again.
    RefreshTokenReused,
    /// A code was presented twice.
    CodeReused,
    /// The person consented again, to other scopes, at a platform that forgets the earlier ones.
    ScopesChanged,
}

/// How a family stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FamilyView {
    /// The family's id.
    pub family: String,
    /// The platform, as in the ledger.
    #[serde(default)]
    pub platform: Option<String>,
    /// Who consented.
    pub user: String,
    /// Whether it has tokens, and the newest could still be refreshed (or used, where nothing refreshes).
    pub alive: bool,
    /// The newest pair's number; none before the code was exchanged.
    pub generation: Option<u32>,
    /// Why it ended.
    pub ended: Option<Ending>,
}

/// How long refresh tokens live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RefreshLife {
    /// There are none.
    Absent,
    Endless,
    /// Each this long from when it was made.
    Each(TimeDelta),
    /// All end this long after the first was made, and no access token outlives them.
    Fixed(TimeDelta),
}

/// How a code challenge is made of its verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// SHA-256 in base64url (RFC 7636 §4.2).
    Base64Url,
    /// SHA-256 in hexadecimal, as TikTok has it.
    Hex,
}

/// What a platform gives for a consent.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) code: TimeDelta,
    pub(super) access: TimeDelta,
    /// How long those access tokens live that short-lived ones are swapped for, where there are any.
    pub(super) lasting: Option<TimeDelta>,
    pub(super) refresh: RefreshLife,
}

impl Terms {
    /// A person may choose how long access tokens live: the ones that last, if there are such.
    pub(super) fn chosen(self, lifetime: Option<TimeDelta>) -> Self {
        match (lifetime, self.lasting) {
            (None, _) => self,
            (Some(_), Some(_)) => Self { lasting: lifetime, ..self },
            (Some(access), None) => Self { access, ..self },
        }
    }
}

/// What the person approved.
#[derive(Debug)]
pub(super) struct Consent {
    /// Whose consent page it was; none is the standard one.
    pub(super) vendor: Option<&'static str>,
    pub(super) client: String,
    pub(super) user: String,
    pub(super) redirect_uri: String,
    pub(super) challenge: String,
    pub(super) proof: Proof,
    /// Separated by spaces, whatever the platform does.
    pub(super) scope: String,
    pub(super) terms: Terms,
}

/// A pair as it is answered.
#[derive(Clone, Debug)]
pub(super) struct Issue {
    pub(super) client: String,
    pub(super) user: String,
    pub(super) generation: u32,
    pub(super) scope: String,
    pub(super) access: String,
    pub(super) access_until: DateTime<Utc>,
    /// None where there is none, or where the one that was presented stays.
    pub(super) refresh: Option<String>,
    pub(super) refresh_until: Option<DateTime<Utc>>,
}

impl Issue {
    pub(super) fn access_secs(&self, at: DateTime<Utc>) -> i64 {
        (self.access_until - at).num_seconds().max(0)
    }

    pub(super) fn refresh_secs(&self, at: DateTime<Utc>) -> Option<i64> {
        self.refresh_until.map(|until| (until - at).num_seconds().max(0))
    }
}

/// One consent and all that was issued for it.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) id: String,
    /// The vendor, until the exchange shows which of its platforms it is.
    pub(super) platform: Option<&'static str>,
    pub(super) consent: Consent,
    pub(super) made_at: DateTime<Utc>,
    pub(super) code_used: bool,
    pub(super) pairs: Vec<Pair>,
    pub(super) page_tokens: Vec<PageToken>,
    pub(super) ended: Option<Ending>,
}

/// One generation: an access token and the refresh token beside it.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) made_at: DateTime<Utc>,
    pub(super) access: String,
    pub(super) access_until: DateTime<Utc>,
    pub(super) access_revoked: bool,
    /// Whether it was swapped for a short-lived one.
    pub(super) lasting: bool,
    pub(super) refresh: Option<String>,
    pub(super) refresh_until: Option<DateTime<Utc>>,
}

/// What lets the client act for a page.
#[derive(Debug)]
pub(super) struct PageToken {
    pub(super) page: String,
    /// The pair that it was asked for with.
    pub(super) generation: usize,
    pub(super) token: String,
    pub(super) until: Option<DateTime<Utc>>,
    pub(super) role_lost: bool,
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
            client: self.consent.client.clone(),
            user: self.consent.user.clone(),
            generation: number(generation),
            scope: self.consent.scope.clone(),
            access: pair.access.clone(),
            access_until: pair.access_until,
            refresh: pair.refresh.clone(),
            refresh_until: pair.refresh_until,
        }
    }

    /// What is wrong with an access token of this family, if anything is.
    pub(super) fn access_problem(&self, pair: &Pair, now: DateTime<Utc>) -> Option<Problem> {
        match () {
            () if self.ended.is_some() || pair.access_revoked => Some(Problem::Ended),
            () if now >= pair.access_until => Some(Problem::Expired),
            () => None,
        }
    }

    pub(super) fn view(&self, now: DateTime<Utc>) -> FamilyView {
        let newest = self.pairs.last();
        let lives = |pair: &Pair| match pair.refresh {
            Some(_) => pair.refresh_until.is_none_or(|until| now < until),
            None => now < pair.access_until,
        };
        FamilyView {
            family: self.id.clone(),
            platform: self.platform.map(str::to_owned),
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
