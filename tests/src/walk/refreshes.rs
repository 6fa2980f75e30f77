//! The step that takes time: two refreshes as the account shows them, compared with what the sandbox
//! wrote down.

use anyhow::ensure;
use serde_json::Value;

use super::latchkey::{number, text};
use super::{POLL_INTERVAL, Walk};
use crate::sandbox::LedgerEntry;

const REFRESHES: [&str; 2] = ["first refresh", "second refresh"];

impl Walk {
    pub(super) async fn watch_refreshes(&mut self, account: &str) -> anyhow::Result<()> {
        let mut known = None;
        let mut seen = 0;
        while seen < REFRESHES.len() {
            self.report.begin(REFRESHES[seen]);
            let (now, found) = self.next_generation(account, &mut known).await?;
            let refreshed_at = text(&found, "/lastRefreshedAt")?;
            self.report.done(&format!("generation {} → {now}", now - 1));
            self.report.detail(&format!("refreshed at {refreshed_at}"));
            let next = found["nextRefreshAt"].as_str().unwrap_or("not planned");
            self.report.detail(&format!("next refresh {next}"));
            seen += 1;
        }
        self.compare_with_ledger().await
    }

    /// Waits until the generation is above `known`, which then moves on by one.
    async fn next_generation(
        &mut self,
        account: &str,
        known: &mut Option<u64>,
    ) -> anyhow::Result<(u64, Value)> {
        let mut ticks = tokio::time::interval(POLL_INTERVAL);
        loop {
            ticks.tick().await;
            let found = self.read_account(account).await?;
            let status = text(&found, "/status")?;
            ensure!(status == "connected", "the account is {status}");
            let generation = number(&found, "/tokenGeneration")?;
            let before = *known.get_or_insert(generation);
            if generation > before {
                *known = Some(before + 1);
                return Ok((before + 1, found));
            }
            let due = found["nextRefreshAt"].as_str().unwrap_or("soon");
            self.report.waiting(&format!("generation {}, due {due}", before + 1));
        }
    }

    async fn compare_with_ledger(&mut self) -> anyhow::Result<()> {
        let path = format!("/control/ledger?user={}&kind=refreshed", self.user);
        let answer = self.latchkey.ask(&self.options.sandbox_url, &path).await?;
        let entries: Vec<LedgerEntry> = serde_json::from_value(answer["entries"].clone())?;
        let generations: Vec<u32> = entries.iter().filter_map(|entry| entry.generation).collect();
        let in_order =
            (1..).zip(&generations).all(|(expected, generation)| expected == *generation);
        ensure!(
            generations.len() >= REFRESHES.len() && in_order,
            "the sandbox's ledger has the refreshes {generations:?}"
        );
        ensure!(
            entries.iter().all(|entry| entry.open_calls == 1),
            "the sandbox saw two refreshes at the same time"
        );
        self.report.detail(&format!(
            "the sandbox's ledger has them as generations {generations:?}, never two at once"
        ));
        Ok(())
    }
}
