//! Sweeps: each looks at the database on a cron schedule and takes no input.
//!
//! Any number of processes may run the same sweep at once.

mod announce_health;
mod dead_letters;
mod delete_workspaces;
mod due_checks;
mod due_deliveries;
mod expire_connects;
mod expire_grants;
mod measure_debt;
mod note_lapses;
mod partitions;
mod plan_refreshes;
mod prune;
mod reauth_notices;
mod relay;
mod replays;
mod take_authorized;

pub use dead_letters::DeadLetterKeeper;

use std::fmt::Debug;
use std::str::FromStr as _;
use std::time::Duration;

use cron::Schedule;

use crate::context::Context;
use crate::outcome::Failure;

/// One sweep.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sweep {
    /// Publishes what was committed and is not done.
    Relay,
    /// Dispatches the grants whose refresh is due.
    PlanRefreshes,
    /// Tells of platforms that fail, and of those that answer again.
    AnnounceHealth,
    /// Notices access tokens that have ended.
    NoteLapses,
    /// Shows what refreshes are owed as metrics.
    MeasureDebt,
    /// Publishes `check_due` for the accounts whose own token is to be looked at.
    DueChecks,
    /// Tells of ends that no refresh moves.
    ReauthNotices,
    /// Takes connects whose code or selection waits although the broker should have brought them.
    TakeAuthorized,
    /// Ends connects that nobody finished.
    ExpireConnects,
    /// Ends grants that nothing can renew.
    ExpireGrants,
    /// Publishes `webhook_due` for the deliveries whose time has come.
    DueDeliveries,
    /// Puts the events of replays into the queues of their endpoints.
    Replays,
    /// Empties and destroys the workspaces that were deleted.
    DeleteWorkspaces,
    /// Makes the partitions of the days ahead.
    Partitions,
    /// Deletes what is older than anybody needs.
    Prune,
}

impl Sweep {
    /// Every sweep with its default schedule (seconds first).
    pub const ALL: [(Self, &'static str); 15] = [
        (Self::Relay, "* * * * * *"),
        (Self::PlanRefreshes, "* * * * * *"),
        (Self::AnnounceHealth, "* * * * * *"),
        (Self::NoteLapses, "*/2 * * * * *"),
        (Self::MeasureDebt, "*/15 * * * * *"),
        (Self::DueChecks, "*/2 * * * * *"),
        (Self::ReauthNotices, "*/5 * * * * *"),
        (Self::TakeAuthorized, "* * * * * *"),
        (Self::ExpireConnects, "*/5 * * * * *"),
        (Self::ExpireGrants, "*/10 * * * * *"),
        (Self::DueDeliveries, "* * * * * *"),
        (Self::Replays, "* * * * * *"),
        (Self::DeleteWorkspaces, "*/2 * * * * *"),
        (Self::Partitions, "0 7 * * * *"),
        (Self::Prune, "0 17 * * * *"),
    ];

    /// The name in settings, logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::PlanRefreshes => "plan_refreshes",
            Self::AnnounceHealth => "announce_health",
            Self::NoteLapses => "note_lapses",
            Self::MeasureDebt => "measure_debt",
            Self::DueChecks => "due_checks",
            Self::ReauthNotices => "reauth_notices",
            Self::TakeAuthorized => "take_authorized",
            Self::ExpireConnects => "expire_connects",
            Self::ExpireGrants => "expire_grants",
            Self::DueDeliveries => "due_deliveries",
            Self::Replays => "replays",
            Self::DeleteWorkspaces => "delete_workspaces",
            Self::Partitions => "partitions",
            Self::Prune => "prune",
        }
    }

    /// Runs the sweep once; answers how many rows it dealt with.
    ///
    /// # Errors
    /// [`Failure`]; the next run tries again.
    pub async fn run(self, context: &Context) -> Result<usize, Failure> {
        match self {
            Self::Relay => relay::run(context).await,
            Self::PlanRefreshes => plan_refreshes::run(context).await,
            Self::AnnounceHealth => announce_health::run(context).await,
            Self::NoteLapses => note_lapses::run(context).await,
            Self::MeasureDebt => measure_debt::run(context).await,
            Self::DueChecks => due_checks::run(context).await,
            Self::ReauthNotices => reauth_notices::run(context).await,
            Self::TakeAuthorized => take_authorized::run(context).await,
            Self::ExpireConnects => expire_connects::run(context).await,
            Self::ExpireGrants => expire_grants::run(context).await,
            Self::DueDeliveries => due_deliveries::run(context).await,
            Self::Replays => replays::run(context).await,
            Self::DeleteWorkspaces => delete_workspaces::run(context).await,
            Self::Partitions => partitions::run(context).await,
            Self::Prune => prune::run(context).await,
        }
    }
}

/// When each sweep runs: the defaults, with what the operator says otherwise.
///
/// # Errors
/// A sentence for the operator.
pub fn schedules(overrides: &[String]) -> Result<Vec<(Sweep, Schedule)>, String> {
    let mut schedules: Vec<(Sweep, String)> =
        Sweep::ALL.iter().map(|(sweep, cron)| (*sweep, (*cron).to_owned())).collect();
    for given in overrides {
        let (name, cron) = given
            .split_once('=')
            .ok_or_else(|| format!("`{given}` is not NAME=CRON, as in `prune=0 0 3 * * *`"))?;
        let entry = schedules.iter_mut().find(|(sweep, _)| sweep.as_str() == name.trim());
        entry.ok_or_else(|| format!("`{name}` names no sweep"))?.1 = cron.trim().to_owned();
    }
    let parse = |(sweep, cron): (Sweep, String)| {
        let schedule = Schedule::from_str(&cron)
            .map_err(|error| bad_schedule(sweep, &cron, &error.to_string()))?;
        Ok((sweep, schedule))
    };
    schedules.into_iter().map(parse).collect()
}

fn bad_schedule(sweep: Sweep, cron: &str, error: &str) -> String {
    // Before its last line it draws where.
    let why = error.lines().last().unwrap_or_default();
    format!("`{cron}` is no schedule for {}: {why}", sweep.as_str())
}

/// Deals with each row by itself: one that fails keeps no other from its turn. Answers how much was done.
///
/// # Errors
/// The first failure, after all the others had their turn; a database that is away at once.
async fn each<'a, R, F, Fut>(rows: &'a [R], deal_with: F) -> Result<usize, Failure>
where
    R: Debug,
    F: Fn(&'a R) -> Fut,
    Fut: Future<Output = Result<usize, Failure>>,
{
    let (mut done, mut first) = (0, None);
    for row in rows {
        match deal_with(row).await {
            Ok(more) => done += more,
            Err(failure) if failure.is_outage() => return Err(failure),
            Err(failure) => {
                tracing::warn!(?row, "a sweep passes over a row that fails: {failure:?}");
                metrics::counter!("latchkey_rows_passed_over_total").increment(1);
                first.get_or_insert(failure);
            }
        }
    }
    first.map_or(Ok(done), Err)
}

/// Runs one sweep on its schedule until shutdown.
pub async fn keep_running(context: Context, sweep: Sweep, schedule: Schedule) {
    let mut failures = 0_u64;
    loop {
        let now = context.clock().now();
        let next = schedule
            .after(&now)
            .next()
            .map_or(Duration::from_secs(60), |next| (next - now).to_std().unwrap_or_default());
        if context.stop.run_until_cancelled(tokio::time::sleep(next)).await.is_none() {
            return;
        }
        let (name, run) = (sweep.as_str(), context.clone());
        // A task of its own, so that a panic costs one run and not the sweep.
        let result = match tokio::spawn(async move { sweep.run(&run).await }).await {
            Ok(Ok(rows)) => {
                if rows > 0 {
                    tracing::debug!(sweep = name, rows, "swept");
                }
                if failures > 0 {
                    tracing::info!(sweep = name, failures, "the sweep works again");
                }
                failures = 0;
                "done"
            }
            // One line for an outage, not one a second.
            Ok(Err(failure)) => {
                let failure = anyhow::Error::new(failure);
                match failures {
                    0 => tracing::warn!(sweep = name, "a sweep fails: {failure:#}"),
                    _ => tracing::debug!(sweep = name, failures, "a sweep fails: {failure:#}"),
                }
                failures += 1;
                "failed"
            }
            Err(_) => "panicked",
        };
        metrics::counter!("latchkey_sweeps_total", "sweep" => name, "result" => result)
            .increment(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_schedules_and_can_be_changed() {
        assert_eq!(schedules(&[]).unwrap().len(), Sweep::ALL.len());
        assert!(schedules(&["prune=0 0 3 * * *".to_owned()]).is_ok());
        assert!(schedules(&["prune=sometimes".to_owned()]).unwrap_err().contains("prune"));
        assert!(schedules(&["dust=* * * * * *".to_owned()]).unwrap_err().contains("no sweep"));
    }
}
