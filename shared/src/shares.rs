//! A limit of concurrent uses for each name, such as a producer, a host or an address.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The shares of all.
#[derive(Clone, Debug)]
pub struct Shares {
    each: usize,
    /// Of those that have a part in use or wait for one.
    open: Arc<Mutex<HashMap<String, Arc<Semaphore>>>>,
}

/// A part in use, for as long as this lives.
#[derive(Debug)]
pub struct Share {
    _permit: OwnedSemaphorePermit,
}

impl Shares {
    /// At most `each` uses at once under one name, and at least one.
    #[must_use]
    pub fn new(each: usize) -> Self {
        Self { each: each.max(1), open: Arc::default() }
    }

    /// Waits until fewer than that are in use under this name.
    pub async fn take(&self, name: &str) -> Share {
        let own = self.of(name);
        Share { _permit: own.acquire_owned().await.expect("nothing closes it") }
    }

    /// One more use under this name; `None`: there are as many as there may be.
    #[must_use]
    pub fn try_take(&self, name: &str) -> Option<Share> {
        self.of(name).try_acquire_owned().ok().map(|permit| Share { _permit: permit })
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
        let take = |name: &str| shares.try_take(name);
        let mut loud: Vec<_> = std::iter::from_fn(|| take("loud")).collect();
        assert_eq!(loud.len(), 2);
        assert!(take("quiet").is_some());
        assert!(shares.take("loud").now_or_never().is_none(), "it waits");
        loud.pop();
        assert!(shares.take("loud").now_or_never().is_some());
    }

    #[test]
    fn a_name_that_nobody_uses_takes_up_no_room() {
        let shares = Shares::new(1);
        for name in 0..100 {
            drop(shares.try_take(&name.to_string()));
        }
        assert!(shares.open.lock().unwrap().len() <= 1);
    }
}
