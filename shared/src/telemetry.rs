//! Logs and metrics, set up once per process.

use std::io::IsTerminal as _;
use std::sync::OnceLock;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{FilterFn, ParseError};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::LogFormat;

/// Starts logging to standard error.
///
/// # Errors
/// When the filter cannot be read, or logging was started already.
pub fn init_logs(filter: &str, format: LogFormat) -> anyhow::Result<()> {
    let filter = self::filter(filter)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.finish().with(discretion()).try_init()?,
        LogFormat::Json => {
            builder.json().flatten_event(true).finish().with(discretion()).try_init()?;
        }
    }
    Ok(())
}

/// What is logged by this filter.
///
/// # Errors
/// When it cannot be read.
pub fn filter(filter: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::try_new(filter)
}

/// What no setting makes louder: at `debug` and `trace` libraries log what they send and receive, which is other
/// people's credentials.
#[must_use]
pub fn discretion() -> FilterFn<fn(&Metadata<'_>) -> bool> {
    FilterFn::new(is_discreet)
}

fn is_discreet(metadata: &Metadata<'_>) -> bool {
    let (target, level) = (metadata.target(), *metadata.level());
    // What the broker client says of its own errors the supervisor says better.
    target.starts_with("latchkey") || (level <= Level::INFO && !target.starts_with("lapin"))
}

/// The process's metrics; the first call starts collecting.
///
/// # Panics
/// When something else in the process collects metrics already.
pub fn metrics() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        PrometheusBuilder::new()
            .set_buckets(&[0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0])
            .and_then(PrometheusBuilder::install_recorder)
            .expect("nothing else in this process records metrics")
    })
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn no_filter_makes_a_library_talk_about_what_it_sends() {
        let written = Written::default();
        let writer = written.clone();
        let louder = "trace,lapin=trace,lapin::channels=trace,tokio_postgres::query=debug,h2=trace";
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter(louder).unwrap())
            .with_writer(move || writer.clone())
            .finish()
            .with(discretion());
        tracing::subscriber::with_default(subscriber, || {
            tracing::trace!(target: "lapin::channels", "a secret");
            tracing::error!(target: "lapin::channels", "a secret");
            tracing::debug!(target: "tokio_postgres::query", "a secret");
            tracing::trace!(target: "h2::codec", "a secret");
            tracing::info!(target: "h2::codec", "of a library");
            tracing::trace!(target: "latchkey_worker::handlers", "of ours");
        });
        let written = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert!(!written.contains("a secret"), "{written}");
        assert!(written.contains("of a library") && written.contains("of ours"), "{written}");
    }
}
