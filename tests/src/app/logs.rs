//! Everything that the process under test logs, so that tests can search it.

use std::io;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use latchkey_shared::telemetry;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;

/// As loud as an operator can have it.
const FILTER: &str =
    "trace,lapin=trace,lapin::channels=trace,tokio_postgres=trace,latchkey_tests=off";

static LOGS: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// What was logged so far.
#[must_use]
pub fn logs() -> String {
    String::from_utf8_lossy(&lock()).into_owned()
}

/// The last warnings, and what our own code said last: for who wonders why something did not happen.
pub(super) fn last_words() -> String {
    const LINES: usize = 40;
    let logs = logs();
    let (warned, said): (Vec<&str>, Vec<&str>) =
        logs.lines().partition(|line| line.contains(" WARN ") || line.contains("ERROR "));
    let said = said.into_iter().filter(|line| line.contains(" latchkey_"));
    let last = |lines: Vec<&str>| lines[lines.len().saturating_sub(LINES)..].join("\n");
    format!("{}\n{}", last(warned), last(said.collect()))
}

/// Starts keeping logs, once for all tests of the process.
pub(super) fn capture() {
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| {
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(FILTER))
            .with_ansi(false)
            .with_writer(Keep)
            .finish()
            .with(telemetry::discretion());
        tracing::subscriber::set_global_default(subscriber)
            .expect("nothing else in a test keeps logs");
    });
}

fn lock() -> MutexGuard<'static, Vec<u8>> {
    LOGS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone, Copy)]
struct Keep;

impl io::Write for Keep {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Keep {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}
