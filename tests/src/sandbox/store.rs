//! Codes, tokens and families: the rules of the authorization server without HTTP.
//!
//! A family is one consent. Its pairs are numbered by generation; where refresh tokens rotate, the
//! newest holds the only one that is not spent.

mod pages;
mod reach;

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use latchkey_shared::random;
use sha2::{Digest as _, Sha256};

use super::config::{Rotation, delta};
use super::dialect::{Dialect, Problem};
use super::family::{
    Consent, Ending, Family, FamilyView, Issue, Pair, Proof, RefreshLife, Terms, number,
};
pub(super) use pages::{Inspection, Role};
pub(super) use reach::Ended;

/// A refusal, and the family that ended by it.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) problem: Problem,
    pub(super) why: &'static str,
    pub(super) ended: Option<Ending>,
}

impl Refused {
    pub(super) fn because(problem: Problem, why: &'static str) -> Self {
        Self { problem, why, ended: None }
    }
}

/// What comes with a code.
pub(super) struct Redeem<'a> {
    pub(super) code: &'a str,
    pub(super) redirect_uri: &'a str,
    /// Empty where there is none.
    pub(super) verifier: &'a str,
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
    pub(super) client: String,
    pub(super) generation: Option<u32>,
}

/// An access token that is good.
#[derive(Clone, Debug)]
pub(super) struct Access {
    family: usize,
    generation: usize,
    pub(super) user: String,
    pub(super) client: String,
    pub(super) scope: String,
    pub(super) made_at: DateTime<Utc>,
    pub(super) lasting: bool,
}

#[derive(Clone, Copy, Debug)]
enum Held {
    Code,
    Access,
    Refresh,
    /// A page token; the entry's generation is its place among its family's.
    Page,
}

/// Which family a text belongs to, and as what.
#[derive(Clone, Copy, Debug)]
struct Entry {
    family: usize,
    generation: usize,
    held: Held,
}

/// The next pair to make.
#[derive(Debug, Default)]
struct Next {
    /// The refresh token that goes on instead of a new one.
    kept: Option<String>,
    lasting: bool,
}

/// Everything the sandbox has ever issued.
#[derive(Debug, Default)]
pub(super) struct Store {
    families: Vec<Family>,
    index: HashMap<String, Entry>,
}

impl Store {
    /// Begins a family; the answer is its code and its id.
    pub(super) fn consent(&mut self, consent: Consent, now: DateTime<Utc>) -> (String, String) {
        let code = format!("sbx-code-{}", random::token());
        let id = format!("sbx-family-{}", hex::encode(random::bytes::<6>()));
        let entry = Entry { family: self.families.len(), generation: 0, held: Held::Code };
        self.index.insert(code.clone(), entry);
        self.families.push(Family {
            id: id.clone(),
            platform: consent.vendor,
            consent,
            made_at: now,
            code_used: false,
            pairs: Vec::new(),
            page_tokens: Vec::new(),
            ended: None,
        });
        (code, id)
    }

    /// Codes and tokens are bound to the client that they were issued to (RFC 6749 §4.1.3 and §6),
    /// and to the platform.
    pub(super) fn is_of(&self, text: &str, client: &str, dialect: &Dialect) -> Result<(), Refused> {
        let Some(entry) = self.index.get(text) else {
            return Ok(());
        };
        let family = &self.families[entry.family];
        let (problem, at_home) = match entry.held {
            Held::Code => (Problem::Code, family.consent.vendor == dialect.vendor),
            Held::Refresh => (Problem::Refresh, family.platform == dialect.platform),
            Held::Access | Held::Page => (Problem::Token, family.platform == dialect.platform),
        };
        match () {
            () if !at_home => Err(Refused::because(problem, "it was issued by another platform")),
            () if family.consent.client != client => {
                Err(Refused::because(problem, "it was issued to another client"))
            }
            () => Ok(()),
        }
    }

    /// Exchanges a code. It is worth one attempt, good or bad (RFC 6749 §4.1.2, RFC 7636 §4.6).
    pub(super) fn redeem(
        &mut self,
        redeem: &Redeem<'_>,
        dialect: &Dialect,
        now: DateTime<Utc>,
    ) -> Result<Issue, Refused> {
        let refused = |problem, why| Err(Refused::because(problem, why));
        let entry = self.index.get(redeem.code).copied();
        let Some(Entry { family: at, held: Held::Code, .. }) = entry else {
            return refused(Problem::Code, "the code is unknown");
        };
        let family = &mut self.families[at];
        if family.ended.is_some() {
            return refused(Problem::Code, "the consent has ended");
        }
        if std::mem::replace(&mut family.code_used, true) {
            let ended = family.end(Ending::CodeReused);
            let why = "the code was used before";
            return Err(Refused { problem: Problem::Code, why, ended });
        }
        if now >= family.made_at + family.consent.terms.code {
            return refused(Problem::Mismatch, "the code has expired");
        }
        if redeem.redirect_uri != family.consent.redirect_uri {
            let why = "redirect_uri is not the one of the authorization request";
            return refused(Problem::Mismatch, why);
        }
        if proof(redeem.verifier, family.consent.proof) != family.consent.challenge {
            return refused(Problem::Mismatch, "code_verifier does not match code_challenge");
        }
        family.platform = dialect.platform;
        Ok(self.issue(at, Next::default(), now))
    }

    /// Exchanges a refresh token (RFC 6749 §6, RFC 9700 §4.14.2).
    pub(super) fn refresh(
        &mut self,
        token: &str,
        rotation: Rotation,
        now: DateTime<Utc>,
    ) -> Result<Refreshed, Refused> {
        let refused = |why| Err(Refused::because(Problem::Refresh, why));
        let Some(entry @ Entry { held: Held::Refresh, .. }) = self.index.get(token).copied() else {
            return refused("the refresh token is unknown");
        };
        let family = &mut self.families[entry.family];
        if family.ended.is_some() {
            return refused("the consent has ended");
        }
        if family.pairs[entry.generation].refresh_until.is_some_and(|until| now >= until) {
            return refused("the refresh token has expired");
        }
        let Some(successor) = family.pairs.get(entry.generation + 1) else {
            let kept = (rotation == Rotation::Stable).then(|| token.to_owned());
            let next = Next { kept, ..Next::default() };
            return Ok(Refreshed::Rotated(self.issue(entry.family, next, now)));
        };
        if let Rotation::Grace(window) = rotation
            && now < successor.made_at + delta(window)
        {
            return Ok(Refreshed::Replayed(family.answer(entry.generation + 1)));
        }
        let ended = family.end(Ending::RefreshTokenReused);
        let why = "the refresh token was used before";
        Err(Refused { problem: Problem::Refresh, why, ended })
    }

    /// Makes an access token that lasts, beside the one at hand, which lives on to its end.
    pub(super) fn prolong(&mut self, access: &Access, now: DateTime<Utc>) -> Issue {
        self.issue(access.family, Next { lasting: true, kept: None }, now)
    }

    /// The pair of an access token as it was answered.
    pub(super) fn replay(&self, access: &Access) -> Issue {
        self.families[access.family].answer(access.generation)
    }

    /// Revokes a token (RFC 7009 §2): a refresh token with its family, an access token alone. The
    /// answer is where it belonged and whether the family ended just now; none if it is unknown.
    pub(super) fn revoke(&mut self, token: &str) -> Option<(Place, Option<Ending>)> {
        let entry = self.index.get(token).copied()?;
        let place = self.place(token)?;
        let family = &mut self.families[entry.family];
        match entry.held {
            Held::Code | Held::Page => None,
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

    /// Whose access token it is, if it is still good.
    pub(super) fn access(
        &self,
        token: &str,
        dialect: &Dialect,
        now: DateTime<Utc>,
    ) -> Result<Access, Refused> {
        let unknown = Refused::because(Problem::Token, "the access token is unknown");
        let Some(entry @ Entry { held: Held::Access, .. }) = self.index.get(token) else {
            return Err(unknown);
        };
        let family = &self.families[entry.family];
        if family.platform != dialect.platform {
            return Err(unknown);
        }
        let pair = &family.pairs[entry.generation];
        if let Some(problem) = family.access_problem(pair, now) {
            return Err(Refused::because(problem, "the access token has expired or was revoked"));
        }
        Ok(Access {
            family: entry.family,
            generation: entry.generation,
            user: family.consent.user.clone(),
            client: family.consent.client.clone(),
            scope: family.consent.scope.clone(),
            made_at: pair.made_at,
            lasting: pair.lasting,
        })
    }

    /// Where a code or token belongs, good or not.
    pub(super) fn place(&self, text: &str) -> Option<Place> {
        let entry = self.index.get(text)?;
        let family = &self.families[entry.family];
        let generation = match entry.held {
            Held::Code | Held::Page => None,
            Held::Access | Held::Refresh => Some(number(entry.generation)),
        };
        Some(Place {
            family: family.id.clone(),
            user: family.consent.user.clone(),
            client: family.consent.client.clone(),
            generation,
        })
    }

    /// Where a token belongs, if it is of this platform, and its consent has not ended.
    pub(super) fn living(&self, text: &str, dialect: &Dialect) -> Option<Place> {
        let family = &self.families[self.index.get(text)?.family];
        let lives = family.ended.is_none() && family.platform == dialect.platform;
        self.place(text).filter(|_| lives)
    }

    pub(super) fn is_refresh_token(&self, text: &str) -> bool {
        matches!(self.index.get(text), Some(Entry { held: Held::Refresh, .. }))
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

    fn issue(&mut self, at: usize, next: Next, now: DateTime<Utc>) -> Issue {
        let family = &mut self.families[at];
        let generation = family.pairs.len();
        let is_kept = next.kept.is_some();
        let terms = &family.consent.terms;
        let refresh_until = refresh_until(terms, &family.pairs, is_kept, now);
        let lifetime = terms.lasting.filter(|_| next.lasting).unwrap_or(terms.access);
        let access_until = match terms.refresh {
            RefreshLife::Fixed(_) => refresh_until.map_or(now, |end| end.min(now + lifetime)),
            _ => now + lifetime,
        };
        let fresh = || format!("sbx-rt-{}", random::token());
        let gives = terms.refresh != RefreshLife::Absent;
        let pair = Pair {
            made_at: now,
            access: format!("sbx-at-{}", random::token()),
            access_until,
            access_revoked: false,
            lasting: next.lasting,
            refresh: gives.then(|| next.kept.unwrap_or_else(fresh)),
            refresh_until,
        };
        let entry = |held| Entry { family: at, generation, held };
        self.index.insert(pair.access.clone(), entry(Held::Access));
        if let Some(refresh) = &pair.refresh {
            self.index.insert(refresh.clone(), entry(Held::Refresh));
        }
        family.pairs.push(pair);
        let issue = family.answer(generation);
        Issue { refresh: issue.refresh.filter(|_| !is_kept), ..issue }
    }
}

/// Without a challenge there is nothing to prove, and a verifier is a sign of a forged request.
fn proof(verifier: &str, how: Proof) -> String {
    match how {
        _ if verifier.is_empty() => String::new(),
        Proof::Base64Url => URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)),
        Proof::Hex => hex::encode(Sha256::digest(verifier)),
    }
}

/// When the refresh token of the next pair ends.
fn refresh_until(
    terms: &Terms,
    pairs: &[Pair],
    is_kept: bool,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    match terms.refresh {
        RefreshLife::Absent | RefreshLife::Endless => None,
        RefreshLife::Each(_) if is_kept => pairs.last().and_then(|pair| pair.refresh_until),
        RefreshLife::Each(lifetime) => Some(now + lifetime),
        RefreshLife::Fixed(lifetime) => {
            Some(pairs.first().map_or(now, |first| first.made_at) + lifetime)
        }
    }
}
