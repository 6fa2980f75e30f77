//! Units of work that are not committed.

use std::collections::BTreeSet;

use diesel::QueryableByName;
use diesel::sql_query;
use diesel::sql_types::Integer;
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
