//! What platforms' failures cost, measured in real time: three strict providers with 200 accounts each, whose
//! tokens live for 60 s, 10 min and 2 h, and a healthy one beside them. `scripts/faults` runs these and prints
//! one line for each provider.

use std::time::Duration;

use futures_util::future::try_join_all;
use latchkey_tests::app::{Options, logs};
use latchkey_tests::sandbox::{Endpoint, Fault, FaultRule, Kind, Rotation};
use latchkey_tests::{Person, Sandbox, SandboxConfig, TestApp};
use latchkey_worker::settings::WorkerSettings;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

const ACCOUNTS: usize = 200;
const LIFETIMES: [(&str, u64); 3] = [("STRICT_60S", 60), ("STRICT_10M", 600), ("STRICT_2H", 7200)];
/// How long after a fault everything may take.
const AFTERWARDS: Duration = Duration::from_secs(180);

/// One stretch of a fault.
struct Stretch {
    seconds: u64,
    rules: Vec<FaultRule>,
}

fn stretch(seconds: u64, rule: FaultRule) -> Stretch {
    Stretch { seconds, rules: vec![rule] }
}

fn at_refresh(fault: Fault) -> FaultRule {
    FaultRule::new(Endpoint::TokenRefresh, fault)
}

struct Stage {
    app: TestApp,
    providers: Vec<(&'static str, Sandbox)>,
}

fn sections(providers: &[(&'static str, Sandbox)]) -> String {
    let SandboxConfig { client_id, client_secret, .. } = SandboxConfig::default();
    let section = |(id, sandbox): &(&str, Sandbox)| {
        let url = sandbox.url();
        format!(
            "[platforms.{id}]\nname = \"{id}\"\nclient_id = \"{client_id}\"\n\
             client_secret = {{ value = \"{client_secret}\" }}\nscopes = [\"profile\", \"offline_access\"]\n\
             authorize_url = \"{url}/authorize\"\ntoken_url = \"{url}/token\"\nuserinfo_url = \"{url}/userinfo\"\n"
        )
    };
    providers.iter().map(section).collect()
}

impl Stage {
    async fn new() -> anyhow::Result<Self> {
        let mut providers = Vec::new();
        for (id, seconds) in LIFETIMES {
            let access_lifetime = Duration::from_secs(seconds);
            let config = SandboxConfig {
                access_lifetime,
                rotation: Rotation::Strict,
                ..SandboxConfig::default()
            };
            providers.push((id, Sandbox::start(config).await?));
        }
        let mut app = TestApp::start_with(Options {
            worker: false,
            platforms: sections(&providers),
            access_lifetime: Duration::from_secs(600),
            refusal_confirm: Duration::from_secs(60),
            brake_after: 5,
            // Six hundred people connect within a minute.
            serve: |config| config.rate_limit = 0,
            ..Options::default()
        })
        .await?;
        // As one is usually started.
        let settings = app.worker_settings(Options::default().pools, 32);
        app.add_worker_with(&WorkerSettings { db_connections: 6, ..settings }).await?;
        let stage = Self { app, providers };
        let connected = stage.connect_everybody().await;
        connected.inspect_err(|error| eprintln!("{error:?}"))?;
        Ok(stage)
    }

    async fn connect_everybody(&self) -> anyhow::Result<()> {
        self.connect_all("SANDBOX", 20).await?;
        for (id, _) in self.providers.iter().rev() {
            self.connect_all(id, ACCOUNTS).await?;
        }
        Ok(())
    }

    async fn connect_all(&self, platform: &str, count: usize) -> anyhow::Result<()> {
        let people: Vec<usize> = (0..count).collect();
        for some in people.chunks(10) {
            try_join_all(some.iter().map(|number| self.connect(platform, *number))).await?;
        }
        Ok(())
    }

    async fn connect(&self, platform: &str, number: usize) -> anyhow::Result<()> {
        let started = self.app.start_connect(json!({ "platform": platform })).await?;
        self.app.approve(&started, &Person::new(format!("user-{number}"))?).await?.expect(303)?;
        let id = started["connectId"].as_str().unwrap_or_default();
        anyhow::ensure!(self.app.ended(id).await?["status"] == "connected");
        Ok(())
    }

    /// As if the tokens had been issued at different times: all of them come due while the fault lasts.
    async fn spread(&self, seconds: u64) -> anyhow::Result<()> {
        for (id, margin) in [("STRICT_10M", "5 min"), ("STRICT_2H", "30 min"), ("SANDBOX", "5 min")]
        {
            self.app
                .execute(&format!(
                    "UPDATE grants SET refresh_at = now() + random() * interval '{seconds} s' WHERE platform = '{id}';
                     UPDATE grants SET next_attempt_at = refresh_at, access_expires_at = refresh_at + interval '{margin}'
                     WHERE platform = '{id}'"
                ))
                .await?;
        }
        Ok(())
    }

    async fn number(&self, query: &str) -> anyhow::Result<i64> {
        Ok(self.app.row(query).await?["n"].as_i64().unwrap_or_default())
    }

    /// Seconds until nothing of the platform is owed any more, or lapsed.
    async fn until_fresh(&self, platform: &str, ended: Instant) -> anyhow::Result<String> {
        let owed = format!(
            "SELECT count(*) AS n FROM grants WHERE platform = '{platform}' AND status = 'active'
             AND (access_expires_at <= now() OR refresh_at <= now() - interval '2 s' OR refused_since IS NOT NULL
                  OR in_doubt_since IS NOT NULL)"
        );
        while ended.elapsed() < AFTERWARDS {
            if self.number(&owed).await? == 0 {
                return Ok(format!("{}", ended.elapsed().as_secs()));
            }
            sleep(Duration::from_millis(500)).await;
        }
        Ok(format!("more than {} ({} left)", AFTERWARDS.as_secs(), self.number(&owed).await?))
    }

    fn calls(&self, id: &str) -> usize {
        let (_, sandbox) =
            self.providers.iter().find(|(name, _)| *name == id).expect("it is there");
        let refresh = Some(Endpoint::TokenRefresh);
        let ledger = sandbox.ledger();
        ledger
            .iter()
            .filter(|entry| entry.endpoint == refresh && entry.kind != Kind::FamilyRevoked)
            .count()
    }
}

/// What a worker says at its default level, requests of the API aside.
fn lines() -> usize {
    let said = logs();
    let told = |line: &&str| {
        [" INFO ", " WARN ", " ERROR "].iter().any(|level| line.contains(level))
            && line.contains("latchkey_worker")
    };
    said.lines().filter(told).count()
}

async fn measure(name: &str, stretches: Vec<Stretch>) -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    let total: u64 = stretches.iter().map(|stretch| stretch.seconds).sum();
    stage.spread(total).await?;
    let (before, said) = (LIFETIMES.map(|(id, _)| stage.calls(id)), lines());
    for stretch in &stretches {
        for (_, sandbox) in &stage.providers {
            sandbox.clear_faults();
            stretch.rules.iter().for_each(|rule| sandbox.inject(rule.clone()));
        }
        sleep(Duration::from_secs(stretch.seconds)).await;
    }
    let (during, said) = (LIFETIMES.map(|(id, _)| stage.calls(id)), lines() - said);
    stage.providers.iter().for_each(|(_, sandbox)| sandbox.clear_faults());
    let ended = Instant::now();
    let fresh = try_join_all(LIFETIMES.map(|(id, _)| stage.until_fresh(id, ended))).await?;
    for (number, (id, _)) in LIFETIMES.iter().enumerate() {
        let query = format!(
            "SELECT count(*)::int AS n, coalesce(json_agg(DISTINCT status_reason), '[]') AS why FROM accounts
             WHERE platform = '{id}' AND status <> 'connected'"
        );
        let lost = stage.app.row(&query).await?;
        let lapsed = format!(
            "SELECT count(DISTINCT account_id) AS n FROM events WHERE type = 'account.refresh_overdue'
             AND data->>'platform' = '{id}'"
        );
        println!(
            "| {name} | {id} | {} {} | {} | {} | {} | {said} |",
            lost["n"],
            reasons(&lost["why"]),
            stage.number(&lapsed).await?,
            fresh[number],
            during[number] - before[number],
        );
    }
    let healthy = "SELECT count(*) AS n FROM events WHERE type = 'account.refresh_overdue'
                   AND data->>'platform' = 'SANDBOX'";
    println!(
        "| {name} | healthy neighbour (20) | 0 | {} | - | - | - |",
        stage.number(healthy).await?
    );
    assert_eq!(stage.number(healthy).await?, 0, "the healthy one missed a deadline");
    stage.app.finish().await
}

fn reasons(why: &Value) -> String {
    let why = why.as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>();
    if why.is_empty() { String::new() } else { format!("({})", why.join(", ")) }
}

fn unavailable() -> FaultRule {
    at_refresh(Fault::Status { status: 503 })
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes of real time"]
async fn unavailable_for_three_minutes() -> anyhow::Result<()> {
    measure("503 for 3 min", vec![stretch(180, unavailable())]).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes of real time"]
async fn unavailable_and_then_refusing_everybody() -> anyhow::Result<()> {
    let refusing = at_refresh(Fault::InvalidGrant);
    let stretches = vec![stretch(180, unavailable()), stretch(30, refusing)];
    measure("503 for 3 min, then invalid_grant for 30 s", stretches).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes of real time"]
async fn limited_for_a_minute() -> anyhow::Result<()> {
    let limited = at_refresh(Fault::RateLimited { retry_after_secs: Some(20) });
    measure("429 (Retry-After 20) for 60 s", vec![stretch(60, limited)]).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes of real time"]
async fn slow_answers() -> anyhow::Result<()> {
    let slow = at_refresh(Fault::Delay { ms: 70_000 }).after();
    measure("answers after 70 s, for 3 min", vec![stretch(180, slow)]).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes of real time"]
async fn gateway_answers_after_the_effect() -> anyhow::Result<()> {
    let after = at_refresh(Fault::Status { status: 502 }).after();
    measure("502 after the effect, for 60 s", vec![stretch(60, after)]).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes of real time"]
async fn cut_after_the_effect() -> anyhow::Result<()> {
    measure("cut after the effect, for 60 s", vec![stretch(60, at_refresh(Fault::Drop).after())])
        .await
}
