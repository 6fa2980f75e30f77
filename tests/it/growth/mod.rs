//! Cost that does not grow: where there is much of everything, no query of a handler, a sweep, a list or a page reads more than
//! it answers for. Which queries there are, PostgreSQL tells after the run.

mod statements;

use chrono::TimeDelta;
use latchkey_tests::app::{Options, PrivateServers, Server, seed, worn};
use latchkey_tests::{Person, TestApp};
use latchkey_worker::sweeps::Sweep;
use reqwest::Method;
use serde_json::json;

use crate::requests::{connect, linked};
use crate::tenants::{Theirs, call, operations};

const FAR_REACHING: &str = "TIKTOK_PERSONAL";
/// What the dialects list, with the header of their keys.
const DIALECTS: [(&str, &str); 6] = [
    ("/compat/ocoya/api/_public/v1/workspaces", "X-API-Key"),
    ("/compat/ocoya/api/_public/v1/social-profiles", "X-API-Key"),
    ("/compat/postato/social-accounts", "authorization"),
    ("/compat/postbreeze/api/v1/accounts", "authorization"),
    ("/compat/postpeer/v1/connect/integrations", "x-access-key"),
    ("/compat/woopsocial/v1/social-accounts", "authorization"),
];

async fn flows(app: &TestApp) -> anyhow::Result<Theirs> {
    let mut producer = linked(app, "admin").await?;
    assert_eq!(producer.ask(&connect(app, &producer)).await?.kind, "connect.ready");
    let theirs = Theirs::make(app).await?;
    let sam = theirs.fill("{acc}");
    app.clock.advance(TimeDelta::minutes(58));
    app.account_until(&sam, |account| account["tokenGeneration"] == 2).await?;
    // The same person once more, whose grants are looked for.
    app.connect("sam").await?;
    // And more of them, so that the average is that of a usual call: meanwhile the planner moves thousands of grants, and
    // an insert that finds a full page of an index first clears it of what they left.
    for number in 0..12 {
        app.connect(&format!("person-{number}")).await?;
    }
    // Where a revocation ends all that a person consented to, a new consent is compared with the person's other grants.
    for _ in 0..2 {
        let started = app.start_connect(json!({ "platform": FAR_REACHING })).await?;
        app.approve(&started, &Person::new("tam")?).await?.expect(303)?;
        app.ended(started["connectId"].as_str().unwrap_or_default()).await?;
    }
    Ok(theirs)
}

/// Every operation of the published document with the ids of what is there: what removes something comes last.
async fn every_operation(app: &TestApp, theirs: &Theirs) -> anyhow::Result<()> {
    let mut operations = operations(&app.http).await?;
    operations.sort_by_key(|(method, path)| {
        (*method == Method::DELETE, *method != Method::GET, -(path.len() as i64))
    });
    for (method, path) in operations {
        let answer = call(&app.http, &method, &theirs.fill(&path)).await?;
        assert!(answer.status < 500, "{method} {path}: {} {}", answer.status, answer.text);
    }
    Ok(())
}

async fn every_list(app: &TestApp, theirs: &Theirs) -> anyhow::Result<()> {
    for list in [
        "/v1/events?limit=100",
        "/v1/events?limit=100&types=account.connected",
        "/v1/workspaces/{ws}/accounts?limit=100",
        "/v1/workspaces/{ws}/accounts?limit=100&status=connected&platform=SANDBOX",
        "/v1/workspaces/{ws}/connects?limit=100",
        "/v1/workspaces/{ws}/accounts/acc_01000000000000000000000010/history?limit=100",
        "/v1/webhook-endpoints/{whe}/deliveries?limit=100",
        "/v1/webhook-endpoints/{whe}/deliveries?limit=100&status=delivered",
    ] {
        let answer = app.http.get(&theirs.fill(list)).await?.expect(200)?.json();
        if let Some(next) = answer["nextCursor"].as_str() {
            let (list, parameter) =
                (theirs.fill(list), if list.contains("/events?") { "after" } else { "cursor" });
            app.http.get(&format!("{list}&{parameter}={next}")).await?;
        }
    }
    let http = reqwest::Client::builder().no_proxy().build()?;
    for (list, header) in DIALECTS {
        let key = app.owner.expose_key();
        let key = if header == "authorization" { format!("Bearer {key}") } else { key.to_owned() };
        let request = http.get(format!("{}{list}", app.http.base())).header(header, key);
        app.http.send(request).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_query_reads_more_where_there_is_much() -> anyhow::Result<()> {
    let servers = PrivateServers::start().await?;
    let superuser = servers.url(Server::Postgres)?.replace("//latchkey:", "//postgres:");
    statements::watch(&servers, &superuser).await?;
    let mut app = TestApp::start_with(Options {
        servers: Some((servers.url(Server::Postgres)?, servers.url(Server::RabbitMq)?)),
        worker: false,
        platforms: worn(&[FAR_REACHING]),
        ..Options::default()
    })
    .await?;
    let database = app.owner_url().replace("//latchkey:", "//postgres:");
    seed::fill(&app, 100_000).await?;
    statements::forget(&database).await?;
    app.add_worker().await?;
    let theirs = flows(&app).await?;
    every_list(&app, &theirs).await?;
    every_operation(&app, &theirs).await?;
    app.until_none("outbox WHERE done_at IS NULL").await?;
    for (sweep, _) in Sweep::ALL {
        sweep.run(app.worker_context()).await?;
    }
    app.clock.advance(TimeDelta::days(1));
    for (sweep, _) in Sweep::ALL {
        sweep.run(app.worker_context()).await?;
    }
    let statements = statements::read(&database).await?;
    assert!(statements.len() > 100, "{} statements ran", statements.len());
    let greedy: Vec<_> = statements.iter().filter(|one| one.is_greedy()).collect();
    for one in &greedy {
        eprintln!("{one}");
    }
    assert!(greedy.is_empty(), "{} of {} statements read too much", greedy.len(), statements.len());
    // What was seeded is not in the state that a test leaves.
    drop(app.finish().await);
    servers.close().await
}
