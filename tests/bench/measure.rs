//! Medians, and the bare limit of the same kind of work in the same run.

use std::time::Duration;

use diesel_async::SimpleAsyncConnection as _;
use latchkey_tests::TestApp;
use tokio::time::Instant;

/// In milliseconds.
pub(crate) fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times.get(times.len() / 2).map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
}

/// The median of `runs`, after two that do not count.
pub(crate) async fn median_of<F>(runs: usize, run: F) -> anyhow::Result<f64>
where
    F: AsyncFn(usize) -> anyhow::Result<Duration>,
{
    let mut times = Vec::new();
    for number in 0..runs + 2 {
        let took = run(number).await?;
        if number >= 2 {
            times.push(took);
        }
    }
    Ok(median(times))
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
pub(crate) async fn bare_limit(app: &TestApp) -> anyhow::Result<f64> {
    app.execute("CREATE TABLE IF NOT EXISTS bare (at timestamptz)").await?;
    app.execute("GRANT ALL ON bare TO PUBLIC").await?;
    let db = app.db()?;
    let healthz = format!("{}/healthz", app.http.base());
    median_of(50, async |_| {
        timed(async {
            db.conn().await?.batch_execute("INSERT INTO bare VALUES (now())").await?;
            app.http.browse(&healthz).await?.expect(200)
        })
        .await
    })
    .await
}
