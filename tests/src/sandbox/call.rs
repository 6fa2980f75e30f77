//! One call of the client: find out whom it concerns, let a fault strike, take the effect, write it
//! down, answer.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};

use super::answer::{Answer, in_place};
use super::dialect::Dialect;
use super::family::{Ending, Issue};
use super::faults::{Endpoint, Fault, FaultRule, When};
use super::ledger::{Kind, LedgerEntry, Outcome, fingerprint};
use super::state::{Books, OpenCall, Shared};
use super::store::{Ended, Place, Refused};
use crate::loopback::Link;

/// A call and what it presents: a code, a refresh token or an access token.
pub(super) struct Call {
    pub(super) endpoint: Endpoint,
    pub(super) presented: String,
    /// How the platform speaks that was called.
    pub(super) dialect: &'static Dialect,
    /// Whom it concerns, where what is presented does not tell.
    pub(super) user: Option<String>,
}

impl Call {
    pub(super) fn new(
        endpoint: Endpoint,
        presented: impl Into<String>,
        dialect: &'static Dialect,
    ) -> Self {
        Self { endpoint, presented: presented.into(), dialect, user: None }
    }
}

/// What an effect needs to know about the call it belongs to.
pub(super) struct Note {
    pub(super) at: DateTime<Utc>,
    call: Call,
    place: Option<Place>,
    rule: Option<FaultRule>,
    open_calls: u32,
}

impl Note {
    pub(super) fn presented(&self) -> &str {
        &self.call.presented
    }

    /// Whether the fault asks that this refresh leave the refresh token as it is.
    pub(super) fn keeps_refresh_token(&self) -> bool {
        self.rule.as_ref().is_some_and(|rule| rule.fault == Fault::MissingRefreshToken)
    }

    /// An entry that says all about the call but what came of it.
    pub(super) fn entry(&self, kind: Kind, outcome: Outcome) -> LedgerEntry {
        let place = self.place.clone();
        LedgerEntry {
            platform: self.call.dialect.platform.map(str::to_owned),
            endpoint: Some(self.call.endpoint),
            user: place.as_ref().map(|place| place.user.clone()).or(self.call.user.clone()),
            generation: place.as_ref().and_then(|place| place.generation),
            family: place.map(|place| place.family),
            presented: Some(fingerprint(&self.call.presented)),
            outcome,
            fault: self.rule.as_ref().map(FaultRule::label),
            open_calls: self.open_calls,
            ..LedgerEntry::new(kind, self.at)
        }
    }

    /// Writes down what happened, and answers it.
    pub(super) fn say(&self, books: &mut Books, kind: Kind, answer: Answer) -> Answer {
        books.ledger.append(self.entry(kind, answer.outcome()));
        answer
    }

    /// Writes down a pair, and answers it.
    pub(super) fn issue(
        &self,
        books: &mut Books,
        kind: Kind,
        issue: &Issue,
        answer: Answer,
    ) -> Answer {
        let tokens = [Some(&issue.access), issue.refresh.as_ref()];
        books.ledger.append(LedgerEntry {
            generation: Some(issue.generation),
            issued: tokens.into_iter().flatten().map(|token| fingerprint(token)).collect(),
            ..self.entry(kind, answer.outcome())
        });
        answer
    }

    /// Writes down a refusal and what ended by it, and answers it as the platform does.
    pub(super) fn refuse(&self, books: &mut Books, kind: Kind, refused: &Refused) -> Answer {
        let answer = (self.call.dialect.refuse)(refused.problem, refused.why);
        books.ledger.append(self.entry(kind, answer.outcome()));
        if let Some(ending) = refused.ended {
            books.ledger.append(self.ended(ending, answer.outcome()));
        }
        answer
    }

    /// The entry that says that the family ended by this call.
    pub(super) fn ended(&self, reason: Ending, outcome: Outcome) -> LedgerEntry {
        LedgerEntry { reason: Some(reason), ..self.entry(Kind::FamilyRevoked, outcome) }
    }

    /// Writes down a revocation and all the families that ended by it, and answers it.
    pub(super) fn revoked(&self, books: &mut Books, ended: &[Ended], answer: Answer) -> Answer {
        books.ledger.append(self.entry(Kind::Revoked, answer.outcome()));
        for Ended { family, why, .. } in ended {
            let family = Some(family.clone());
            let entry = self.ended(*why, answer.outcome());
            books.ledger.append(LedgerEntry { family, generation: None, ..entry });
        }
        answer
    }
}

/// Runs a call to its answer. The effect is one step under the lock, entry included.
pub(super) async fn run<E>(shared: &Arc<Shared>, link: &Link, call: Call, effect: E) -> Response
where
    E: FnOnce(&mut Books, &Note) -> Answer,
{
    let place = shared.books().place(&call.presented);
    let begin = |place: &Place| OpenCall::begin(shared, call.endpoint, &place.family);
    let open = place.as_ref().map(begin);
    let user = place.as_ref().map(|place| place.user.as_str()).or(call.user.as_deref());
    let rule = shared.books().faults.take(call.endpoint, user);
    let open_calls = open.as_ref().map_or(1, |open| open.count);
    let mut note = Note { at: shared.now(), call, place, rule, open_calls };

    match note.rule.clone() {
        None => perform(shared, &mut note, effect, |answer, _| answer.into_response()),
        Some(rule) => {
            delay(&rule, When::Before).await;
            let response = if rule.spares_the_effect() {
                spare(shared, &mut note, &rule.fault)
            } else {
                perform(shared, &mut note, effect, |answer, call| answer.under(&rule.fault, call))
            };
            delay(&rule, When::After).await;
            match rule.fault {
                Fault::Drop => link.cut(),
                Fault::Silence => {
                    // The call is over; only its answer never comes.
                    drop(open);
                    std::future::pending::<()>().await;
                }
                _ => {}
            }
            response
        }
    }
}

/// Takes the effect and dresses its answer.
fn perform<E>(
    shared: &Shared,
    note: &mut Note,
    effect: E,
    dress: impl FnOnce(Answer, &Call) -> Response,
) -> Response
where
    E: FnOnce(&mut Books, &Note) -> Answer,
{
    let mut books = shared.books();
    note.at = shared.now();
    let answer = effect(&mut books, note);
    if books.ledger.is_broken() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    drop(books);
    dress(answer, &note.call)
}

/// Answers in place of the effect.
fn spare(shared: &Shared, note: &mut Note, fault: &Fault) -> Response {
    let response = in_place(fault, &note.call);
    let status = (!fault.is_mute()).then(|| response.status().as_u16());
    note.at = shared.now();
    let entry = note.entry(Kind::Faulted, Outcome { status, error: None });
    shared.books().ledger.append(entry);
    response
}

async fn delay(rule: &FaultRule, side: When) {
    if let Fault::Delay { ms } = rule.fault
        && rule.when() == side
    {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}
