//! Decides how each delivery ends. The one place where attempts are counted and endings are named.
//!
//! Whatever goes wrong, the row has the last word: a message that is acknowledged too early comes
//! again from the outbox, one that comes twice finds its row moved on.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use latchkey_shared::broker::consumer::{Receive, Received, Settle};
use latchkey_shared::db::DbError;
use latchkey_shared::db::outbox::{self, Later};
use latchkey_shared::messages::Command;
use tokio::sync::RwLock;
use tokio::time::Instant;

use crate::context::Context;
use crate::handlers;
use crate::outcome::{Failure, Outcome, Terms};

/// Receives the deliveries of one pool.
#[derive(Clone, Debug)]
pub struct Executor {
    context: Context,
    /// Shared by all that is done, held alone by what may take the process down.
    floor: Arc<RwLock<()>>,
    /// The messages that this process is at.
    running: Arc<Mutex<HashSet<String>>>,
}

/// That a message is being done, for as long as this lives.
struct Turn {
    running: Arc<Mutex<HashSet<String>>>,
    message_id: String,
}

impl Turn {
    /// `None`: this process is at it already. What has no row is not asked for: only a row brings back
    /// what is acknowledged unheard.
    fn take(executor: &Executor, message_id: &str) -> Option<Self> {
        if !has_row(message_id) {
            return Some(Self { running: Arc::default(), message_id: String::new() });
        }
        let mut running = executor.running.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = || Self { running: executor.running.clone(), message_id: message_id.to_owned() };
        running.insert(message_id.to_owned()).then(turn)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.message_id);
    }
}

/// How an attempt ended, seen from outside the handler.
enum Ending {
    Finished(Result<Outcome, Failure>),
    TimedOut,
    Panicked,
}

/// How long the begin and the end of an attempt wait for the database before the message is left to the relay.
const DB_PATIENCE: Duration = Duration::from_secs(60);
const MAX_ERROR: usize = 500;
/// How often the database may refuse the same values before a command is given up.
const MAX_REFUSALS: i32 = 3;
/// A message whose process was gone so often in a row is done alone: its neighbours would share its
/// fate, attempt for attempt.
const SUSPECT_AFTER: i32 = 2;
/// After so many, the last of them alone, it is the message.
const MAX_UNFINISHED: i32 = 5;

impl Executor {
    /// An executor for one pool.
    #[must_use]
    pub fn new(context: Context) -> Self {
        Self { context, floor: Arc::default(), running: Arc::default() }
    }

    async fn execute(&self, command: Command, message_id: &str, redelivered: bool) -> Settle {
        // The broker was lost and delivers again what is still under way: whoever is at it notes how it
        // ends, and that it has not ended is not the message's doing.
        let Some(_turn) = Turn::take(self, message_id) else {
            return Settle::Ack;
        };
        let unfinished = if redelivered { self.unfinished(message_id).await } else { 0 };
        if unfinished >= MAX_UNFINISHED {
            return self.bury(&command, message_id, "it takes its process down").await;
        }
        if unfinished >= SUSPECT_AFTER {
            tracing::warn!(
                message.id = message_id,
                unfinished,
                "done alone: its process was gone before"
            );
            let _alone = self.floor.write().await;
            return self.attempt(command, message_id).await;
        }
        let _shared = self.floor.read().await;
        self.attempt(command, message_id).await
    }

    /// A worker that was killed between noting that a message is dead and telling the broker so leaves the
    /// second to whoever gets it next.
    async fn settle_again(&self, message_id: &str) -> Settle {
        let ending = async {
            let mut conn = self.context.store.conn().await?;
            outbox::ending(&mut conn, message_id).await
        };
        match ending.await {
            Ok(Some(ending)) if ending == "dead" => Settle::Reject,
            _ => Settle::Ack,
        }
    }

    /// Zero when the database is away: then the attempt itself waits for it.
    async fn unfinished(&self, message_id: &str) -> i32 {
        let Ok(mut conn) = self.context.store.conn().await else { return 0 };
        outbox::unfinished(&mut conn, message_id).await.unwrap_or(0)
    }

    async fn attempt(&self, command: Command, message_id: &str) -> Settle {
        let terms = handlers::terms(command.kind());
        let Some(attempt) = self.begin(message_id, terms).await else {
            return self.settle_again(message_id).await;
        };
        if attempt > terms.max_attempts {
            return self.bury(&command, message_id, "too many attempts").await;
        }
        let begun = Instant::now();
        let ending = self.run(command.clone(), terms).await;
        let word = self.end(&command, message_id, attempt, ending).await;
        let kind = command.kind().as_str();
        metrics::counter!("latchkey_commands_total", "command" => kind, "ending" => word)
            .increment(1);
        metrics::histogram!("latchkey_command_seconds", "command" => kind).record(begun.elapsed());
        if word == "dead" { Settle::Reject } else { Settle::Ack }
    }

    /// Counts the attempt before it is made, so that one which takes the process down counts too.
    /// `None`: done already, or the database is away and the relay will bring it again.
    async fn begin(&self, message_id: &str, terms: Terms) -> Option<i32> {
        if !has_row(message_id) {
            return Some(1);
        }
        let lease = TimeDelta::from_std(terms.timeout).unwrap_or(TimeDelta::minutes(3))
            + TimeDelta::seconds(10);
        let count = || async {
            let mut conn = self.context.store.conn().await?;
            outbox::begin_attempt(&mut conn, message_id, lease).await
        };
        self.patiently(message_id, count).await.unwrap_or(None)
    }

    /// Repeats what the database did not take: it is away, or busy with others.
    async fn patiently<T, F, Fut>(&self, message_id: &str, work: F) -> Result<T, DbError>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<T, DbError>>,
    {
        let waiting = Instant::now();
        loop {
            let error = match work().await {
                Ok(taken) => return Ok(taken),
                Err(error) => error,
            };
            if waiting.elapsed() >= DB_PATIENCE || self.context.stop.is_cancelled() {
                return Err(error);
            }
            tracing::debug!(message.id = message_id, "the database is away, waiting: {error}");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Runs the handler in a task of its own: a panic ends it alone, and a time-out stops the
    /// waiting without cutting the handler off. Shutdown waits for it: it may hold new tokens.
    async fn run(&self, command: Command, terms: Terms) -> Ending {
        let context = self.context.clone();
        let tasks = context.tasks.clone();
        let task = tasks.spawn(async move { handlers::handle(&context, &command).await });
        match tokio::time::timeout(terms.timeout, task).await {
            Ok(Ok(result)) => Ending::Finished(result),
            Ok(Err(_)) => Ending::Panicked,
            Err(_) => Ending::TimedOut,
        }
    }

    /// Writes the ending down, and names it.
    async fn end(&self, command: &Command, id: &str, attempt: i32, ending: Ending) -> &'static str {
        let kind = command.kind();
        let mut not_before = Duration::ZERO;
        let (word, error) = match ending {
            Ending::Finished(Ok(Outcome::Done)) => ("done", None),
            Ending::Finished(Ok(Outcome::Stale(why))) => {
                tracing::debug!(command = %kind, message.id = id, "stale: {why}");
                ("stale", None)
            }
            Ending::Finished(Ok(Outcome::Snooze(delay))) => {
                let delay = TimeDelta::from_std(delay).unwrap_or(TimeDelta::minutes(1));
                self.note(id, &Note::Later(Later { after: delay, error: None, forgive: true }))
                    .await;
                return "snoozed";
            }
            Ending::Finished(Err(failure))
                if failure.is_of_the_values() && attempt >= MAX_REFUSALS =>
            {
                ("dead", Some(format!("{:#}", anyhow::Error::from(failure))))
            }
            Ending::Finished(Err(Failure::Later(error))) => ("later", Some(format!("{error:#}"))),
            Ending::Finished(Err(Failure::NotBefore(wait, error))) => {
                not_before = wait;
                ("later", Some(format!("{error:#}")))
            }
            Ending::Finished(Err(Failure::Never(error))) => ("dead", Some(format!("{error:#}"))),
            Ending::TimedOut => ("timeout", Some("the handler took too long".to_owned())),
            Ending::Panicked => ("panic", Some("the handler panicked".to_owned())),
        };
        let Some(error) = error else {
            self.note(id, &Note::Done(word)).await;
            return word;
        };
        let error: String = error.chars().take(MAX_ERROR).collect();
        tracing::warn!(command = %kind, message.id = id, attempt, ending = word, error, "a command failed");
        if word == "dead" {
            self.note(id, &Note::Done(word)).await;
            return word;
        }
        let delay = handlers::terms(kind).retry.delay(u32::try_from(attempt).unwrap_or(1));
        let after = TimeDelta::from_std(delay.max(not_before)).unwrap_or(TimeDelta::minutes(1));
        self.note(id, &Note::Later(Later { after, error: Some(&error), forgive: false })).await;
        word
    }

    async fn bury(&self, command: &Command, id: &str, why: &'static str) -> Settle {
        tracing::error!(command = %command.kind(), message.id = id, why, "a command is given up: see the dead letters");
        metrics::counter!("latchkey_commands_total", "command" => command.kind().as_str(), "ending" => "dead").increment(1);
        self.note(id, &Note::Done("dead")).await;
        Settle::Reject
    }

    /// Failing to note an ending loses nothing: the message comes again and finds its row moved on. But it
    /// comes only after the time that an attempt may take.
    async fn note(&self, id: &str, note: &Note<'_>) {
        if !has_row(id) {
            return;
        }
        let write = || async {
            let mut conn = self.context.store.conn().await?;
            match note {
                Note::Done(word) => outbox::done(&mut conn, id, word).await,
                Note::Later(later) => outbox::later(&mut conn, id, later).await,
            }
        };
        let noted = self.patiently(id, write).await;
        if let Err(error) = noted {
            tracing::warn!(
                message.id = id,
                "the ending of a command is not noted, it will come again: {error}"
            );
        }
    }
}

enum Note<'a> {
    Done(&'static str),
    Later(Later<'a>),
}

/// Whether an outbox row stands behind a message. Nudges have none: the rows that they speak of
/// come due again by themselves.
fn has_row(message_id: &str) -> bool {
    message_id.starts_with("msg_")
}

impl Receive for Executor {
    async fn receive(&self, delivery: Received) -> Settle {
        if self.context.stop.is_cancelled() {
            return Settle::Requeue;
        }
        let id = delivery.message_id.as_deref().unwrap_or_default();
        match Command::decode(delivery.kind.as_deref().unwrap_or_default(), &delivery.body) {
            Ok(command) => self.execute(command, id, delivery.redelivered).await,
            Err(error) => {
                metrics::counter!("latchkey_commands_total", "command" => "unknown", "ending" => "undecodable")
                    .increment(1);
                tracing::error!(message.id = id, "a message cannot be decoded: {error}");
                // Written by another version of ours: the dead letter is what is left of it.
                self.note(id, &Note::Done("dead")).await;
                Settle::Reject
            }
        }
    }
}
