//! The unit of work: one transaction, and the messages that speak of it.
//!
//! State and message commit together; what was committed is published at once afterwards, by this
//! process if it lives, by the relay if it does not.

use std::borrow::Cow;
use std::ops::{Deref, DerefMut};

use diesel_async::{AnsiTransactionManager, SimpleAsyncConnection as _, TransactionManager as _};
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use crate::broker::{self, PublishError, Publisher, topology};
use crate::clock::Clock;
use crate::db::dead_letters::{self, NewDeadLetter};
use crate::db::outbox::{self, Message, Waiting};
use crate::db::{Db, DbError, Session, events, webhook_deliveries};
use crate::events::NewEvent;
use crate::failpoint;
use crate::ids::{EventId, MessageId, NudgeId};
use crate::keyring::{KeyStore, SealError};
use crate::messages::Command;
use crate::replies::{self, Answer, Reply};

/// Where units of work begin: the database, the keys, and the way out.
#[derive(Clone, Debug)]
pub struct Store {
    db: Db,
    publisher: Publisher,
    /// For what goes to queues that strangers name.
    replies: Publisher,
    tasks: TaskTracker,
}

impl Store {
    /// A store over these parts. `tasks` is waited for before the process ends.
    #[must_use]
    pub fn new(db: Db, publisher: Publisher, tasks: TaskTracker) -> Self {
        Self { db, replies: publisher.clone(), publisher, tasks }
    }

    /// The same store with a connection of its own for replies: a broker that does not like where one goes closes
    /// the connection that it came by.
    #[must_use]
    pub fn with_replies(self, replies: Publisher) -> Self {
        Self { replies, ..self }
    }

    /// The same store over another pool of connections.
    #[must_use]
    pub fn over(&self, db: Db) -> Self {
        Self { db, ..self.clone() }
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        self.db.clock()
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &KeyStore {
        self.db.keys()
    }

    /// The publisher, for those few that publish without a unit of work: relay and planner.
    #[must_use]
    pub fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// Borrows a connection for reading, or for a single statement.
    ///
    /// # Errors
    /// [`DbError::Unavailable`].
    pub async fn conn(&self) -> Result<Session, DbError> {
        failpoint::step().await;
        self.db.conn().await
    }

    /// Begins a unit of work. Dropped without [`Work::commit`], it leaves nothing behind.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn begin(&self) -> Result<Work, DbError> {
        failpoint::step().await;
        let mut conn = self.db.conn().await?;
        AnsiTransactionManager::begin_transaction(&mut *conn).await?;
        let open = Open { conn: Some(conn), tasks: self.tasks.clone() };
        Ok(Work { open, store: self.clone(), outgoing: Vec::new() })
    }

    /// Publishes a message of the outbox and writes down how that went. Failure is the relay's work.
    pub async fn publish(&self, waiting: &Waiting) {
        failpoint::step().await;
        let noted = match self.publishable(&waiting.message).await {
            Ok(Publishable::Message(message)) => {
                let is_reply = waiting.message.kind == outbox::REPLY;
                let publisher = if is_reply { &self.replies } else { &self.publisher };
                let published = publisher.publish(&message).await;
                self.note_published(waiting, published).await
            }
            Ok(Publishable::Gone) => self.note_gone(waiting).await,
            Ok(Publishable::Unreadable) => self.put_aside(&waiting.message).await,
            Err(error) => self.note_failed(&waiting.message, &error.to_string()).await,
        };
        if let Err(error) = noted {
            tracing::warn!(
                message.id = waiting.message.id,
                "could not note what became of a message: {error}"
            );
        }
    }

    async fn note_published(
        &self,
        waiting: &Waiting,
        published: Result<(), PublishError>,
    ) -> Result<(), DbError> {
        let message = &waiting.message;
        let Err(error) = published else {
            let mut conn = self.db.conn().await?;
            return outbox::confirmed(&mut conn, waiting).await;
        };
        let theirs = matches!(message.kind.as_str(), outbox::EVENT | outbox::REPLY);
        if theirs && matches!(error, PublishError::Refused) {
            let mut conn = self.db.conn().await?;
            if outbox::refused(&mut conn, message).await? {
                metrics::counter!("latchkey_messages_given_up_total", "kind" => message.kind.clone())
                    .increment(1);
                tracing::warn!(
                    message.id,
                    message.kind,
                    message.routing_key,
                    "a queue refused a message for too long: the message is given up"
                );
                return Ok(());
            }
        }
        self.note_failed(message, &error.to_string()).await
    }

    async fn note_failed(&self, message: &Message, error: &str) -> Result<(), DbError> {
        tracing::debug!(message.id, message.kind, "not published, left to the relay: {error}");
        outbox::publishing_failed(&mut *self.db.conn().await?, &message.id, error).await
    }

    async fn publishable(&self, message: &Message) -> Result<Publishable, SealError> {
        if message.kind == outbox::REPLY {
            return replies::build(self, message).await;
        }
        Ok(amqp(message, self.clock()).map_or(Publishable::Unreadable, Publishable::Message))
    }

    /// Keeps a message that cannot be published for a person to look at.
    async fn put_aside(&self, message: &Message) -> Result<(), DbError> {
        let letter = NewDeadLetter {
            message_id: Some(&message.id),
            kind: Some(&message.kind),
            queue: Some("outbox"),
            routing_key: &message.routing_key,
            about: &[],
            body: message.body.as_bytes(),
            reason: "unreadable",
        };
        // Cut between the two it is kept once all the same.
        let mut conn = self.conn().await?;
        dead_letters::insert(&mut conn, &letter).await?;
        outbox::done(&mut conn, &message.id, "dead").await?;
        metrics::counter!("latchkey_dead_letters_total").increment(1);
        tracing::error!(
            message.id,
            message.kind,
            "a message of the outbox cannot be read: see the dead letters"
        );
        Ok(())
    }

    async fn note_gone(&self, waiting: &Waiting) -> Result<(), DbError> {
        let id = &waiting.message.id;
        tracing::info!(message.id = id, "a reply is not sent: what it answers was deleted");
        outbox::done(&mut *self.db.conn().await?, id, "gone").await
    }

    /// Publishes an answer that is kept nowhere: its request comes again if it does not arrive.
    ///
    /// # Errors
    /// When the broker did not take it.
    pub async fn answer(&self, answer: &Answer) -> Result<(), PublishError> {
        failpoint::step().await;
        self.replies.publish(&answer.amqp(NudgeId::new(self.clock()).as_str(), self.clock())).await
    }

    /// Publishes a command that no outbox row stands for: its row comes due again by itself.
    ///
    /// # Errors
    /// When the broker did not take it.
    pub async fn nudge(&self, command: &Command) -> Result<(), PublishError> {
        failpoint::step().await;
        let message = Message {
            id: NudgeId::new(self.clock()).to_string(),
            kind: command.kind().to_string(),
            routing_key: command.kind().to_string(),
            body: command.body().to_string(),
            organisation: None,
        };
        let message = amqp(&message, self.clock()).expect("a command names its own kind");
        self.publisher.publish(&message).await
    }
}

/// What becomes of a row of the outbox.
pub(crate) enum Publishable {
    Message(broker::Message),
    /// What it speaks of is gone: there is nothing to say any more.
    Gone,
    Unreadable,
}

/// All that is read of an event on its way, however deep the rest is.
#[derive(Deserialize)]
struct Typed<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
}

/// `None`: it is an event without a type.
fn amqp(message: &Message, clock: &Clock) -> Option<broker::Message> {
    let is_event = message.kind == outbox::EVENT;
    let kind = if is_event {
        serde_json::from_str::<Typed<'_>>(&message.body).ok()?.kind
    } else {
        Cow::Borrowed(message.kind.as_str())
    };
    Some(broker::Message {
        exchange: if is_event { topology::EVENTS } else { topology::COMMANDS },
        routing_key: message.routing_key.clone(),
        id: message.id.clone(),
        kind: kind.into_owned(),
        correlation_id: None,
        body: message.body.clone().into_bytes(),
        timestamp: u64::try_from(clock.now().timestamp()).unwrap_or(0),
        mandatory: !is_event,
    })
}

enum Outgoing {
    Row(Waiting),
    Nudge(Command),
}

/// The connection of an open transaction. Dropped, it rolls back and goes back to the pool: most
/// handlers that find nothing to do end so, and a new connection for each would cost more than all
/// the rest of their work.
struct Open {
    conn: Option<Session>,
    tasks: TaskTracker,
}

impl Drop for Open {
    fn drop(&mut self) {
        let Some(mut conn) = self.conn.take() else { return };
        // Without a runtime the pool throws the connection away, which ends the transaction, too.
        if Handle::try_current().is_ok() {
            self.tasks.spawn(async move {
                if let Err(error) = AnsiTransactionManager::rollback_transaction(&mut *conn).await {
                    tracing::debug!("a transaction ended with its connection: {error}");
                }
            });
        }
    }
}

/// One transaction under way. Dereferences to its session.
pub struct Work {
    open: Open,
    store: Store,
    outgoing: Vec<Outgoing>,
}

impl Work {
    /// Where it began.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Makes this commit wait for the disk whatever the server is set to: what it stores cannot be
    /// had a second time.
    ///
    /// # Errors
    /// When the query fails.
    pub async fn make_durable(&mut self) -> Result<(), DbError> {
        Ok(self.batch_execute("SET LOCAL synchronous_commit = on").await?)
    }

    /// Writes an event, its deliveries and its message.
    ///
    /// # Errors
    /// When a query fails.
    pub async fn emit(&mut self, event: NewEvent) -> Result<EventId, DbError> {
        let logged = events::insert(self, &event).await?;
        for due in webhook_deliveries::insert_for(self, &logged).await? {
            self.nudge(Command::WebhookDue(due));
        }
        self.enqueue(Message {
            id: logged.id.to_string(),
            kind: outbox::EVENT.to_owned(),
            routing_key: logged.routing_key(),
            body: logged.body().to_string(),
            organisation: Some(logged.organisation_id),
        })
        .await?;
        Ok(logged.id)
    }

    /// Writes a command that must be done.
    ///
    /// # Errors
    /// When the query fails.
    pub async fn send(&mut self, command: &Command) -> Result<(), DbError> {
        let kind = command.kind().to_string();
        let id = MessageId::new(self.store.clock()).to_string();
        self.enqueue(Message {
            id,
            routing_key: kind.clone(),
            kind,
            body: command.body().to_string(),
            organisation: None,
        })
        .await
    }

    /// Writes that a request's answer is to be published: its body is made of the request's row then.
    ///
    /// # Errors
    /// When the query fails.
    pub async fn reply(&mut self, to: &str, reply: &Reply<'_>) -> Result<(), DbError> {
        let id = MessageId::new(self.store.clock()).to_string();
        let (kind, routing_key) = (outbox::REPLY.to_owned(), to.to_owned());
        let organisation = reply.organisation.cloned();
        self.enqueue(Message { id, kind, routing_key, body: reply.body(), organisation }).await
    }

    /// Publishes a command after the commit. No outbox row stands for it: its row comes due again by
    /// itself.
    pub fn nudge(&mut self, command: Command) {
        self.outgoing.push(Outgoing::Nudge(command));
    }

    async fn enqueue(&mut self, message: Message) -> Result<(), DbError> {
        let waiting = outbox::insert(self, message).await?;
        self.outgoing.push(Outgoing::Row(waiting));
        Ok(())
    }

    /// Commits, then publishes in the background.
    ///
    /// # Errors
    /// When the commit fails, in which case nothing happened, or its outcome is unknown, in which
    /// case the relay publishes what was committed after all.
    pub async fn commit(self) -> Result<(), DbError> {
        let Self { mut open, store, outgoing } = self;
        // Taken out: dropped in the middle of its COMMIT nobody knows where it stands, and the pool
        // throws it away.
        let mut conn = open.conn.take().expect("only commit takes the connection");
        AnsiTransactionManager::commit_transaction(&mut *conn).await?;
        drop(conn);
        failpoint::step().await;
        if !outgoing.is_empty() {
            let tasks = store.tasks.clone();
            tasks.spawn(async move { publish_all(&store, outgoing).await });
        }
        Ok(())
    }
}

async fn publish_all(store: &Store, outgoing: Vec<Outgoing>) {
    for outgoing in outgoing {
        match outgoing {
            Outgoing::Row(waiting) => store.publish(&waiting).await,
            Outgoing::Nudge(command) => {
                if let Err(error) = store.nudge(&command).await {
                    tracing::debug!(command = %command.kind(), "not published, left to the sweep: {error}");
                }
            }
        }
    }
}

impl Deref for Work {
    type Target = Session;

    fn deref(&self) -> &Session {
        self.open.conn.as_ref().expect("only commit takes the connection")
    }
}

impl DerefMut for Work {
    fn deref_mut(&mut self) -> &mut Session {
        self.open.conn.as_mut().expect("only commit takes the connection")
    }
}
