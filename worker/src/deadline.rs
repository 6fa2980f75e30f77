//! A deadline that loses no answer.
//!
//! A process that was stopped for longer than its deadline (SIGSTOP, a machine that was paused) wakes with
//! a timer that has ended and with an answer that nobody has read yet. The deadline must not be believed
//! before the answer was looked for once more.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

/// How long the last look takes: the connection's own task reads the answer meanwhile.
const LAST_LOOK: Duration = Duration::from_secs(2);

/// The end of a call that is waited for in two steps: the head of its answer, then the body.
#[derive(Debug)]
pub(crate) struct Deadline {
    until: Instant,
    look: Duration,
}

impl Deadline {
    /// The limit includes the last look of both steps.
    pub(crate) fn after(limit: Duration) -> Self {
        let look = LAST_LOOK.min(limit / 8);
        Self { until: Instant::now() + limit.saturating_sub(2 * look), look }
    }

    /// Waits for one step; `None` if it did not come in time.
    pub(crate) async fn wait<F: Future>(&self, step: F) -> Option<F::Output> {
        let mut step = pin!(step);
        match timeout_at(self.until, &mut step).await {
            Ok(come) => Some(come),
            Err(_) => timeout(self.look, step).await.ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    /// The whole runtime stands still for longer than the deadline. What brings the answer needs some more
    /// turns than the timer does.
    #[tokio::test]
    async fn a_runtime_that_stood_still_looks_once_more() {
        let (send, answer) = oneshot::channel();
        tokio::spawn(async move {
            std::thread::sleep(Duration::from_millis(400));
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            send.send("answer").unwrap();
        });
        let deadline = Deadline::after(Duration::from_millis(200));
        assert_eq!(deadline.wait(answer).await, Some(Ok("answer")));
    }

    #[tokio::test]
    async fn what_never_comes_is_not_waited_for_longer_than_the_limit() {
        let begun = Instant::now();
        let deadline = Deadline::after(Duration::from_millis(80));
        assert_eq!(deadline.wait(std::future::pending::<()>()).await, None);
        assert_eq!(deadline.wait(std::future::pending::<()>()).await, None);
        assert!(begun.elapsed() >= Duration::from_millis(75), "{:?}", begun.elapsed());
    }
}
