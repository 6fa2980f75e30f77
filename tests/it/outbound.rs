//! Addresses that applications choose lead nowhere inside: not over the API, and not where a row holds
//! one already. A canary listens on loopback and must never see a connection.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use latchkey_shared::messages::Command;
use latchkey_shared::net_guard::{NetGuard, Ports};
use latchkey_tests::TestApp;
use latchkey_tests::app::{Options, eventually};
use latchkey_worker::context::Context;
use latchkey_worker::handlers::{self, Receivers};
use latchkey_worker::permits::Permits;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use serde_json::json;

use crate::strange::{Strange, says};

/// Hosts as they can be written, of every network that is not everybody's.
const HOSTS: [&str; 76] = [
    // Loopback, and this host: dotted, short, decimal, hexadecimal, octal, in other digits.
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "127.255.255.254",
    "127.000.000.001",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0x7f.1",
    "0177.0.0.1",
    "0177.1",
    "017700000001",
    "0",
    "0.0.0.0",
    "0x0",
    "①②⑦.⓪.⓪.①",
    "127。0。0。1",
    "%31%32%37.0.0.1",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "a.localhost",
    "%6c%6f%63alhost",
    // IPv6: loopback, nothing, and IPv4 inside it (mapped, compatible, translated, NAT64, 6to4, Teredo).
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b:1::127.0.0.1]",
    "[2002:7f00:1::]",
    "[2002:7f00:1::1]",
    "[2001:0:7f00:1::1]",
    "[2001::80ff:fffe]",
    // Private networks.
    "10.0.0.1",
    "10.255.255.255",
    "167772161",
    "012.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "3232235521",
    "100.64.0.1",
    "100.127.255.255",
    "[fc00::1]",
    "[fd12:3456::1]",
    "[::ffff:10.0.0.1]",
    "[2002:a00:1::]",
    "[64:ff9b::a00:1]",
    // Link-local, and where clouds keep their credentials.
    "169.254.0.1",
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "[::ffff:169.254.169.254]",
    "[fe80::1]",
    "[fec0::1]",
    "[fd00:ec2::254]",
    "[2002:a9fe:a9fe::]",
    // Reserved.
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "[ff02::1]",
    "[2001:db8::1]",
    "[3fff::1]",
    "[5f00::1]",
    "[100::1]",
];

/// Whole URLs: user names, other schemes, and what parsers mend.
fn urls(port: u16) -> Vec<String> {
    let mut urls: Vec<String> =
        HOSTS.iter().map(|host| format!("https://{host}:{port}/hook")).collect();
    for form in [
        "http://127.0.0.1:{}/",
        "http://[::1]:{}/",
        "http://localhost:{}/",
        "https://user@127.0.0.1:{}/",
        "https://user:pw@example.com:{}/",
        "https://example.com@127.0.0.1:{}/",
        "https://example.com:443@127.0.0.1:{}/",
        "https://127.0.0.1:{}#@example.com/",
        "https://127.0.0.1:{}\\@example.com/",
        "https:127.0.0.1:{}/",
        "https:\\\\127.0.0.1:{}\\",
        "https:///127.0.0.1:{}/",
        "ht\ntps://127.0.0.1:{}/",
        " https://127.0.0.1:{}/ ",
        "ftp://127.0.0.1:{}/",
        "gopher://127.0.0.1:{}/_",
        "file:///etc/passwd?{}",
        "javascript:alert({})",
        "//127.0.0.1:{}/",
    ] {
        urls.push(form.replace("{}", &port.to_string()));
    }
    urls
}

/// What names resolve to: each answer is the next, and the last one stays.
pub(crate) struct Says {
    answers: Vec<Vec<IpAddr>>,
    asked: AtomicUsize,
}

impl Says {
    pub(crate) fn new(answers: &[&[&str]]) -> Arc<Self> {
        let parse = |all: &&[&str]| all.iter().map(|ip| ip.parse().expect("an address")).collect();
        Arc::new(Self { answers: answers.iter().map(parse).collect(), asked: AtomicUsize::new(0) })
    }
}

impl Resolve for Says {
    fn resolve(&self, _: Name) -> Resolving {
        let turn = self.asked.fetch_add(1, Ordering::SeqCst).min(self.answers.len() - 1);
        let found: Vec<_> = self.answers[turn].iter().map(|ip| SocketAddr::new(*ip, 0)).collect();
        Box::pin(async move { Ok(Box::new(found.into_iter()) as Addrs) })
    }
}

/// A worker's context whose webhooks go through this guard.
fn guarded(app: &TestApp, guard: NetGuard) -> anyhow::Result<Context> {
    let webhooks = Receivers::new(&guard)?;
    let store = app.worker_context().store.over(app.db()?);
    let permits = Permits::new(8);
    Ok(Context { store, guard, webhooks, permits, ..app.worker_context().clone() })
}

/// Writes a URL into the row of an endpoint, and makes an attempt; answers what came of it.
async fn attempt(
    app: &TestApp,
    context: &Context,
    (endpoint, url): (&str, &str),
) -> anyhow::Result<serde_json::Value> {
    let written = url.replace('\'', "''");
    app.execute(&format!("UPDATE webhook_endpoints SET url = '{written}' WHERE id = '{endpoint}'"))
        .await?;
    let path = format!("/v1/webhook-endpoints/{endpoint}");
    let test = app.http.post(&format!("{path}/test"), &json!({})).await?.expect(202)?.json();
    let ids = json!({ "organisationId": app.owner.organisation_id, "deliveryId": test["id"] });
    let command = Command::decode("webhook_due", ids.to_string().as_bytes())?;
    handlers::handle(context, &command).await?;
    let list = app.http.get(&format!("{path}/deliveries?limit=1")).await?.expect(200)?.json();
    Ok(list["data"][0].clone())
}

async fn endpoint(app: &TestApp) -> anyhow::Result<String> {
    let body = json!({ "url": "https://example.com/hook", "eventTypes": ["account.connected"] });
    let made = app.http.post("/v1/webhook-endpoints", &body).await?.expect(201)?.json();
    Ok(made["id"].as_str().unwrap_or_default().to_owned())
}

/// Nothing is left for whoever takes the messages that nobody took so far.
async fn finish(mut app: TestApp) -> anyhow::Result<()> {
    app.execute(
        "UPDATE webhook_deliveries SET status = 'failed', next_attempt_at = NULL WHERE status = 'pending'",
    )
    .await?;
    let settings = app.worker_settings(Options::default().pools, 8);
    app.add_worker_with(&settings).await?;
    app.finish().await
}

fn closed() -> Options {
    Options { outbound_allow: Vec::new(), pools: Vec::new(), ..Options::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_an_inner_address_reaches_the_canary() -> anyhow::Result<()> {
    let app = TestApp::start_with(closed()).await?;
    let canary = Strange::canary().await?;
    let urls = urls(canary.port());
    for url in &urls {
        let answer = app.http.post("/v1/webhook-endpoints", &json!({ "url": url })).await?;
        assert_eq!(answer.status, 400, "{url}: {}", answer.text);
        assert!(answer.text.contains("/url"), "{url}: {}", answer.text);
    }
    let endpoint = endpoint(&app).await?;
    let context = guarded(&app, NetGuard::new(&[], &Ports::ALL))?;
    for url in &urls {
        let delivery = attempt(&app, &context, (&endpoint, url)).await?;
        assert_eq!(delivery["status"], "pending", "{url}: {delivery}");
        assert!(delivery["attempts"][0]["status"].is_null(), "{url}: {delivery}");
        assert!(!delivery["attempts"][0]["error"].is_null(), "{url}: {delivery}");
    }
    println!(
        "{} URLs, over the API and from a row: {} connections",
        urls.len(),
        canary.connections()
    );
    assert!(urls.len() >= 60, "{}", urls.len());
    assert_eq!(canary.connections(), 0);
    finish(app).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_name_leads_inside_however_often_its_answer_changes() -> anyhow::Result<()> {
    let app = TestApp::start_with(closed()).await?;
    let canary = Strange::canary().await?;
    let endpoint = endpoint(&app).await?;
    let (mut refused, mut errors) = (0, BTreeSet::new());
    for name in ["metadata.google.internal", "printer.local", "intranet", "localtest.example"] {
        let url = format!("https://{name}:{}/", canary.port());
        for answers in [
            &["127.0.0.1"][..],
            &["::1"],
            &["10.0.0.1"],
            &["169.254.169.254"],
            &["::ffff:127.0.0.1"],
            &["64:ff9b::7f00:1"],
            &["1.1.1.1", "127.0.0.1"],
        ] {
            let guard = NetGuard::new(&[], &Ports::ALL).over(Says::new(&[answers]));
            let delivery = attempt(&app, &guarded(&app, guard)?, (&endpoint, &url)).await?;
            let error = delivery["error"].as_str().unwrap_or_default();
            assert!(error.contains("leads to no public address"), "{name} {answers:?}: {delivery}");
            let told = delivery.to_string();
            assert!(
                !answers.iter().any(|inner| told.contains(inner)),
                "{name} {answers:?}: {told}"
            );
            errors.insert(error.to_owned());
            refused += 1;
        }
    }
    // A name that is not there reads like one that is there, inside.
    let guard = NetGuard::new(&[], &Ports::ALL);
    let url = format!("https://nobody.invalid:{}/", canary.port());
    let delivery = attempt(&app, &guarded(&app, guard)?, (&endpoint, &url)).await?;
    errors.insert(delivery["error"].as_str().unwrap_or_default().to_owned());
    assert_eq!(errors.len(), 1, "{errors:?}");
    // Rebinding: an address that may be called first, and the canary's ever after. 127.0.0.2 stands for the
    // public one.
    let honest = format!("127.0.0.2:{}", canary.port());
    let honest = Strange::on(honest.parse()?, vec![says(200, "", "")]).await?;
    let says = Says::new(&[&["127.0.0.2"], &["127.0.0.1"]]);
    let guard = NetGuard::new(&["127.0.0.2/32".parse()?], &Ports::ALL).over(says.clone());
    let context = guarded(&app, guard)?;
    let url = format!("https://rebinding.example:{}/", canary.port());
    attempt(&app, &context, (&endpoint, &url)).await?;
    eventually(|| async { Ok((honest.connections() == 1).then_some(())) }).await?;
    for _ in 0..3 {
        let delivery = attempt(&app, &context, (&endpoint, &url)).await?;
        let error = delivery["error"].as_str().unwrap_or_default();
        assert!(error.contains("leads to no public address"), "{delivery}");
        refused += 1;
    }
    assert!(says.asked.load(Ordering::SeqCst) >= 4, "every connection is resolved and checked");
    println!("{refused} answers of resolvers: {} connections", canary.connections());
    assert_eq!((canary.connections(), honest.connections()), (0, 1));
    finish(app).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_cannot_lead_elsewhere() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let canary = Strange::canary().await?;
    for (nth, status) in [301, 302, 303, 307, 308].into_iter().enumerate() {
        let headers = format!("location: {}\r\n", canary.url());
        let leads = Strange::start(vec![says(status, &headers, "")]).await?;
        let body = json!({ "url": leads.url(), "eventTypes": ["account.connected"] });
        let made = app.http.post("/v1/webhook-endpoints", &body).await?.expect(201)?.json();
        let path = format!("/v1/webhook-endpoints/{}", made["id"].as_str().unwrap_or_default());
        app.http.post(&format!("{path}/test"), &json!({})).await?.expect(202)?;
        let failed = eventually(|| async {
            let list = app.http.get(&format!("{path}/deliveries")).await?.expect(200)?.json();
            let attempt = list["data"][0]["attempts"][0].clone();
            Ok((attempt["status"] == status).then_some(list))
        });
        assert_eq!(failed.await?["data"][0]["status"], "pending", "{nth}: {status} is a failure");
    }
    assert_eq!(canary.connections(), 0);
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_are_those_that_the_operator_allows() -> anyhow::Result<()> {
    let options = Options {
        serve: |config| config.common.outbound_ports = Ports::USUAL.to_vec(),
        ..closed()
    };
    let app = TestApp::start_with(options).await?;
    for (url, status) in [
        ("https://example.com/", 201),
        ("https://example.com:443/", 201),
        ("https://example.com:80/", 201),
        ("https://example.com:22/", 400),
        ("https://example.com:5432/", 400),
        ("https://example.com:8443/", 400),
    ] {
        let answer = app.http.post("/v1/webhook-endpoints", &json!({ "url": url })).await?;
        assert_eq!(answer.status, status, "{url}: {}", answer.text);
        assert!(
            status == 201 || answer.text.contains("LATCHKEY_OUTBOUND_PORTS"),
            "{}",
            answer.text
        );
    }
    finish(app).await
}
