//! Logs and metrics, set up once per process.

use std::io::IsTerminal as _;
use std::sync::OnceLock;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
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
        LogFormat::Text => builder.finish().try_init()?,
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init()?,
    }
    Ok(())
}

/// What is logged by this filter.
///
/// # Errors
/// When it cannot be read.
pub fn filter(filter: &str) -> Result<EnvFilter, ParseError> {
    // The broker client tells its own errors, and the supervisor tells them better.
    EnvFilter::try_new(format!("{filter},lapin=off"))
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
