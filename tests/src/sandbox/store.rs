//! Codes, tokens and families: the rules of the authorization server without HTTP.
//!
//! A family is one consent. Its pairs are numbered by generation; the newest holds the only refresh
//! token that is not spent.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use latchkey_shared::random;
use sha2::{Digest as _, Sha256};

use super::config::{Rotation, SandboxConfig, delta};
use super::family::{Consent, Ending, Family, FamilyView, Issue, Pair, number};

/// Codes end soon: RFC 6749 §4.1.2 allows ten minutes at most, X gives 30 seconds.
const CODE_LIFETIME: TimeDelta = TimeDelta::seconds(60);

/// A refusal, and the family that ended by it.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) why: &'static str,
    pub(super) ended: Option<Ending>,
}

impl Refused {
    fn because(why: &'static str) -> Self {
        Self { why, ended: None }
    }
}

/// A refresh that was answered.
#[derive(Debug)]
pub(super) enum Refreshed {
    Rotated(Issue),
    Replayed(Issue),
}

/// Where a code or token belongs.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) family: String,
    pub(super) user: String,
    pub(super) generation: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
enum Held {
    Code,
    Access,
    Refresh,
}

/// Which family a text belongs to, and as what.
#[derive(Clone, Copy, Debug)]
struct Entry {
    family: usize,
    generation: usize,
    held: Held,
}

/// Everything the sandbox has ever issued.
#[derive(Debug)]
pub(super) struct Store {
    access_lifetime: TimeDelta,
    refresh_lifetime: Option<TimeDelta>,
    families: Vec<Family>,
    index: HashMap<String, Entry>,
}

impl Store {
    pub(super) fn new(config: &SandboxConfig) -> Self {
        Self {
            access_lifetime: delta(config.access_lifetime),
            refresh_lifetime: config.refresh_lifetime.map(delta),
            families: Vec::new(),
            index: HashMap::new(),
        }
    }

    /// Begins a family; the answer is its code and its id.
    pub(super) fn consent(&mut self, consent: Consent, now: DateTime<Utc>) -> (String, String) {
        let code = format!("sbx-code-{}", random::token());
        let id = format!("sbx-family-{}", hex::encode(random::bytes::<6>()));
        let entry = Entry { family: self.families.len(), generation: 0, held: Held::Code };
        self.index.insert(code.clone(), entry);
        self.families.push(Family {
            id: id.clone(),
            consent,
            code_until: now + CODE_LIFETIME,
            code_used: false,
            pairs: Vec::new(),
            ended: None,
        });
        (code, id)
    }

    /// Codes and tokens are bound to the client that they were issued to (RFC 6749 §4.1.3 and §6).
    pub(super) fn is_of(&self, text: &str, client: &str) -> Result<(), Refused> {
        match self.index.get(text) {
            Some(entry) if self.families[entry.family].consent.client != client => {
                Err(Refused::because("it was issued to another client"))
            }
            _ => Ok(()),
        }
    }

    /// Exchanges a code. It is worth one attempt, good or bad (RFC 6749 §4.1.2, RFC 7636 §4.6).
    pub(super) fn redeem(
        &mut self,
        code: &str,
        redirect_uri: &str,
        verifier: &str,
        now: DateTime<Utc>,
    ) -> Result<Issue, Refused> {
        let Some(Entry { family: at, held: Held::Code, .. }) = self.index.get(code).copied() else {
            return Err(Refused::because("the code is unknown"));
        };
        let family = &mut self.families[at];
        if family.ended.is_some() {
            return Err(Refused::because("the consent has ended"));
        }
        if std::mem::replace(&mut family.code_used, true) {
            family.ended = Some(Ending::CodeReused);
            return Err(Refused { why: "the code was used before", ended: family.ended });
        }
        if now >= family.code_until {
            return Err(Refused::because("the code has expired"));
        }
        if redirect_uri != family.consent.redirect_uri {
            return Err(Refused::because(
                "redirect_uri is not the one of the authorization request",
            ));
        }
        // Without a challenge there is nothing to prove, and a verifier is a sign of a forged request.
        let proof = match verifier {
            "" => String::new(),
            _ => URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)),
        };
        if proof != family.consent.challenge {
            return Err(Refused::because("code_verifier does not match code_challenge"));
        }
        Ok(self.issue(at, None, now))
    }

    /// Exchanges a refresh token (RFC 6749 §6, RFC 9700 §4.14.2).
    pub(super) fn refresh(
        &mut self,
        token: &str,
        rotation: Rotation,
        now: DateTime<Utc>,
    ) -> Result<Refreshed, Refused> {
        let Some(entry @ Entry { held: Held::Refresh, .. }) = self.index.get(token).copied() else {
            return Err(Refused::because("the refresh token is unknown"));
        };
        let family = &mut self.families[entry.family];
        if family.ended.is_some() {
            return Err(Refused::because("the consent has ended"));
        }
        if family.pairs[entry.generation].refresh_until.is_some_and(|until| now >= until) {
            return Err(Refused::because("the refresh token has expired"));
        }
        let Some(successor) = family.pairs.get(entry.generation + 1) else {
            let kept = (rotation == Rotation::Stable).then(|| token.to_owned());
            return Ok(Refreshed::Rotated(self.issue(entry.family, kept, now)));
        };
        if let Rotation::Grace(window) = rotation
            && now < successor.made_at + delta(window)
        {
            return Ok(Refreshed::Replayed(family.answer(entry.generation + 1)));
        }
        family.ended = Some(Ending::RefreshTokenReused);
        Err(Refused { why: "the refresh token was used before", ended: family.ended })
    }

    /// Revokes a token (RFC 7009 §2): a refresh token with its family, an access token alone. The
    /// answer is where it belonged and whether the family ended just now; none if it is unknown.
    pub(super) fn revoke(&mut self, token: &str) -> Option<(Place, Option<Ending>)> {
        let entry = self.index.get(token).copied()?;
        let place = self.place(token)?;
        let family = &mut self.families[entry.family];
        match entry.held {
            Held::Code => None,
            Held::Access => {
                family.pairs[entry.generation].access_revoked = true;
                Some((place, None))
            }
            Held::Refresh => {
                let ended = family.end(Ending::RevokedByClient);
                Some((place, ended))
            }
        }
    }

    /// Ends every family of a person; the answer is the ids of those that ended just now.
    pub(super) fn remove_person(&mut self, user: &str) -> Vec<String> {
        let theirs = self.families.iter_mut().filter(|family| family.consent.user == user);
        theirs
            .filter_map(|family| {
                family.end(Ending::RemovedByPerson)?;
                Some(family.id.clone())
            })
            .collect()
    }

    /// The person behind an access token that is still good.
    pub(super) fn identify(&self, token: &str, now: DateTime<Utc>) -> Option<&str> {
        let entry = self.index.get(token)?;
        let family = &self.families[entry.family];
        let Held::Access = entry.held else {
            return None;
        };
        let pair = &family.pairs[entry.generation];
        let good = family.ended.is_none() && !pair.access_revoked && now < pair.access_until;
        good.then_some(family.consent.user.as_str())
    }

    /// Where a code or token belongs, good or not.
    pub(super) fn place(&self, text: &str) -> Option<Place> {
        let entry = self.index.get(text)?;
        let family = &self.families[entry.family];
        let generation = match entry.held {
            Held::Code => None,
            Held::Access | Held::Refresh => Some(number(entry.generation)),
        };
        Some(Place { family: family.id.clone(), user: family.consent.user.clone(), generation })
    }

    /// Every family, or one person's.
    pub(super) fn families(&self, user: Option<&str>, now: DateTime<Utc>) -> Vec<FamilyView> {
        let wanted = |family: &&Family| user.is_none_or(|user| family.consent.user == user);
        self.families.iter().filter(wanted).map(|family| family.view(now)).collect()
    }

    /// Every code and token ever issued.
    pub(super) fn issued(&self) -> impl Iterator<Item = &str> {
        self.index.keys().map(String::as_str)
    }

    /// Makes the next pair; `kept` is the refresh token that goes on instead of a new one.
    fn issue(&mut self, at: usize, kept: Option<String>, now: DateTime<Utc>) -> Issue {
        let family = &mut self.families[at];
        let generation = family.pairs.len();
        let is_kept = kept.is_some();
        let refresh_until = match &kept {
            Some(_) => family.pairs.last().and_then(|pair| pair.refresh_until),
            None => self.refresh_lifetime.map(|lifetime| now + lifetime),
        };
        let pair = Pair {
            made_at: now,
            access: format!("sbx-at-{}", random::token()),
            access_until: now + family.consent.access_lifetime.unwrap_or(self.access_lifetime),
            access_revoked: false,
            refresh: kept.unwrap_or_else(|| format!("sbx-rt-{}", random::token())),
            refresh_until,
        };
        let entry = |held| Entry { family: at, generation, held };
        self.index.insert(pair.access.clone(), entry(Held::Access));
        self.index.insert(pair.refresh.clone(), entry(Held::Refresh));
        family.pairs.push(pair);
        let issue = family.answer(generation);
        Issue { refresh: issue.refresh.filter(|_| !is_kept), ..issue }
    }
}
