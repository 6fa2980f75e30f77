//! How a request ends. What is final is kept and answered from its row, each time the request comes; what
//! may go otherwise next time is answered once and kept nowhere; what nobody can be told of becomes a dead
//! letter.

use latchkey_shared::body;
use latchkey_shared::broker::PublishError;
use latchkey_shared::broker::consumer::Received;
use latchkey_shared::broker::topology;
use latchkey_shared::code::Code;
use latchkey_shared::db::DbError;
use latchkey_shared::db::dead_letters::{self, NewDeadLetter};
use latchkey_shared::db::requests::{self, Kept, Known};
use latchkey_shared::events::{EventData, NewEvent, RequestRejectedData};
use latchkey_shared::failpoint;
use latchkey_shared::ids::WorkspaceId;
use latchkey_shared::messages::requests::RequestRejected;
use latchkey_shared::operations::Unable;
use latchkey_shared::redact;
use latchkey_shared::refused::{FieldError, Refused};
use latchkey_shared::replies::{Answer, Reply};
use latchkey_shared::work::Work;
use serde::Serialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::caller::Caller;
use super::{Asked, Envelope, Parts, Trouble, envelope};

const MAX_REASON: usize = 500;

/// How a request ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// It was done: the id of its connect or account.
    Done(String),
    /// It came before, and what it was answered then is answered again.
    Repeated,
    /// It was refused, and whoever asked was told.
    Rejected(Code),
    /// It was refused, and stands with the dead letters.
    Dead(Code),
}

impl Ending {
    /// For logs and metrics.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Done(_) => "done",
            Self::Repeated => "repeated",
            Self::Rejected(_) => "rejected",
            Self::Dead(_) => "dead",
        }
    }

    /// What was done.
    pub(super) fn subject(&self) -> Option<&str> {
        if let Self::Done(subject) = self { Some(subject) } else { None }
    }

    /// Why it was not done.
    pub(super) fn code(&self) -> Option<Code> {
        match self {
            Self::Done(_) | Self::Repeated => None,
            Self::Rejected(code) | Self::Dead(code) => Some(*code),
        }
    }
}

/// What was done for a request.
pub(super) struct Done<'a, T> {
    /// In which workspace.
    pub(super) workspace: &'a WorkspaceId,
    /// The id of the connect or account.
    pub(super) subject: &'a str,
    /// The reply's body.
    pub(super) reply: &'a T,
}

impl Parts {
    /// The end of every request that is done: its row with the sealed reply, the message that sends it, and
    /// the commit. `None`: the same request was done by somebody else meanwhile, and nothing of this one stays.
    pub(super) async fn conclude(
        &self,
        mut work: Work,
        asked: &Asked,
        done: Done<'_, impl Serialize>,
    ) -> Result<Option<Ending>, Unable> {
        let Done { workspace, subject, reply } = done;
        let broken = |error: serde_json::Error| Unable::Broken(error.to_string());
        let plain = Zeroizing::new(serde_json::to_vec(reply).map_err(broken)?);
        let sealed = work.encrypt(asked.name.reply_aad(workspace), &plain).await?;
        let known = self.known(asked, Kept::Done(workspace.clone(), sealed));
        if self.keep(work, asked, Some(subject), &known).await? {
            return Ok(Some(Ending::Done(subject.to_owned())));
        }
        Ok(None)
    }

    /// The end of a request that is refused. Kept if asking again would bring the same.
    pub(super) async fn refuse(&self, asked: &Asked, refused: &Refused) -> Result<Ending, Trouble> {
        let passing = refused.code.status().is_server_error();
        if passing || asked.envelope.reply_to.is_none() {
            return self.reject(&asked.envelope, refused).await;
        }
        let body = json!(RequestRejected::from(refused));
        let known = self.known(asked, Kept::Refused(body));
        let work = self.context.store.begin().await?;
        if self.keep(work, asked, None, &known).await? {
            return Ok(Ending::Rejected(refused.code));
        }
        self.repeated(asked).await
    }

    /// Answers a request that is not kept; its delivery ends only once the answer has arrived, or its queue
    /// refused it.
    pub(super) async fn reject(
        &self,
        envelope: &Envelope,
        refused: &Refused,
    ) -> Result<Ending, Trouble> {
        let Some(to) = &envelope.reply_to else {
            return self.bury(&envelope.delivery, refused).await;
        };
        let answer = Answer {
            to: to.clone(),
            correlation_id: envelope.correlation_id.clone(),
            kind: envelope.rejected(),
            body: json!(RequestRejected::from(refused)).to_string().into_bytes(),
        };
        match self.context.store.answer(&answer).await {
            Ok(()) => {}
            // Holding the request would hold a turn of others: its producer can ask again.
            Err(PublishError::Refused) => {
                tracing::warn!(queue = to, "a queue refused the answer to a request");
            }
            Err(error) => return Err(Trouble::Away(error.to_string())),
        }
        Ok(Ending::Rejected(refused.code))
    }

    /// Answers from the row of a request that was dealt with before.
    pub(super) async fn answer_again(&self, asked: &Asked) -> Result<Ending, Trouble> {
        let Some(to) = &asked.envelope.reply_to else { return Ok(Ending::Repeated) };
        let mut work = self.context.store.begin().await?;
        work.reply(to, &reply_to(asked)).await?;
        work.commit().await?;
        Ok(Ending::Repeated)
    }

    /// Keeps what nobody can be told of where a person finds it.
    pub(super) async fn bury(
        &self,
        delivery: &Received,
        refused: &Refused,
    ) -> Result<Ending, Trouble> {
        let queue = self.terms.topology.name(topology::REQUESTS);
        let letter = NewDeadLetter {
            message_id: delivery.message_id.as_deref(),
            kind: delivery.kind.as_deref(),
            queue: Some(&queue),
            routing_key: &delivery.routing_key,
            about: &[
                ("user_id", delivery.user_id.as_deref()),
                ("reply_to", delivery.reply_to.as_deref()),
                ("correlation_id", delivery.correlation_id.as_deref()),
                ("bytes", Some(&delivery.size.to_string())),
            ],
            body: &delivery.body,
            reason: &reason(refused),
        };
        let told = self.rejection(delivery, refused).await?;
        let mut work = self.context.store.begin().await?;
        let new = dead_letters::insert(&mut work, &letter).await?;
        if let Some(told) = told.filter(|_| new) {
            work.emit(told).await?;
        }
        work.commit().await?;
        metrics::counter!("latchkey_dead_letters_total").increment(1);
        Ok(Ending::Dead(refused.code))
    }

    /// The event by which the producer's people learn of it; `None` where nobody knows whose the request is, or their
    /// organisation has no room for more.
    async fn rejection(
        &self,
        delivery: &Received,
        refused: &Refused,
    ) -> Result<Option<NewEvent>, Trouble> {
        let user = delivery.user_id.as_deref().filter(|user| !user.is_empty());
        let caller = match Caller::find(self, user).await {
            Ok(caller) => caller,
            Err(Unable::Refused(_)) => return Ok(None),
            Err(unable) => return Err(unable.into()),
        };
        if let Some(organisation) = caller.organisation()
            && self.backlog.refusal(&self.context.store, organisation).await?.is_some()
        {
            return Ok(None);
        }
        let named = named_workspace(delivery);
        let Some(scope) = caller.scope(self, named.as_ref()).await? else { return Ok(None) };
        let data = EventData::RequestRejected(RequestRejectedData {
            message_id: delivery.message_id.as_deref().map(redact::text),
            request: redact::text(envelope::type_of(delivery)),
            producer: user.map(redact::text),
            code: refused.code,
            message: redact::text(&told(refused)).chars().take(MAX_REASON).collect(),
        });
        Ok(Some(NewEvent { scope, data }))
    }

    fn known(&self, asked: &Asked, kept: Kept) -> Known {
        Known { kind: asked.kind, fingerprint: asked.fingerprint.clone(), kept }
    }

    /// Writes the row and the message that answers, and commits. False: the request is known already, and
    /// nothing was done.
    async fn keep(
        &self,
        mut work: Work,
        asked: &Asked,
        subject: Option<&str>,
        known: &Known,
    ) -> Result<bool, DbError> {
        if !requests::insert(&mut work, &asked.name, subject, known).await? {
            return Ok(false);
        }
        if let Some(to) = &asked.envelope.reply_to {
            work.reply(to, &reply_to(asked)).await?;
        }
        work.commit().await?;
        failpoint::reach("request_committed", || asked.name.message_id().to_owned()).await;
        Ok(true)
    }
}

/// The workspace that a body names, if it can be read.
fn named_workspace(delivery: &Received) -> Option<WorkspaceId> {
    if delivery.size > body::LIMIT {
        return None;
    }
    let body: serde_json::Value = serde_json::from_slice(&delivery.body).ok()?;
    body["workspaceId"].as_str()?.parse().ok()
}

fn reply_to(asked: &Asked) -> Reply<'_> {
    let correlation_id = asked.envelope.correlation_id.as_deref();
    Reply {
        name: &asked.name,
        correlation_id: correlation_id.unwrap_or_default(),
        organisation: asked.caller.organisation(),
    }
}

fn reason(refused: &Refused) -> String {
    let reason = format!("{}: {}", refused.code.as_str(), told(refused));
    reason.chars().take(MAX_REASON).collect()
}

/// What is wrong: the fields, if that is what it is about.
fn told(refused: &Refused) -> String {
    let fields: Vec<String> = refused.errors.iter().map(FieldError::told).collect();
    if fields.is_empty() { refused.detail.clone().into_owned() } else { fields.join("; ") }
}
