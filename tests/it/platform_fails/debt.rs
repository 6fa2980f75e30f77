//! `GET /v1/refresh-debt`.

use chrono::TimeDelta;
use latchkey_tests::TestApp;
use latchkey_tests::app::Options;
use latchkey_worker::settings::Pool;
use serde_json::json;

use super::{crowd, usual};

#[tokio::test(flavor = "multi_thread")]
async fn the_debt_is_counted_by_app_and_by_whose_it_is() -> anyhow::Result<()> {
    let pools = vec![Pool::Connect, Pool::Webhook];
    let app = TestApp::start_with(Options { pools, ..usual() }).await?;
    crowd(&app, 4).await?;
    let debt = || async {
        Ok::<_, anyhow::Error>(app.http.get("/v1/refresh-debt").await?.expect(200)?.json())
    };
    let quiet = json!({
        "platform": "SANDBOX", "appId": null, "state": { "name": "open" }, "due": 0, "overdue": 0,
        "lapsed": 0, "inDoubt": 0, "oldestDueAt": null, "dueNextHour": 4,
    });
    assert_eq!(debt().await?, json!({ "data": [quiet] }));
    app.clock.advance(TimeDelta::minutes(50));
    app.execute(
        "UPDATE grants SET in_doubt_since = now(), overdue_since = now()
         WHERE id = (SELECT min(id) FROM grants)",
    )
    .await?;
    let until = (app.clock.now() + TimeDelta::minutes(5)).to_rfc3339();
    app.execute(&format!(
        "INSERT INTO app_pauses (platform, app_id, until, reason) VALUES ('SANDBOX', '', '{until}', 'http_429')"
    ))
    .await?;
    let owed = debt().await?["data"][0].clone();
    let counts =
        ["due", "overdue", "lapsed", "inDoubt", "dueNextHour"].map(|key| owed[key].clone());
    assert_eq!(json!(counts), json!([4, 4, 1, 1, 0]), "{owed:#}");
    assert!(owed["oldestDueAt"].is_string());
    assert_eq!(
        (&owed["state"]["name"], &owed["state"]["reason"]),
        (&json!("paused"), &json!("http_429"))
    );
    let since = app.clock.now().to_rfc3339();
    app.execute(&format!(
        "INSERT INTO app_health (platform, app_id, braked_since, probe_at, reason)
         VALUES ('SANDBOX', '', '{since}', '{until}', 'http_503')"
    ))
    .await?;
    let braked = debt().await?["data"][0]["state"].clone();
    assert_eq!((&braked["name"], &braked["reason"]), (&json!("braked"), &json!("http_503")));
    assert!(braked["since"].is_string() && braked["nextProbeAt"].is_string(), "{braked}");
    let stranger = app.another_tenant().await?;
    let theirs = app.http.with_key(stranger.expose_key());
    let theirs = theirs.get("/v1/refresh-debt").await?.expect(200)?.json();
    assert_eq!(theirs, json!({ "data": [] }), "another tenant's debt is not told");
    app.finish().await
}
