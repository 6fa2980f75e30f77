//! Settings of the workers.

use std::net::SocketAddr;
use std::time::Duration;

use latchkey_shared::boot::EXIT_CODES;
use latchkey_shared::config::{Check, CommonSettings, Problem, parse_seconds};

use crate::oauth::schedule::LEAST_MARGIN;
use crate::sweeps;

/// A kind of work that can be scaled by itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Pool {
    /// Does what producers ask for over the broker.
    Requests,
    /// Exchanges codes: people are waiting.
    Connect,
    /// Keeps tokens alive.
    Refresh,
    /// Tells platforms of disconnects.
    Revocation,
    /// Delivers events.
    Webhook,
    /// Looks at the database on schedules, and keeps dead letters.
    Sweeps,
}

impl Pool {
    /// The name, also that of the pool's queue.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Connect => "connect",
            Self::Refresh => "refresh",
            Self::Revocation => "revocation",
            Self::Webhook => "webhook",
            Self::Sweeps => "sweeps",
        }
    }
}

/// Latchkey's worker: takes producers' requests, exchanges, refreshes and revokes tokens, delivers webhooks, runs the sweeps.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "latchkey-worker", version, after_help = EXIT_CODES)]
pub struct WorkerSettings {
    /// What every process needs.
    #[command(flatten)]
    pub common: CommonSettings,

    /// What this process does
    #[arg(long, env = "LATCHKEY_POOLS", value_delimiter = ',', default_values = ["requests", "connect", "refresh", "revocation", "webhook", "sweeps"])]
    pub pools: Vec<Pool>,

    /// How many calls each pool has open at once to one platform app; a third more are kept for other apps
    #[arg(long, env = "LATCHKEY_CONCURRENCY", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub concurrency: u16,

    /// How many webhooks may be under way to one endpoint at once, so that those that are slow leave room
    /// for the others
    #[arg(long, env = "LATCHKEY_WEBHOOK_CONCURRENCY", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub webhook_concurrency: u16,

    /// Database connections of each pool: its own, so that no pool starves another. A third of them are kept
    /// for what platforms answered
    #[arg(long, env = "LATCHKEY_DB_CONNECTIONS", default_value_t = 6, value_parser = clap::value_parser!(u32).range(2..=200))]
    pub db_connections: u32,

    /// Where operators reach /healthz, /readyz and /metrics
    #[arg(long, env = "LATCHKEY_METRICS_LISTEN", default_value = "127.0.0.1:9465")]
    pub metrics_listen: SocketAddr,

    /// How many seconds a refresh may take where the platform rotates tokens: giving up early is what
    /// loses them
    #[arg(long, env = "LATCHKEY_CALL_TIMEOUT_ROTATING", default_value = "120", value_name = "SECONDS", value_parser = parse_rotating_timeout)]
    pub call_timeout_rotating: Duration,

    /// How many seconds every other call to a platform may take
    #[arg(long, env = "LATCHKEY_CALL_TIMEOUT", default_value = "30", value_name = "SECONDS", value_parser = parse_call_timeout)]
    pub call_timeout: Duration,

    /// How many seconds started calls may take to end after SIGTERM: at least as many as the longest
    /// call
    #[arg(long, env = "LATCHKEY_DRAIN", default_value = "130", value_name = "SECONDS", value_parser = parse_seconds)]
    pub drain: Duration,

    /// How many seconds before an access token's end a refresh token in doubt is tried again
    #[arg(long, env = "LATCHKEY_IN_DOUBT_LEAD", default_value = "30", value_name = "SECONDS", value_parser = parse_seconds)]
    pub in_doubt_lead: Duration,

    /// How many seconds apart the platform must refuse an account twice, in clear words, before the account
    /// expires: a refusal of everybody, by mistake, passes within them
    #[arg(long, env = "LATCHKEY_REFUSAL_CONFIRM", default_value = "60", value_name = "SECONDS", value_parser = parse_confirm)]
    pub refusal_confirm: Duration,

    /// How many accounts of a platform app must fail in a row, none of them refreshed in between, before only
    /// probes call it and no account expires
    #[arg(long, env = "LATCHKEY_BRAKE_AFTER", default_value_t = 5, value_parser = clap::value_parser!(u16).range(2..=30))]
    pub brake_after: u16,

    /// Whether whoever may publish requests to the broker, and is linked to no API key, may do what owners
    /// may, in every organisation: for a broker with one owner
    #[arg(long, env = "LATCHKEY_TRUST_PRODUCERS", default_value_t = false, action = clap::ArgAction::Set, value_name = "BOOL")]
    pub trust_producers: bool,

    /// Whether every refresh is told as an event, account.refreshed
    #[arg(long, env = "LATCHKEY_REFRESHED_EVENTS", default_value_t = false, action = clap::ArgAction::Set, value_name = "BOOL")]
    pub refreshed_events: bool,

    /// How many days events, and the histories of accounts, are kept
    #[arg(long, env = "LATCHKEY_EVENT_DAYS", default_value_t = 90, value_parser = clap::value_parser!(u16).range(7..=3650))]
    pub event_days: u16,

    /// Another schedule for a sweep, NAME=CRON (seconds first); several are separated by semicolons
    /// [default: none]
    #[arg(long, env = "LATCHKEY_SWEEPS", value_delimiter = ';', value_name = "NAME=CRON")]
    pub sweeps: Vec<String>,
}

impl Check for WorkerSettings {
    fn problems(&self) -> Vec<Problem> {
        let mut problems = self.common.problems();
        problems.extend(self.pool_problem());
        if let Err(why) = sweeps::schedules(&self.sweeps) {
            problems.push(Problem::of("LATCHKEY_SWEEPS", why));
        }
        problems.extend(self.call_problems());
        problems
    }
}

impl WorkerSettings {
    fn pool_problem(&self) -> Option<Problem> {
        let twice = |(at, pool): (usize, &Pool)| self.pools[..at].contains(pool).then_some(*pool);
        let pool = self.pools.iter().enumerate().find_map(twice)?.as_str();
        let what =
            format!("names `{pool}` twice: LATCHKEY_CONCURRENCY and more processes scale it");
        Some(Problem::of("LATCHKEY_POOLS", what))
    }

    /// Waits that cost tokens when they are too short, or too long.
    fn call_problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !self.pools.iter().any(|pool| matches!(pool, Pool::Connect | Pool::Refresh)) {
            return problems;
        }
        let (longest_call, call) = (self.call_timeout_rotating, "LATCHKEY_CALL_TIMEOUT_ROTATING")
            .max((self.call_timeout, "LATCHKEY_CALL_TIMEOUT"));
        let longest = longest_call.as_secs();
        if self.drain < longest_call {
            let what = format!(
                "started calls have {} s, and one may take {longest} s: cut off at shutdown, it loses its token",
                self.drain.as_secs()
            );
            problems.push(Problem::between(&["LATCHKEY_DRAIN", call], what));
        }
        let room = LEAST_MARGIN.saturating_sub(longest_call);
        if self.in_doubt_lead >= room {
            let what = format!(
                "the lead is {} s, and must be less than {}: a refresh begins {} s before the token's end and \
                 may take {longest} s, and only after that it is in doubt",
                self.in_doubt_lead.as_secs(),
                room.as_secs(),
                LEAST_MARGIN.as_secs()
            );
            problems.push(Problem::between(&["LATCHKEY_IN_DOUBT_LEAD", call], what));
        }
        problems
    }
}

fn parse_confirm(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0..=3600).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| "must be 0 to 3600 seconds".to_owned())
}

fn parse_rotating_timeout(text: &str) -> Result<Duration, String> {
    parse_timeout(text, 120)
}

fn parse_call_timeout(text: &str) -> Result<Duration, String> {
    parse_timeout(text, 60)
}

/// The upper bound is what a handler's own time allows.
fn parse_timeout(text: &str, max: u64) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (1..=max).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| format!("must be 1 to {max} seconds"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_s_time_has_bounds() {
        assert_eq!(parse_rotating_timeout("120"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_call_timeout("1"), Ok(Duration::from_secs(1)));
        for text in ["0", "61", "-1", "1.5", "", "soon"] {
            let told = parse_call_timeout(text).unwrap_err();
            assert_eq!(told, "must be 1 to 60 seconds", "{text}");
        }
    }
}
