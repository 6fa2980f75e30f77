//! The end of every test: all is done, and nothing is left behind.

use std::cell::Cell;
use std::env::var_os;
use std::process::exit;

use anyhow::ensure;
use latchkey_shared::boot;

use super::{Options, TestApp, broker, eventually, told};

impl TestApp {
    /// Waits until every message is done, stops everything, and asserts that nothing was left.
    ///
    /// # Errors
    /// What was left behind.
    pub async fn finish(mut self) -> anyhow::Result<()> {
        self.finished = true;
        let open = "SELECT count(*) AS n FROM outbox WHERE done_at IS NULL";
        let settled =
            eventually(|| async { Ok((self.row(open).await?["n"] == 0).then_some(())) }).await;
        if settled.is_err() {
            let left =
                self.row("SELECT json_agg(o) AS left FROM outbox o WHERE done_at IS NULL").await?;
            anyhow::bail!("messages are not done: {left:#}");
        }
        let (server, prefix) = (boot::servers(&self.common)?.1, self.common.broker_prefix.clone());
        let look = broker::Look::at(&server, &prefix).await?;
        let waiting = || look.waiting();
        if eventually(|| async { Ok(waiting().await?.is_empty().then_some(())) }).await.is_err() {
            anyhow::bail!("messages wait in queues: {:?}", waiting().await?);
        }
        self.stop_api().await;
        self.stop_workers().await?;
        // What was delivered and not begun is put back by a worker that stops, which is right: then
        // another one does it. It may be stopped as soon: that its queue is empty does not say that it has begun.
        for _ in 0..10 {
            if waiting().await?.is_empty() {
                break;
            }
            let settings = self.worker_settings(Options::default().pools, 8);
            self.add_worker_with(&settings).await?;
            eventually(|| async { Ok(waiting().await?.is_empty().then_some(())) }).await?;
            self.stop_workers().await?;
        }
        let left = waiting().await?;
        ensure!(left.is_empty(), "messages were put back: {left:?}");
        let dead =
            self.row("SELECT count(*) AS n, json_agg(reason) AS reasons FROM dead_letters").await?;
        ensure!(dead["n"] == self.dead_letters_expected, "dead letters: {dead}");
        self.events_are_documented().await?;
        look.delete_all().await?;
        self.database.drop_database().await
    }

    async fn stop_workers(&mut self) -> anyhow::Result<()> {
        for worker in std::mem::take(&mut self.workers) {
            ensure!(worker.stop().await, "a worker did not stop in time");
        }
        Ok(())
    }

    /// Waits until there are none of these rows, for as long as there are ever fewer of them.
    ///
    /// # Errors
    /// When their number stays as it is.
    pub async fn until_none(&self, rows: &str) -> anyhow::Result<()> {
        let query = format!("SELECT count(*) AS n FROM {rows}");
        let mut left = i64::MAX;
        while left > 0 {
            let fewer = eventually(|| async {
                let now = self.row(&query).await?["n"].as_i64().unwrap_or_default();
                Ok((now < left).then_some(now))
            });
            let Ok(now) = fewer.await else {
                let rows = self
                    .row(&format!("SELECT json_agg(r) AS left FROM (SELECT * FROM {rows}) r"))
                    .await?;
                return Err(told(anyhow::anyhow!("their number stays as it is: {rows:#}")));
            };
            left = now;
        }
        Ok(())
    }
}

thread_local! {
    static UNFINISHED: Unfinished = const { Unfinished(Cell::new(false)) };
}

/// Fails a test that ended well and forgot [`TestApp::finish`]. A panic in the app's own drop would do so, too, and hide
/// the error of a test that did not end well: this comes after it was shown, when the test's thread ends.
struct Unfinished(Cell<bool>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if self.0.get() {
            eprintln!(
                "the test ended before TestApp::finish: if no error stands above, it forgot it"
            );
            // Where each test has a process of its own.
            if var_os("NEXTEST").is_some() {
                exit(101);
            }
        }
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        if !self.finished && !std::thread::panicking() {
            UNFINISHED.with(|unfinished| unfinished.0.set(true));
        }
    }
}
