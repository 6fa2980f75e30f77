//! Passwords and sessions: the rules of a personal data server without HTTP, as the reference one has
//! them (`bluesky-social/atproto`, `packages/pds/src/account-manager/account-manager.ts`).
//!
//! A session is a family: its pairs are numbered, a refresh token stays good for two hours after it was
//! used, and answers the same pair again. Access tokens are believed until they expire, whatever became
//! of their session.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use latchkey_shared::random;
use serde_json::json;

use super::jwt::Key;
use super::people::{self, Password};
use super::{PLATFORM, Refusal, refusal};
use crate::sandbox::family::{Ending, FamilyView, number};
use crate::sandbox::store::{Ended, Place};

const ACCESS_LIFETIME: TimeDelta = TimeDelta::minutes(120);
const REFRESH_LIFETIME: TimeDelta = TimeDelta::days(90);
const GRACE: TimeDelta = TimeDelta::hours(2);

pub(super) const WRONG_PASSWORD: Refusal =
    refusal(401, "AuthenticationRequired", "Invalid identifier or password");
const SECOND_FACTOR: Refusal =
    refusal(401, "AuthFactorTokenRequired", "A sign in code has been sent to your email address");
const TAKEN_DOWN: Refusal = refusal(401, "AccountTakedown", "Account has been taken down");
pub(super) const EXPIRED: Refusal = refusal(400, "ExpiredToken", "Token has expired");
pub(super) const REVOKED: Refusal = refusal(400, "ExpiredToken", "Token has been revoked");
pub(super) const FORGED: Refusal = refusal(400, "InvalidToken", "Token could not be verified");
const WRONG_SCOPE: Refusal = refusal(400, "InvalidToken", "Bad token scope");

/// Everybody's account.
#[derive(Debug)]
pub(in crate::sandbox) struct Accounts {
    key: Key,
    /// Who was heard of, by DID: it does not tell the name.
    people: HashMap<String, String>,
    /// How many app passwords each person has deleted.
    deleted: HashMap<String, u32>,
    /// The passwords that were ever told.
    told: HashSet<String>,
    sessions: Vec<Session>,
    index: HashMap<String, Entry>,
}

#[derive(Debug)]
struct Session {
    id: String,
    user: String,
    scope: &'static str,
    pairs: Vec<Pair>,
    ended: Option<Ending>,
}

#[derive(Debug)]
struct Pair {
    made_at: DateTime<Utc>,
    access: String,
    refresh: String,
}

/// Which pair of which session a token belongs to, and as what.
#[derive(Clone, Copy, Debug)]
struct Entry {
    session: usize,
    generation: usize,
    is_access: bool,
}

/// A pair as it is answered.
#[derive(Clone, Debug)]
pub(super) struct Tokens {
    pub(super) family: String,
    pub(super) user: String,
    pub(super) generation: u32,
    pub(super) access: String,
    pub(super) refresh: String,
}

/// A refresh that was answered.
#[derive(Debug)]
pub(super) enum Refreshed {
    Rotated(Tokens),
    Replayed(Tokens),
}

impl Accounts {
    pub(in crate::sandbox) fn new() -> Self {
        Self {
            key: Key::new(random::bytes()),
            people: HashMap::new(),
            deleted: HashMap::new(),
            told: HashSet::new(),
            sessions: Vec::new(),
            index: HashMap::new(),
        }
    }

    /// A person's DID, by which they are known from now on.
    pub(in crate::sandbox) fn meet(&mut self, user: &str) -> String {
        let did = people::did(user);
        self.people.insert(did.clone(), user.to_owned());
        did
    }

    /// Who goes by a handle or DID.
    pub(super) fn user(&self, identifier: &str) -> Option<String> {
        match self.people.get(identifier) {
            Some(user) => Some(user.clone()),
            None => people::user_of_handle(&identifier.to_ascii_lowercase()).map(str::to_owned),
        }
    }

    /// Tells a person's password.
    pub(in crate::sandbox) fn tell(&mut self, user: &str, which: Password) -> String {
        self.meet(user);
        let password = self.password(user, which);
        self.told.insert(password.clone());
        password
    }

    fn password(&self, user: &str, which: Password) -> String {
        let nth = self.deleted.get(user).copied().unwrap_or_default();
        match which {
            Password::App => people::grouped(&self.key.digest(&format!("app/{nth}/{user}"))),
            Password::Own => hex::encode(&self.key.digest(&format!("own/{user}"))[..12]),
            Password::Disguised => people::grouped(&self.key.digest(&format!("disguised/{user}"))),
        }
    }

    /// Begins a session.
    pub(super) fn log_in(
        &mut self,
        user: Option<&str>,
        password: &str,
        now: DateTime<Utc>,
    ) -> Result<Tokens, Refusal> {
        let user = user.ok_or(WRONG_PASSWORD)?;
        let right = |which: &Password| self.password(user, *which) == password;
        let which = Password::ALL.into_iter().find(right).ok_or(WRONG_PASSWORD)?;
        if people::is_taken_down(user) {
            return Err(TAKEN_DOWN);
        }
        if which != Password::App && people::has_second_factor(user) {
            return Err(SECOND_FACTOR);
        }
        let at = self.sessions.len();
        self.sessions.push(Session {
            id: format!("sbx-session-{}", hex::encode(random::bytes::<6>())),
            user: user.to_owned(),
            scope: which.scope(),
            pairs: Vec::new(),
            ended: None,
        });
        Ok(self.issue(at, now))
    }

    /// Exchanges a refresh token.
    pub(super) fn refresh(
        &mut self,
        token: &str,
        now: DateTime<Utc>,
    ) -> Result<Refreshed, Refusal> {
        let entry = self.refresh_entry(token)?;
        let session = &self.sessions[entry.session];
        if now >= session.pairs[entry.generation].refresh_until() {
            return Err(EXPIRED);
        }
        if session.ended.is_some() {
            return Err(REVOKED);
        }
        match session.pairs.get(entry.generation + 1) {
            None => Ok(Refreshed::Rotated(self.issue(entry.session, now))),
            Some(successor) if now < successor.made_at + GRACE => {
                Ok(Refreshed::Replayed(session.tokens(entry.generation + 1)))
            }
            Some(_) => Err(REVOKED),
        }
    }

    /// Ends the session of a refresh token, expired or not; the answer is whether it ended just now. A
    /// token that was used ends nothing but itself.
    pub(super) fn delete(&mut self, token: &str) -> Result<Option<Ending>, Refusal> {
        let entry = self.refresh_entry(token)?;
        let session = &mut self.sessions[entry.session];
        let is_newest = entry.generation + 1 == session.pairs.len();
        if !is_newest || session.ended.is_some() {
            return Ok(None);
        }
        session.ended = Some(Ending::RevokedByClient);
        Ok(session.ended)
    }

    /// The person behind an access token.
    pub(super) fn identify(&self, token: &str, now: DateTime<Utc>) -> Result<String, Refusal> {
        let entry = self.index.get(token).ok_or(FORGED)?;
        let session = &self.sessions[entry.session];
        match entry.is_access {
            false => Err(WRONG_SCOPE),
            true if now >= session.pairs[entry.generation].access_until() => Err(EXPIRED),
            true => Ok(session.user.clone()),
        }
    }

    /// The person deletes their app password: all their sessions end, and the next one asked for is
    /// another. The answer is the sessions that ended just now.
    pub(in crate::sandbox) fn remove_person(&mut self, user: &str) -> Vec<Ended> {
        *self.deleted.entry(user.to_owned()).or_default() += 1;
        let theirs = self.sessions.iter_mut();
        let open = theirs.filter(|session| session.user == user && session.ended.is_none());
        open.map(|session| {
            let why = Ending::RemovedByPerson;
            session.ended = Some(why);
            Ended { family: session.id.clone(), platform: Some(PLATFORM), why }
        })
        .collect()
    }

    /// Where a token belongs, good or not.
    pub(in crate::sandbox) fn place(&self, token: &str) -> Option<Place> {
        let entry = self.index.get(token)?;
        let session = &self.sessions[entry.session];
        Some(Place {
            // An app password belongs to no client.
            client: String::new(),
            family: session.id.clone(),
            user: session.user.clone(),
            generation: Some(number(entry.generation)),
        })
    }

    /// Every session, or one person's.
    pub(in crate::sandbox) fn families(
        &self,
        user: Option<&str>,
        now: DateTime<Utc>,
    ) -> Vec<FamilyView> {
        let wanted = |session: &&Session| user.is_none_or(|user| session.user == user);
        self.sessions.iter().filter(wanted).map(|session| session.view(now)).collect()
    }

    /// Every token ever issued, and every password ever told.
    pub(in crate::sandbox) fn secrets(&self) -> impl Iterator<Item = &str> {
        self.index.keys().chain(&self.told).map(String::as_str)
    }

    fn refresh_entry(&self, token: &str) -> Result<Entry, Refusal> {
        match self.index.get(token) {
            None => Err(FORGED),
            Some(entry) if entry.is_access => Err(WRONG_SCOPE),
            Some(entry) => Ok(*entry),
        }
    }

    /// Makes the next pair. Its parts must differ from all others, even of the same second.
    fn issue(&mut self, at: usize, now: DateTime<Utc>) -> Tokens {
        let session = &mut self.sessions[at];
        let generation = session.pairs.len();
        let token = |kind: &str, scope: &str, lifetime: TimeDelta| {
            let claims = json!({
                "scope": scope,
                "sub": people::did(&session.user),
                "iat": now.timestamp(),
                "exp": (now + lifetime).timestamp(),
                "jti": random::token(),
            });
            self.key.sign(kind, &claims)
        };
        let pair = Pair {
            made_at: now,
            access: token("at+jwt", session.scope, ACCESS_LIFETIME),
            refresh: token("refresh+jwt", "com.atproto.refresh", REFRESH_LIFETIME),
        };
        let entry = |is_access| Entry { session: at, generation, is_access };
        self.index.insert(pair.access.clone(), entry(true));
        self.index.insert(pair.refresh.clone(), entry(false));
        session.pairs.push(pair);
        session.tokens(generation)
    }
}

impl Session {
    fn tokens(&self, generation: usize) -> Tokens {
        let pair = &self.pairs[generation];
        Tokens {
            family: self.id.clone(),
            user: self.user.clone(),
            generation: number(generation),
            access: pair.access.clone(),
            refresh: pair.refresh.clone(),
        }
    }

    fn view(&self, now: DateTime<Utc>) -> FamilyView {
        let lives = |pair: &Pair| now < pair.refresh_until();
        FamilyView {
            family: self.id.clone(),
            platform: Some(PLATFORM.to_owned()),
            user: self.user.clone(),
            alive: self.ended.is_none() && self.pairs.last().is_some_and(lives),
            generation: self.pairs.len().checked_sub(1).map(number),
            ended: self.ended,
        }
    }
}

impl Pair {
    fn access_until(&self) -> DateTime<Utc> {
        self.made_at + ACCESS_LIFETIME
    }

    fn refresh_until(&self) -> DateTime<Utc> {
        self.made_at + REFRESH_LIFETIME
    }
}
