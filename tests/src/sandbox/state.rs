//! What all requests share: the settings, and behind one lock the store, the ledger and the faults,
//! so that an effect and its entry are one step.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

use super::answer::Answer;
use super::config::SandboxConfig;
use super::dialect::{Dialect, Problem};
use super::family::FamilyView;
use super::faults::{Endpoint, Faults};
use super::ledger::{Kind, Ledger, LedgerEntry};
use super::store::{Place, Store};
use super::wears::bluesky::Accounts;
use super::wears::{Pages, Recorded};

/// The sandbox as its handlers see it.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: SandboxConfig,
    pub(super) url: String,
    books: Mutex<Books>,
}

/// What changes.
#[derive(Debug)]
pub(super) struct Books {
    pub(super) store: Store,
    pub(super) bluesky: Accounts,
    pub(super) ledger: Ledger,
    pub(super) faults: Faults,
    pub(super) pages: Pages,
    /// Every request to a vendor's path.
    pub(super) requests: Vec<Recorded>,
    /// The secrets of each client.
    pub(super) clients: HashMap<String, Vec<String>>,
    open: HashMap<(Endpoint, String), u32>,
}

impl Shared {
    pub(super) fn new(config: SandboxConfig, url: String) -> anyhow::Result<Self> {
        let books = Books {
            store: Store::default(),
            bluesky: Accounts::new(),
            ledger: Ledger::open(config.ledger_file.as_deref())?,
            faults: Faults::default(),
            pages: Pages::default(),
            requests: Vec::new(),
            clients: HashMap::from([(
                config.client_id.clone(),
                vec![config.client_secret.clone()],
            )]),
            open: HashMap::new(),
        };
        Ok(Self { config, url, books: Mutex::new(books) })
    }

    /// Never held across an await.
    pub(super) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.config.clock.now()
    }

    /// Every text that must never be seen outside: all codes and tokens, the clients' secrets, and the
    /// passwords that people were told.
    pub(super) fn secrets(&self) -> Vec<String> {
        let books = self.books();
        let clients = books.clients.values().flatten().map(String::as_str);
        let issued = books.store.issued().chain(books.bluesky.secrets());
        clients.chain(issued).map(str::to_owned).collect()
    }

    /// The person removes the app at the platform; the answer is the families that ended.
    pub(super) fn remove_person(&self, user: &str) -> Vec<String> {
        let now = self.now();
        let mut books = self.books();
        let mut ended = books.store.remove_person(user);
        ended.extend(books.bluesky.remove_person(user));
        for ended in &ended {
            books.ledger.append(LedgerEntry {
                platform: ended.platform.map(str::to_owned),
                user: Some(user.to_owned()),
                family: Some(ended.family.clone()),
                reason: Some(ended.why),
                ..LedgerEntry::new(Kind::FamilyRevoked, now)
            });
        }
        ended.into_iter().map(|ended| ended.family).collect()
    }

    pub(super) fn knows(&self, client: &str, secret: &str) -> bool {
        self.books().knows(client, secret)
    }

    /// Refuses a client that failed to authenticate: its request touched nothing else.
    pub(super) fn refuse_client(&self, dialect: &Dialect, why: &str) -> Answer {
        let answer = (dialect.refuse)(Problem::Client, why);
        let platform = dialect.platform.map(str::to_owned);
        let outcome = answer.outcome();
        let entry = LedgerEntry::new(Kind::ClientRefused, self.now());
        self.books().ledger.append(LedgerEntry { platform, outcome, ..entry });
        answer
    }
}

impl Books {
    /// Where a code or token belongs, good or not.
    pub(super) fn place(&self, text: &str) -> Option<Place> {
        self.store.place(text).or_else(|| self.bluesky.place(text))
    }

    /// Every family, or one person's.
    pub(super) fn families(&self, user: Option<&str>, now: DateTime<Utc>) -> Vec<FamilyView> {
        let mut families = self.store.families(user, now);
        families.extend(self.bluesky.families(user, now));
        families
    }

    pub(super) fn knows(&self, client: &str, secret: &str) -> bool {
        let secrets = self.clients.get(client);
        secrets.is_some_and(|secrets| secrets.iter().any(|own| own == secret))
    }
}

/// A call of a family to an endpoint that has not been answered yet.
pub(super) struct OpenCall {
    shared: Arc<Shared>,
    key: (Endpoint, String),
    /// How many there are, this one included.
    pub(super) count: u32,
}

impl OpenCall {
    pub(super) fn begin(shared: &Arc<Shared>, endpoint: Endpoint, family: &str) -> Self {
        let key = (endpoint, family.to_owned());
        let mut books = shared.books();
        let open = books.open.entry(key.clone()).or_default();
        *open += 1;
        let count = *open;
        drop(books);
        Self { shared: Arc::clone(shared), key, count }
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        let mut books = self.shared.books();
        if let Some(open) = books.open.get_mut(&self.key) {
            *open -= 1;
            if *open == 0 {
                books.open.remove(&self.key);
            }
        }
    }
}
