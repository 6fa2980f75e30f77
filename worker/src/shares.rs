//! A limit of concurrent uses for each name, such as a producer or a host. A task that wants more waits for a use
//! under the same name to end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The shares of all.
#[derive(Clone, Debug)]
pub(crate) struct Shares {
    each: usize,
    /// Of those that have a part in use or wait for one.
    open: Arc<Mutex<HashMap<String, Arc<Semaphore>>>>,
}

/// A part in use, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Share {
    _permit: OwnedSemaphorePermit,
}

impl Shares {
    /// At most `each` uses at once under one name, and at least one.
    pub(crate) fn new(each: usize) -> Self {
        Self { each: each.max(1), open: Arc::default() }
    }

    /// Waits until fewer than that are in use under this name.
    pub(crate) async fn take(&self, name: &str) -> Share {
        let own = self.of(name);
        Share { _permit: own.acquire_owned().await.expect("nobody closes it") }
    }

    fn of(&self, name: &str) -> Arc<Semaphore> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, own| Arc::strong_count(own) > 1);
        let new = || Arc::new(Semaphore::new(self.each));
        open.entry(name.to_owned()).or_insert_with(new).clone()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn each_has_its_own_share_and_an_end_makes_room() {
        let shares = Shares::new(2);
        let take = |name: &str| shares.take(name).now_or_never();
        let mut loud: Vec<_> = std::iter::from_fn(|| take("loud")).collect();
        assert_eq!(loud.len(), 2);
        assert!(take("quiet").is_some());
        loud.pop();
        assert!(take("loud").is_some());
    }

    #[test]
    fn a_name_that_nobody_uses_takes_up_no_room() {
        let shares = Shares::new(1);
        for name in 0..100 {
            drop(shares.take(&name.to_string()).now_or_never());
        }
        assert!(shares.open.lock().unwrap().len() <= 1);
    }
}
