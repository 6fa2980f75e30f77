//! All attackers at once, for minutes, and a victim beside them. `scripts/faults attackers` runs it and prints one line for each
//! thing that the victim does.

use anyhow::Context as _;
use futures_util::future::{join_all, try_join_all};
use latchkey_tests::app::{Http, Options, eventually, worn};
use latchkey_tests::sandbox::{Endpoint, Fault, FaultRule};
use latchkey_tests::{Person, TestApp};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, interval};

use super::raw_amqp::{RawProducer, RawProperties};
use super::slow_readers::ask_without_reading;
use crate::platforms::request;
use crate::requests::{connect, linked, text};
use crate::strange::{Manner, Strange, says};

const ROUNDS_ALONE: usize = 20;
const STORM: Duration = Duration::from_secs(180);
const EACH: usize = 10;
const DOES: [&str; 4] = ["a POST", "its event at the receiver", "a whole connect", "a refresh"];

/// Somebody of another organisation.
struct Victim {
    http: Http,
    path: String,
    receiver: Strange,
    rounds: usize,
}

impl Victim {
    async fn start(app: &TestApp) -> anyhow::Result<Self> {
        let owner = app.another_tenant().await?;
        let http = app.http.with_key(owner.expose_key());
        let receiver = Strange::start(vec![says(200, "", "")]).await?;
        let body = json!({ "url": receiver.url(), "eventTypes": ["connect.started"] });
        http.post("/v1/webhook-endpoints", &body).await?.expect(201)?;
        let path = format!("/v1/workspaces/{}", owner.workspace_id);
        Ok(Self { http, path, receiver, rounds: 0 })
    }

    /// How long each of [`DOES`] takes.
    async fn round(&mut self, app: &TestApp) -> anyhow::Result<[Duration; 4]> {
        self.rounds += 1;
        let begun = Instant::now();
        let body = json!({ "platform": "SANDBOX" });
        let started = self.http.post(&format!("{}/connects", self.path), &body).await?;
        let started = started.expect(201)?.json();
        let posted = begun.elapsed();
        self.receiver.until_came(self.rounds).await.context(DOES[1])?;
        let told = begun.elapsed();
        let approved = Instant::now();
        app.approve(&started, &Person::new(format!("victim-{}", self.rounds))?).await?;
        let connect = format!("{}/connects/{}", self.path, text(&started["connectId"]));
        let shown =
            self.until(&connect, |shown| shown["status"] == "connected").await.context(DOES[2])?;
        let connected = approved.elapsed();
        let refreshed = Instant::now();
        let account = format!("{}/accounts/{}", self.path, text(&shown["accountIds"][0]));
        self.http.post(&format!("{account}/refresh"), &json!({})).await?.expect(202)?;
        self.until(&account, |shown| shown["tokenGeneration"] == 2).await.context(DOES[3])?;
        Ok([posted, told, connected, refreshed.elapsed()])
    }

    async fn until(&self, path: &str, is_so: fn(&Value) -> bool) -> anyhow::Result<Value> {
        eventually(|| async {
            let shown = self.http.get(path).await?.expect(200)?.json();
            Ok(is_so(&shown).then_some(shown))
        })
        .await
    }
}

/// Attacks every so often, without end. That some are refused is the point.
async fn again_and_again(every: Duration, attack: impl AsyncFn(usize) -> anyhow::Result<()>) {
    let mut turns = interval(every);
    for turn in 0.. {
        turns.tick().await;
        drop(attack(turn).await);
    }
}

/// Requests over RabbitMQ that cannot be parsed, and that cannot be kept as they are.
async fn bad_messages(app: &TestApp) {
    let exchange = app.broker_name("requests");
    again_and_again(Duration::from_secs(1), async |turn| {
        let mut raw = RawProducer::connect(app.amqp_url()).await?;
        raw.publish(&exchange, &RawProperties::message_id(b"\xff\xfe")).await?;
        let producer = app.producer().await?;
        let mut ask = connect(app, &producer);
        (ask.kind, ask.reply_to) = (Some("no\0kind".to_owned()), None);
        ask.message_id = Some(format!("m-{turn}\0"));
        producer.publish(&ask).await
    })
    .await;
}

/// People whose own host never answers.
async fn silent_hosts(app: &TestApp) {
    again_and_again(Duration::from_secs(2), async |turn| {
        let asks = (0..EACH).map(|number| {
            let user = format!("silent-{turn}-{number}");
            let rule = FaultRule::new(Endpoint::TokenCode, Fault::Silence);
            app.sandbox.inject(rule.for_user(&user));
            let body = request(app, "BLUESKY", &user, &json!({}));
            async move { app.http.post(&app.path("/connects"), &body).await }
        });
        try_join_all(asks).await.map(drop)
    })
    .await;
}

/// Endpoints that answer late, at ever new URLs.
async fn late_receivers(app: &TestApp, late: &Strange, endpoints: &[String]) {
    again_and_again(Duration::from_secs(1), async |turn| {
        for (number, path) in endpoints.iter().enumerate() {
            let url = format!("{}?{number}-{turn}", late.url());
            app.http.patch(path, &json!({ "url": url })).await?;
        }
        app.start_connect(json!({})).await.map(drop)
    })
    .await;
}

async fn make_endpoints(app: &TestApp, late: &Strange) -> anyhow::Result<Vec<String>> {
    let making = (0..4 * EACH).map(|number| async move {
        let url = format!("{}?{number}", late.url());
        let body = json!({ "url": url, "eventTypes": ["connect.started"] });
        let made = app.http.post("/v1/webhook-endpoints", &body).await?.expect(201)?.json();
        anyhow::Ok(format!("/v1/webhook-endpoints/{}", text(&made["id"])))
    });
    try_join_all(making).await
}

/// Sockets that ask and do not read, and requests that wait for events.
async fn idle_clients(app: &TestApp) {
    again_and_again(Duration::from_secs(5), async |_| {
        let polls = (0..EACH).map(|_| app.http.get("/v1/events?after=now&wait=4"));
        let sockets = join_all((0..EACH).map(|_| ask_without_reading(app))).await;
        join_all(polls).await;
        drop(sockets);
        Ok(())
    })
    .await;
}

fn print(alone: &[[Duration; 4]], beside: &[[Duration; 4]]) {
    println!("| attack | what a victim does | alone, ms | beside, ms | longest, ms | times |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for (what, does) in DOES.iter().enumerate() {
        let sorted = |rounds: &[[Duration; 4]]| {
            let mut times: Vec<u128> = rounds.iter().map(|round| round[what].as_millis()).collect();
            times.sort_unstable();
            (times[times.len() / 2], times[times.len() - 1])
        };
        let ((usual, _), (median, longest)) = (sorted(alone), sorted(beside));
        println!(
            "| all at once, {} s | {does} | {usual} | {median} | {longest} | {} |",
            STORM.as_secs(),
            beside.len()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes of real time"]
async fn attackers_together_stop_nobody() -> anyhow::Result<()> {
    let platforms = worn(&["BLUESKY"]);
    let app = TestApp::start_with(Options { platforms, ..Options::default() }).await?;
    linked(&app, "admin").await?;
    let mut victim = Victim::start(&app).await?;
    let mut alone = Vec::new();
    for _ in 0..ROUNDS_ALONE {
        alone.push(victim.round(&app).await?);
    }
    let queue = app.broker_name("subscribers.full");
    app.make_full_queue(&queue, Some(&format!("{}.#", app.owner.workspace_id))).await?;
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned();
    let late = Strange::start(vec![Manner::Late(Duration::from_secs(14), answer)]).await?;
    let endpoints = make_endpoints(&app, &late).await?;
    let attack = async {
        tokio::join!(
            bad_messages(&app),
            silent_hosts(&app),
            late_receivers(&app, &late, &endpoints),
            idle_clients(&app),
        )
    };
    let endure = async {
        let (begun, mut beside) = (Instant::now(), Vec::new());
        while begun.elapsed() < STORM {
            beside.push(victim.round(&app).await?);
        }
        anyhow::Ok(beside)
    };
    let beside = tokio::select! {
        endured = endure => endured.inspect_err(|error| eprintln!("{error:?}"))?,
        _ = attack => anyhow::bail!("the attack ended"),
    };
    print(&alone, &beside);
    // What the attackers left behind is not waited for: it takes as long as they had.
    drop(app.finish().await);
    Ok(())
}
