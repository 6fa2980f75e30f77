//! Remembers the ids that came already: whatever comes at least once comes twice one day.
//!
//! An application writes the id into a unique column, in the transaction that does what the event
//! asks for. This memory is short, and gone with the process.

use std::collections::{HashSet, VecDeque};

const CAPACITY: usize = 10_000;

/// The ids of the last events.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    ids: HashSet<String>,
    order: VecDeque<String>,
}

impl Seen {
    pub(crate) fn contains(&self, id: &str) -> bool {
        self.ids.contains(id)
    }

    pub(crate) fn add(&mut self, id: &str) {
        if self.ids.insert(id.to_owned()) {
            self.order.push_back(id.to_owned());
        }
        if self.order.len() > CAPACITY
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }
}
