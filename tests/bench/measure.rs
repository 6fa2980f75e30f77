//! Medians, and the bare limit of the same kind of work in the same run.

use std::time::Duration;

use diesel_async::SimpleAsyncConnection as _;
use latchkey_tests::TestApp;
use tokio::time::Instant;

/// In milliseconds.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times.get(times.len() / 2).map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
}

/// The median of `runs` for each app, after two that do not count. The apps take turns.
pub(crate) async fn medians_of<F>(apps: &[TestApp], runs: usize, run: F) -> anyhow::Result<Vec<f64>>
where
    F: AsyncFn(&TestApp, usize) -> anyhow::Result<Duration>,
{
    let mut times = vec![Vec::new(); apps.len()];
    for number in 0..runs + 2 {
        for (app, times) in apps.iter().zip(&mut times) {
            let took = run(app, number).await?;
            if number >= 2 {
                times.push(took);
            }
        }
    }
    Ok(times.into_iter().map(median).collect())
}

pub(crate) async fn timed<T>(
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    work.await?;
    Ok(begun.elapsed())
}

/// One row written and committed, and one request over HTTP that does nothing: nothing that answers a request and
/// remembers it can be faster.
pub(crate) async fn bare_limit(app: &TestApp) -> anyhow::Result<Duration> {
    let healthz = format!("{}/healthz", app.http.base());
    timed(async {
        app.worker_context()
            .store
            .conn()
            .await?
            .batch_execute("INSERT INTO bare VALUES (now())")
            .await?;
        app.http.browse(&healthz).await?.expect(200)
    })
    .await
}
