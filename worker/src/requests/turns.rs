//! How many requests are dealt with at once, and how many of one producer: half of them at most, so that a
//! producer whose requests take long leaves room for the others.

use std::sync::Arc;

use latchkey_shared::shares::{Share, Shares};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many times as many requests as turns are received: other producers' requests then stand among those of one.
const RECEIVED: usize = 4;

/// The turns of this process.
#[derive(Debug)]
pub(super) struct Turns {
    all: Arc<Semaphore>,
    producers: Shares,
}

/// The right to deal with one request, for as long as this lives.
#[derive(Debug)]
pub(super) struct Turn {
    _own: Share,
    _turn: OwnedSemaphorePermit,
}

/// How many requests are received at a time for so many turns.
pub(super) fn prefetch(turns: usize) -> u16 {
    u16::try_from(turns * RECEIVED).unwrap_or(u16::MAX)
}

impl Turns {
    pub(super) fn new(turns: usize) -> Self {
        let producers = Shares::new(turns.div_ceil(2));
        Self { all: Arc::new(Semaphore::new(turns.max(1))), producers }
    }

    /// Waits for a turn. Producers without a name share one.
    pub(super) async fn take(&self, producer: &str) -> Turn {
        let own = self.producers.take(producer).await;
        let turn = self.all.clone().acquire_owned().await.expect("nobody closes it");
        Turn { _own: own, _turn: turn }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn one_producer_gets_half_of_the_turns() {
        for turns in [1, 2, 3, 8] {
            let all = Turns::new(turns);
            let take = |who: &str| all.take(who).now_or_never();
            let loud: Vec<_> = std::iter::from_fn(|| take("loud")).collect();
            assert_eq!(loud.len(), turns.div_ceil(2), "of {turns}");
            assert_eq!(take("quiet").is_some(), turns > 1, "of {turns}");
        }
    }
}
