//! Units of work that are not committed.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use diesel::QueryableByName;
use diesel::sql_query;
use diesel::sql_types::{Integer, Nullable, Text};
use diesel_async::RunQueryDsl;
use latchkey_tests::TestApp;
use latchkey_tests::app::eventually;

#[derive(QueryableByName)]
struct Backend {
    #[diesel(sql_type = Integer)]
    pid: i32,
}

/// Most handlers that find nothing to do end so: it must cost neither locks nor connections.
#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_unit_of_work_leaves_nothing_and_keeps_its_connection() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let store = app.worker_context().store.clone();
    let mut backends = BTreeSet::new();
    for _ in 0..50 {
        let mut work = store.begin().await?;
        sql_query("UPDATE workspaces SET name = 'never'").execute(&mut *work).await?;
        let backend: Backend =
            sql_query("SELECT pg_backend_pid() AS pid").get_result(&mut *work).await?;
        backends.insert(backend.pid);
    }
    assert!(backends.len() <= 2, "the pool has two connections, these were used: {backends:?}");
    assert_eq!(app.row("SELECT name FROM workspaces").await?["name"], "Demo");
    let open = "SELECT count(*) AS n FROM pg_stat_activity \
                WHERE datname = current_database() AND state = 'idle in transaction'";
    eventually(|| async { Ok((app.row(open).await?["n"] == 0).then_some(())) }).await?;
    app.finish().await
}

#[derive(QueryableByName)]
struct SessionClock {
    #[diesel(sql_type = Nullable<Text>)]
    setting: Option<String>,
    #[diesel(sql_type = Integer)]
    ahead_seconds: i32,
}

/// A session of production has no clock of its own; one of a test follows the test's.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_has_the_clock_of_its_pool() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let db = app.db()?;
    let look = async || {
        let clock = sql_query(
            "SELECT current_setting('latchkey.clock_offset', true) AS setting,
                 extract(epoch FROM app_now() - now())::int AS ahead_seconds",
        );
        anyhow::Ok(clock.get_result::<SessionClock>(&mut *db.conn().await?).await?)
    };
    let before = look().await?;
    assert_eq!((before.setting, before.ahead_seconds), (None, 0));
    for hours in [1, 2] {
        app.clock.advance(TimeDelta::hours(1));
        assert_eq!(look().await?.ahead_seconds, hours * 3600);
    }
    app.finish().await
}
