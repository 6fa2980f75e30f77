//! What vendors do alike with codes and tokens, each with answers of its own.

use axum::response::Response;

use super::asked::Asked;
use crate::sandbox::answer::Answer;
use crate::sandbox::call::{self, Call, Note};
use crate::sandbox::config::Rotation;
use crate::sandbox::dialect::{Dialect, Problem};
use crate::sandbox::family::Issue;
use crate::sandbox::faults::Endpoint;
use crate::sandbox::ledger::Kind;
use crate::sandbox::state::Books;
use crate::sandbox::store::{Access, Redeem, Refreshed};

impl Asked {
    /// A code becomes tokens.
    pub(super) async fn exchange(
        &self,
        dialect: &'static Dialect,
        client: &str,
        redeem: Redeem<'_>,
        answer: impl FnOnce(&Issue, &Note) -> Answer,
    ) -> Response {
        let call = Call::new(Endpoint::TokenCode, redeem.code, dialect);
        call::run(&self.shared, &self.link, call, |books, note| {
            let ours = books.store.is_of(redeem.code, client, dialect);
            match ours.and_then(|()| books.store.redeem(&redeem, dialect, note.at)) {
                Ok(issue) => note.issue(books, Kind::CodeExchanged, &issue, answer(&issue, note)),
                Err(refused) => note.refuse(books, Kind::CodeRefused, &refused),
            }
        })
        .await
    }

    /// A refresh token becomes a new pair.
    pub(super) async fn refresh(
        &self,
        dialect: &'static Dialect,
        (client, token): (&str, &str),
        rotation: Rotation,
        answer: impl FnOnce(&Issue, &Note) -> Answer,
    ) -> Response {
        let call = Call::new(Endpoint::TokenRefresh, token, dialect);
        call::run(&self.shared, &self.link, call, |books, note| {
            let rotation = if note.keeps_refresh_token() { Rotation::Stable } else { rotation };
            let ours = books.store.is_of(token, client, dialect);
            match ours.and_then(|()| books.store.refresh(token, rotation, note.at)) {
                Ok(Refreshed::Rotated(issue)) => {
                    note.issue(books, Kind::Refreshed, &issue, answer(&issue, note))
                }
                Ok(Refreshed::Replayed(issue)) => {
                    note.issue(books, Kind::RefreshReplayed, &issue, answer(&issue, note))
                }
                Err(refused) => note.refuse(books, Kind::RefreshRefused, &refused),
            }
        })
        .await
    }

    /// Something is read with an access token.
    pub(super) async fn read(
        &self,
        dialect: &'static Dialect,
        (endpoint, kind): (Endpoint, Kind),
        token: &str,
        tell: impl FnOnce(&mut Books, &Access) -> Answer,
    ) -> Response {
        let call = Call::new(endpoint, token, dialect);
        call::run(&self.shared, &self.link, call, |books, note| {
            match books.store.access(token, dialect, note.at) {
                Ok(access) => {
                    let answer = tell(books, &access);
                    note.say(books, kind, answer)
                }
                Err(refused) => note.refuse(books, Kind::IdentityRefused, &refused),
            }
        })
        .await
    }

    /// One token is revoked, as RFC 7009 has it: a refresh token with its family, an access token alone.
    pub(super) async fn revoke(
        &self,
        dialect: &'static Dialect,
        (client, token): (&str, &str),
        done: Answer,
    ) -> Response {
        let call = Call::new(Endpoint::Revoke, token, dialect);
        call::run(&self.shared, &self.link, call, |books, note| {
            let ours = books.store.is_of(token, client, dialect).is_ok();
            let revoked = if ours { books.store.revoke(token) } else { None };
            let Some((_, ended)) = revoked else {
                return note.say(books, Kind::RevokeIgnored, done);
            };
            let outcome = done.outcome();
            let done = note.say(books, Kind::Revoked, done);
            if let Some(ending) = ended {
                books.ledger.append(note.ended(ending, outcome));
            }
            done
        })
        .await
    }

    /// A token is revoked, and with it all that its person gave the client here. Without a client it
    /// is the token's own. `unknown` answers what is not known, not the client's, or dead already.
    pub(super) async fn forget(
        &self,
        dialect: &'static Dialect,
        (client, token): (Option<&str>, &str),
        done: Answer,
        unknown: Answer,
    ) -> Response {
        let call = Call::new(Endpoint::Revoke, token, dialect);
        call::run(&self.shared, &self.link, call, |books, note| {
            let place = books.store.living(token, dialect);
            let ours = place.filter(|place| client.is_none_or(|client| client == place.client));
            let Some(place) = ours else {
                return note.say(books, Kind::RevokeIgnored, unknown);
            };
            let ended = books.store.forget(&place.user, &place.client, dialect);
            note.revoked(books, &ended, done)
        })
        .await
    }
}

/// A grant type that the endpoint does not know.
pub(super) fn unsupported(dialect: &Dialect) -> Answer {
    (dialect.refuse)(Problem::Request, "this grant_type is not offered here")
}
