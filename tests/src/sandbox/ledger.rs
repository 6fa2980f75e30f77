//! What really happened at the sandbox, written down before anybody is answered.
//!
//! Tests compare it with what the product believes. It never holds a code or a token, only
//! fingerprints of them.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::family::Ending;
use super::faults::Endpoint;

/// What an entry says happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The person approved; a family began.
    Consent,
    /// The person pressed Cancel.
    Deny,
    /// A code became the first pair of tokens.
    CodeExchanged,
    /// A code was refused, and is worth nothing any more.
    CodeRefused,
    /// A refresh token became a new pair.
    Refreshed,
    /// A spent refresh token was answered with the pair already made for it.
    RefreshReplayed,
    /// A refresh token was refused.
    RefreshRefused,
    /// The client revoked a token (RFC 7009).
    Revoked,
    /// The client revoked something the sandbox does not know.
    RevokeIgnored,
    /// A family ended; the reason is on the entry, and it is written once for each family.
    FamilyRevoked,
    /// The person behind an access token was told.
    Identity,
    /// An access token was refused.
    IdentityRefused,
    /// A short-lived token became one that lasts.
    LongLived,
    /// The pages that a person may act for were told.
    Listed,
    /// It was told how a token stands.
    Inspected,
    /// Somebody read where the endpoints are.
    Metadata,
    /// Somebody asked who goes by a handle, or where an account lives.
    Resolved,
    /// A client failed to prove who it is.
    ClientRefused,
    /// A fault answered in place of the effect: nothing changed.
    Faulted,
}

/// What was answered, before a fault touched it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The HTTP status; none where no response was sent.
    pub status: Option<u16>,
    /// The error code, as the platform has it.
    pub error: Option<String>,
}

/// One line of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// Counts up from 1 without gaps.
    pub seq: u64,
    /// The sandbox clock's instant.
    pub at: DateTime<Utc>,
    /// What happened.
    pub kind: Kind,
    /// The platform that was worn, such as `X`; `LINKEDIN` for its two, and `TIKTOK` at the consent page of
    /// its two. None is the standard.
    pub platform: Option<String>,
    /// The endpoint that was called; none for what the person did.
    pub endpoint: Option<Endpoint>,
    /// Whose consent it concerns.
    pub user: Option<String>,
    /// The consent it concerns.
    pub family: Option<String>,
    /// 0 for the first pair, one more with each refresh or swap.
    pub generation: Option<u32>,
    /// The fingerprint of the code or token that was presented.
    pub presented: Option<String>,
    /// The fingerprints of the tokens that were answered.
    pub issued: Vec<String>,
    /// What was answered.
    pub outcome: Outcome,
    /// Why the family ended.
    pub reason: Option<Ending>,
    /// The fault applied to the call, as `kind:before` or `kind:after`.
    pub fault: Option<String>,
    /// How many calls of this family to this endpoint were open when this one came, itself included.
    /// Of two that overlap, the later always says 2.
    pub open_calls: u32,
}

impl LedgerEntry {
    /// An entry about nobody yet; the ledger numbers it.
    pub(super) fn new(kind: Kind, at: DateTime<Utc>) -> Self {
        Self {
            seq: 0,
            at,
            kind,
            platform: None,
            endpoint: None,
            user: None,
            family: None,
            generation: None,
            presented: None,
            issued: Vec::new(),
            outcome: Outcome::default(),
            reason: None,
            fault: None,
            open_calls: 0,
        }
    }
}

/// The first 16 hexadecimal digits of a text's SHA-256.
#[must_use]
pub fn fingerprint(text: &str) -> String {
    hex::encode(&Sha256::digest(text)[..8])
}

/// The entries in order, in memory and in a file where one was asked for.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: Vec<LedgerEntry>,
    file: Option<File>,
    broken: bool,
}

impl Ledger {
    /// A ledger that also appends to `path`, beginning there if it does not exist.
    pub(super) fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let file = path
            .map(|path| {
                OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(path)
                    .with_context(|| format!("cannot open the ledger {}", path.display()))
            })
            .transpose()?;
        Ok(Self { file, ..Self::default() })
    }

    /// Numbers the entry and writes it down.
    pub(super) fn append(&mut self, mut entry: LedgerEntry) {
        entry.seq = self.entries.len() as u64 + 1;
        if let Some(file) = &mut self.file {
            // One write a line: a reader of the file never sees half an entry.
            let line = serde_json::to_string(&entry).map(|line| line + "\n");
            let written = line.map_err(Into::into).and_then(|line| file.write_all(line.as_bytes()));
            if let Err(error) = written {
                tracing::error!(%error, "cannot write the ledger file");
                self.broken = true;
            }
        }
        self.entries.push(entry);
    }

    /// Whether the file has missed an entry; nothing may be answered from then on.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    pub(super) fn entries(&self) -> &[LedgerEntry] {
        &self.entries
    }
}
