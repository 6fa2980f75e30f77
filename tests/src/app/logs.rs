//! Everything that the process under test logs, so that tests can search it.

use std::io;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Our own code in full, the libraries at the level that operators turn to in trouble.
const FILTER: &str = "debug,latchkey_shared=trace,latchkey_api=trace,latchkey_worker=trace,latchkey_tests=off,lapin=off";

static LOGS: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// What was logged so far.
#[must_use]
pub fn logs() -> String {
    String::from_utf8_lossy(&lock()).into_owned()
}

/// What our own code said last, and every warning: for who wonders why something did not happen.
pub(super) fn last_words() -> String {
    const LINES: usize = 40;
    let logs = logs();
    let ours = |line: &&str| line.contains(" latchkey_") || line.contains(" WARN ");
    let mut lines: Vec<&str> = logs.lines().rev().filter(ours).take(LINES).collect();
    lines.reverse();
    lines.join("\n")
}

/// Starts keeping logs, once for all tests of the process.
pub(super) fn capture() {
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| {
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(FILTER))
            .with_ansi(false)
            .with_writer(Keep)
            .finish();
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
