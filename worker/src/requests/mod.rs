//! Producers' requests: what somebody asks for over the broker instead of over HTTP, done by the same
//! operations, and answered to whom they name.
//!
//! No row of the outbox stands behind a request: until it is settled the broker alone has it. So it is
//! settled only once its answer is committed, or has arrived, or stands among the dead letters; and while
//! the database is away it is held. Who may ask for what is judged here as the API judges it: nothing may
//! be done for a producer that its key could not do over HTTP.

mod caller;
mod connect_requested;
mod disconnect_requested;
mod ending;
mod envelope;
mod refresh_requested;
mod reply_to;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use latchkey_shared::backlog::Backlog;
use latchkey_shared::broker::Topology;
use latchkey_shared::broker::consumer::{Receive, Received, Settle};
use latchkey_shared::code::Code;
use latchkey_shared::config::CommonSettings;
use latchkey_shared::db::DbError;
use latchkey_shared::db::requests::{self, Name};
use latchkey_shared::keyring::{KeyOwner, SealError};
use latchkey_shared::messages::requests::{Request, RequestKind};
use latchkey_shared::operations::{Means, Unable};
use latchkey_shared::refused::Refused;
use latchkey_shared::{body, failpoint};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use url::Url;

use crate::context::Context;
use caller::Caller;
use ending::Ending;
use envelope::Envelope;
use turns::Turns;

/// How long a request is held while none can be done. Then it is put back, and none is taken before the
/// database is back.
const PATIENCE: Duration = Duration::from_secs(150);
/// How long a request is held that alone cannot be done. Then it is put back and gives its turn to others; what
/// comes too often is a dead letter.
const OWN_PATIENCE: Duration = Duration::from_secs(30);
/// Between two attempts.
const PAUSE: Duration = Duration::from_secs(1);
/// An attempt that takes longer is a failure: each of its steps has a shorter limit of its own.
const ATTEMPT: Duration = Duration::from_secs(30);
/// After so many failures of ours, other than an absent database, the producer is told.
const MAX_FAILURES: u32 = 3;

/// Receives what producers ask for.
#[derive(Clone, Debug)]
pub struct Desk(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    context: Context,
    terms: Terms,
    backlog: Backlog,
    turns: Turns,
}

/// What operators say of requests.
#[derive(Clone, Debug)]
pub struct Terms {
    topology: Topology,
    public_url: Url,
    connect_lifetime: TimeDelta,
    max_open_connects: i64,
    outbox_max: i64,
    trust: bool,
}

impl Terms {
    /// From the settings.
    ///
    /// # Errors
    /// When no URL can be made.
    pub fn new(common: &CommonSettings, trust: bool) -> anyhow::Result<Self> {
        let public_url = common.public_url.clone();
        Ok(Self {
            topology: Topology::new(&common.broker_prefix),
            public_url: public_url
                .ok_or_else(|| anyhow::anyhow!("LATCHKEY_PUBLIC_URL is not set"))?,
            connect_lifetime: TimeDelta::from_std(common.connect_lifetime)?,
            max_open_connects: common.max_open_connects,
            outbox_max: common.outbox_max,
            trust,
        })
    }
}

/// A request on its way: who asks, under which name, and what it says.
struct Asked {
    envelope: Envelope,
    kind: RequestKind,
    name: Name,
    fingerprint: Vec<u8>,
    caller: Caller,
}

/// Why a request is not dealt with yet.
#[derive(Debug)]
enum Trouble {
    /// The database is away, or too much work waits already: not the request's doing.
    Away(String),
    /// A failure of ours.
    Failed(String),
}

impl Receive for Desk {
    async fn ready(&self) {
        let mut said = false;
        while let Err(trouble) = self.0.make_sure_there_is_room().await {
            if !said {
                tracing::warn!("no requests are taken for now: {trouble:?}");
                said = true;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn receive(&self, delivery: Received) -> Settle {
        let delivery = Arc::new(delivery);
        let producer = delivery.user_id.as_deref().unwrap_or_default();
        let turn = self.0.context.stop.run_until_cancelled(self.0.turns.take(producer)).await;
        if turn.is_some()
            && let Some(ending) = self.hold(&delivery).await
        {
            note(&delivery, &ending);
            return Settle::Ack;
        }
        count(&delivery, "requeued");
        Settle::Requeue
    }
}

impl Desk {
    /// A desk with this pool's context.
    #[must_use]
    pub fn new(context: Context, terms: Terms) -> Self {
        let backlog = Backlog::new(terms.outbox_max);
        let turns = Turns::new(context.permits.total());
        Self(Arc::new(Parts { context, terms, backlog, turns }))
    }

    /// How many requests are received at a time.
    #[must_use]
    pub fn prefetch(&self) -> u16 {
        turns::prefetch(self.0.context.permits.total())
    }

    /// Deals with a delivery once, in the caller's own task; false: it is to be tried again.
    pub async fn deal_with(&self, delivery: &Received) -> bool {
        self.0.deal_with(delivery).await.is_ok()
    }

    /// Tries again until the request is dealt with; `None`: it is to be put back.
    async fn hold(&self, delivery: &Arc<Received>) -> Option<Ending> {
        let (begun, id) = (Instant::now(), delivery.message_id.as_deref());
        let (mut held, mut failures) = (false, 0);
        loop {
            let trouble = match self.attempt(delivery.clone()).await {
                Ok(ending) => return Some(ending),
                Err(trouble) => trouble,
            };
            match &trouble {
                Trouble::Away(why) if !held => {
                    held = true;
                    tracing::warn!(message.id = id, "a request is held: {why}");
                }
                Trouble::Away(_) => {}
                Trouble::Failed(why) => {
                    failures += 1;
                    tracing::error!(message.id = id, failures, "a request failed: {why}");
                }
            }
            let given_up = failures >= MAX_FAILURES;
            if given_up && let Ok(ending) = self.give_up(delivery).await {
                return Some(ending);
            }
            let alone =
                begun.elapsed() >= OWN_PATIENCE && self.0.make_sure_there_is_room().await.is_ok();
            if given_up || alone || begun.elapsed() >= PATIENCE {
                tracing::warn!(message.id = id, "a request is put back: {trouble:?}");
                return None;
            }
            self.0.context.stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await?;
        }
    }

    /// In a task of its own: a panic is a failure of ours like others.
    async fn attempt(&self, delivery: Arc<Received>) -> Result<Ending, Trouble> {
        let parts = self.0.clone();
        let dealing =
            async move { tokio::time::timeout(ATTEMPT, parts.deal_with(&delivery)).await };
        match tokio::spawn(dealing).await {
            Ok(Ok(dealt)) => dealt,
            Ok(Err(_)) => Err(Trouble::Failed(format!("no end within {} s", ATTEMPT.as_secs()))),
            Err(_) => Err(Trouble::Failed("it panicked".to_owned())),
        }
    }

    async fn give_up(&self, delivery: &Received) -> Result<Ending, Trouble> {
        let refused = Refused::new(
            Code::Internal,
            "Try again under the same message id; if it stays, whoever runs this installation finds the \
             reason in the log.",
        );
        match Envelope::read(delivery, &self.0.terms) {
            Ok(envelope) => self.0.reject(&envelope, &refused).await,
            Err(unanswerable) => self.0.bury(delivery, &unanswerable).await,
        }
    }
}

impl Parts {
    fn means(&self) -> Means<'_> {
        Means {
            store: &self.context.store,
            platforms: &self.context.platforms,
            public_url: &self.terms.public_url,
            connect_lifetime: self.terms.connect_lifetime,
            max_open_connects: self.terms.max_open_connects,
        }
    }

    async fn make_sure_there_is_room(&self) -> Result<(), Trouble> {
        if self.backlog.is_too_long(&self.context.store).await? {
            return Err(Trouble::Away("too many messages wait in the outbox".to_owned()));
        }
        Ok(())
    }

    /// Deals with a request as far as it goes.
    async fn deal_with(&self, delivery: &Received) -> Result<Ending, Trouble> {
        let envelope = match Envelope::read(delivery, &self.terms) {
            Ok(envelope) => envelope,
            Err(unanswerable) => return self.bury(delivery, &unanswerable).await,
        };
        let id = || delivery.message_id.clone().unwrap_or_default();
        failpoint::reach("request_begun", id).await;
        self.make_sure_there_is_room().await?;
        let asked = match self.judge(&envelope).await {
            Ok(asked) => asked,
            Err(Unable::Refused(refused)) => return self.reject(&envelope, &refused).await,
            Err(unable) => return Err(unable.into()),
        };
        if let Some(ending) = self.repeat(&asked).await? {
            return Ok(ending);
        }
        if let Some(organisation) = asked.caller.organisation()
            && let Some(full) = self.backlog.refusal(&self.context.store, organisation).await?
        {
            return self.reject(&asked.envelope, &full).await;
        }
        let done = match Request::read(asked.kind, &asked.envelope.body) {
            Ok(Request::Connect(request)) => connect_requested::handle(self, &asked, request).await,
            Ok(Request::Disconnect(request)) => {
                disconnect_requested::handle(self, &asked, request).await
            }
            Ok(Request::Refresh(request)) => refresh_requested::handle(self, &asked, request).await,
            Err(refused) => Err(refused.into()),
        };
        match done {
            Ok(Some(ending)) => Ok(ending),
            // It came twice at once, and the other one was first.
            Ok(None) => self.repeated(&asked).await,
            Err(Unable::Refused(refused)) => self.refuse(&asked, &refused).await,
            Err(Unable::Db(error)) if error.is_foreign_key_violation() => {
                self.refuse(&asked, &Refused::reference_gone()).await
            }
            Err(unable) => Err(unable.into()),
        }
    }

    /// Who asks, what for, and under which name: what must be known before anything is written down.
    async fn judge(&self, envelope: &Envelope) -> Result<Asked, Unable> {
        let caller = Caller::find(self, envelope.user.as_deref()).await?;
        let kind = envelope.kind()?;
        let name = Name::new(caller.producer(), envelope.message_id()?);
        if envelope.delivery.size > body::LIMIT {
            let detail = format!("Send at most {} bytes.", body::LIMIT);
            return Err(Refused::new(Code::BodyTooLarge, detail).into());
        }
        let fingerprint = self.fingerprint(kind, &envelope.body).await?;
        Ok(Asked { envelope: envelope.clone(), kind, name, fingerprint, caller })
    }

    /// Keyed: somebody may have put into a body what does not belong there, and a plain hash would let
    /// others guess it.
    async fn fingerprint(&self, kind: RequestKind, body: &[u8]) -> Result<Vec<u8>, Unable> {
        let mut conn = self.context.store.conn().await?;
        let key = conn.encryption_key(KeyOwner::Installation).await?;
        Ok(key.hash(&["request", kind.as_str(), &hex::encode(Sha256::digest(body))]))
    }

    /// What was answered before is answered again; another body is not done under the same name. `None`: it
    /// is new.
    async fn repeat(&self, asked: &Asked) -> Result<Option<Ending>, Trouble> {
        let known = {
            let mut conn = self.context.store.conn().await?;
            requests::find(&mut conn, &asked.name).await?
        };
        let Some(known) = known else { return Ok(None) };
        if known.fingerprint == asked.fingerprint {
            return self.answer_again(asked).await.map(Some);
        }
        let refused = Refused::new(
            Code::IdempotencyKeyReused,
            "This message id came with another type or body within the last 7 days: use a new one for each \
             new request.",
        );
        self.reject(&asked.envelope, &refused).await.map(Some)
    }

    async fn repeated(&self, asked: &Asked) -> Result<Ending, Trouble> {
        let gone = || Trouble::Failed("a request was there and is gone".to_owned());
        self.repeat(asked).await?.ok_or_else(gone)
    }
}

impl From<DbError> for Trouble {
    fn from(error: DbError) -> Self {
        let away = error.is_unavailable();
        let why = format!("{:#}", anyhow::Error::new(error));
        if away { Self::Away(why) } else { Self::Failed(why) }
    }
}

impl From<Unable> for Trouble {
    fn from(unable: Unable) -> Self {
        match unable {
            Unable::Db(error) | Unable::Seal(SealError::Db(error)) => error.into(),
            other => Self::Failed(format!("{:#}", anyhow::Error::new(other))),
        }
    }
}

fn note(delivery: &Received, ending: &Ending) {
    count(delivery, ending.word());
    if let Ending::Dead(code) = ending {
        tracing::warn!(
            producer = delivery.user_id,
            message.id = delivery.message_id,
            request = delivery.kind,
            reason = code.as_str(),
            "a request was refused and its producer cannot be answered: the table dead_letters has it, and the event \
             request.rejected where it is known whose it was"
        );
        return;
    }
    tracing::info!(
        producer = delivery.user_id,
        message.id = delivery.message_id,
        request = delivery.kind,
        result = ending.word(),
        subject.id = ending.subject(),
        reason = ending.code().map(Code::as_str),
        "a request was dealt with"
    );
}

fn count(delivery: &Received, result: &'static str) {
    let kind = RequestKind::of(envelope::type_of(delivery)).map_or("unknown", RequestKind::as_str);
    metrics::counter!("latchkey_requests_total", "request" => kind, "result" => result)
        .increment(1);
}
