//! One account of a platform in a workspace: who comes second is refused, whatever races, and what came of
//! their consent is disposed of without harming anybody who is connected.

use std::time::Duration;

use chrono::TimeDelta;
use diesel_async::SimpleAsyncConnection as _;
use futures_util::future::try_join_all;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use latchkey_shared::messages::Command;
use latchkey_tests::app::{Answer, Options, Selecting, candidate, eventually, worn};
use latchkey_tests::sandbox::{Endpoint, Kind, Page};
use latchkey_tests::{Person, SandboxConfig, TestApp};
use latchkey_worker::context::Context;
use latchkey_worker::handlers;
use latchkey_worker::permits::Permits;
use latchkey_worker::settings::Pool;
use serde_json::{Value, json};

/// How many race for one slot.
const CROWD: usize = 200;
/// The same where only what a revocation reaches is another question.
const FEW: usize = 40;
/// How many requests are under way at once where nothing depends on it.
const AT_ONCE: usize = 20;

const TAKEN: &str = "ACCOUNT_ALREADY_CONNECTED";

/// Latchkey with one more platform, and a workspace of either policy.
async fn app_with(platform: &str, exclusive: bool) -> anyhow::Result<TestApp> {
    let platforms = if platform == "SANDBOX" { String::new() } else { worn(&[platform]) };
    let callback_wait = Duration::from_millis(50);
    // Two hundred at once on a machine that does much else: how soon a code ends is another question.
    let sandbox =
        SandboxConfig { code_lifetime: Duration::from_secs(600), ..SandboxConfig::default() };
    let options =
        Options { platforms, callback_wait, worker: false, sandbox, ..Options::default() };
    let mut app = TestApp::start_with(options).await?;
    let mut settings = app.worker_settings(Options::default().pools, 16);
    settings.db_connections = 8;
    app.add_worker_with(&settings).await?;
    if exclusive {
        one_per_platform(&app).await?;
    }
    Ok(app)
}

async fn set_policy(app: &TestApp, workspace: &str, policy: &str) -> anyhow::Result<Answer> {
    let path = format!("/v1/workspaces/{workspace}");
    app.http.patch(&path, &json!({ "accountPolicy": policy })).await
}

async fn one_per_platform(app: &TestApp) -> anyhow::Result<()> {
    let workspace = app.owner.workspace_id.to_string();
    set_policy(app, &workspace, "one_per_platform").await?.expect(200)?;
    Ok(())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn refusal(answer: &Answer) -> (u16, String) {
    (answer.status, answer.code())
}

async fn count(app: &TestApp, rows: &str) -> anyhow::Result<i64> {
    let row = app.row(&format!("SELECT count(*) AS n FROM {rows}")).await?;
    Ok(row["n"].as_i64().unwrap_or(-1))
}

/// Starts a connect in the app's workspace, which is exclusive by its policy.
async fn natively(app: &TestApp, platform: &str) -> anyhow::Result<String> {
    let started = app.start_connect(json!({ "platform": platform })).await?;
    Ok(text(&started["authorizeUrl"]))
}

/// The same through Postbreeze, which promises one account whatever the policy says.
async fn by_postbreeze(app: &TestApp, platform: &str) -> anyhow::Result<String> {
    let path = "/compat/postbreeze/api/v1/social-accounts/connect";
    let asked = json!({ "workspaceId": app.owner.workspace_id, "platform": platform });
    let started = app.http.post(path, &asked).await?.expect(201)?.json();
    Ok(text(&started["authorizeUrl"]))
}

/// Two hundred at once are more than a small pool of connections serves within its time.
async fn until_served(ask: impl AsyncFn() -> anyhow::Result<Answer>) -> anyhow::Result<Answer> {
    loop {
        let answer = ask().await?;
        if answer.status != 503 {
            return Ok(answer);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Many connects of the app's workspace, all of them started before anybody approves; then
/// everybody does at once, and comes back. `start` answers an authorize URL, `who` says who approves which.
async fn race(
    app: &TestApp,
    platform: &str,
    (crowd, start): (usize, impl AsyncFn(&TestApp, &str) -> anyhow::Result<String>),
    who: impl Fn(usize) -> String,
) -> anyhow::Result<()> {
    let starting = (0..crowd).map(|_| start(app, platform));
    let urls: Vec<String> = stream::iter(starting).buffered(AT_ONCE).try_collect().await?;
    let coming_back = urls.iter().enumerate().map(|(number, url)| {
        let user = who(number);
        async move {
            let callback = Person::new(user)?.approve(url).await?;
            until_served(async || app.http.browse(callback.as_str()).await).await?.expect(303)
        }
    });
    try_join_all(coming_back).await?;
    app.until_none("connects WHERE status IN ('pending', 'authorized', 'exchanging')").await
}

/// Webhooks of so many are another subject.
async fn nobody_listens(app: &TestApp) -> anyhow::Result<()> {
    let endpoints = app.http.get("/v1/webhook-endpoints").await?.expect(200)?.json();
    for endpoint in endpoints["data"].as_array().into_iter().flatten() {
        let path = format!("/v1/webhook-endpoints/{}", text(&endpoint["id"]));
        app.http.delete(&path).await?.expect(204)?;
    }
    Ok(())
}

/// One account is in use, and its tokens work; who lost was told why, and nothing is left half-way.
async fn one_is_left(app: &TestApp, crowd: usize) -> anyhow::Result<String> {
    app.until_none("grants WHERE status IN ('pending', 'releasing')").await?;
    assert_eq!(count(app, "accounts WHERE status <> 'disconnected'").await?, 1);
    assert_eq!(count(app, "accounts WHERE exclusive").await?, 1);
    let lost = format!("connects WHERE status = 'failed' AND reason_code <> '{TAKEN}'");
    assert_eq!(count(app, &lost).await?, 0);
    let ended = "connects WHERE status IN ('connected', 'failed')";
    assert_eq!(count(app, ended).await?, i64::try_from(crowd)?);
    assert_eq!(count(app, "grants WHERE status = 'active'").await?, 1);
    app.until_none("outbox WHERE done_at IS NULL").await?;
    Ok(text(&app.row("SELECT id FROM accounts").await?["id"]))
}

async fn refreshes(app: &TestApp, account: &str) -> anyhow::Result<()> {
    let before = app.account(account).await?["tokenGeneration"].as_i64().unwrap_or_default();
    app.http
        .post(&app.path(&format!("/accounts/{account}/refresh")), &json!({}))
        .await?
        .expect(202)?;
    app.account_until(account, |account| account["tokenGeneration"] == before + 1).await?;
    Ok(())
}

fn alive(app: &TestApp) -> usize {
    app.sandbox.families().iter().filter(|family| family.alive).count()
}

/// Of many people one wins; of the others no token is alive.
pub(crate) async fn of_many_people(
    platform: &str,
    exclusive: bool,
    (crowd, start): (usize, impl AsyncFn(&TestApp, &str) -> anyhow::Result<String>),
) -> anyhow::Result<()> {
    let app = app_with(platform, exclusive).await?;
    nobody_listens(&app).await?;
    race(&app, platform, (crowd, start), |number| format!("person-{number}")).await?;
    let account = one_is_left(&app, crowd).await?;
    assert_eq!(count(&app, "connects WHERE status = 'connected'").await?, 1);
    assert_eq!(alive(&app), 1, "other people's tokens are dead");
    refreshes(&app, &account).await?;
    app.finish().await
}

/// The same person comes two hundred times: each time the one account is reconnected, and what it has in
/// the end works.
pub(crate) async fn of_one_person(
    platform: &str,
    exclusive: bool,
    (crowd, start): (usize, impl AsyncFn(&TestApp, &str) -> anyhow::Result<String>),
) -> anyhow::Result<()> {
    let app = app_with(platform, exclusive).await?;
    nobody_listens(&app).await?;
    race(&app, platform, (crowd, start), |_| "sam".to_owned()).await?;
    let account = one_is_left(&app, crowd).await?;
    let connected = count(&app, "connects WHERE status = 'connected'").await?;
    assert_eq!(connected, i64::try_from(crowd)?);
    refreshes(&app, &account).await?;
    app.finish().await
}

macro_rules! races {
    ($($name:ident => $race:ident($($argument:expr),+)),+ $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() -> anyhow::Result<()> {
            $race($($argument),+).await
        }
    )+};
}

// The sandbox ends one token when it is told to, TikTok all that a person gave.
races! {
    two_hundred_people_natively => of_many_people("SANDBOX", true, (CROWD, natively)),
    two_hundred_people_by_postbreeze =>
        of_many_people("TIKTOK_PERSONAL", false, (CROWD, by_postbreeze)),
    many_people_where_a_revocation_reaches_far =>
        of_many_people("TIKTOK_PERSONAL", true, (FEW, natively)),
    one_person_two_hundred_times_natively => of_one_person("SANDBOX", true, (CROWD, natively)),
    one_person_two_hundred_times_by_postbreeze =>
        of_one_person("TIKTOK_PERSONAL", false, (CROWD, by_postbreeze)),
    one_person_where_a_revocation_reaches_far => of_one_person("TIKTOK_PERSONAL", true, (FEW, natively)),
}

/// One person has five pages and chooses many times: who lost was the same person, at a platform
/// where a revocation would end the winner, too.
#[tokio::test(flavor = "multi_thread")]
async fn one_person_with_several_pages_gets_one() -> anyhow::Result<()> {
    let app = app_with("FACEBOOK_PAGE", true).await?;
    let ids = ["7001", "7002", "7003", "7004", "7005"];
    app.sandbox.set_pages("sam", ids.map(page).to_vec());
    nobody_listens(&app).await?;
    race(&app, "FACEBOOK_PAGE", (FEW, natively), |_| "sam".to_owned()).await?;
    let waiting =
        app.row("SELECT json_agg(id) AS ids FROM connects WHERE status = 'selecting'").await?;
    let waiting = waiting["ids"].as_array().cloned().unwrap_or_default();
    assert_eq!(waiting.len(), FEW);
    let two = json!({ "candidateIds": ids[..2] });
    let path = |connect: &Value| app.path(&format!("/connects/{}/selection", text(connect)));
    let refused = app.http.post(&path(&waiting[0]), &two).await?.expect(400)?;
    assert_eq!(refused.json()["errors"][0]["pointer"], "/candidateIds", "{}", refused.text);
    let choosing = waiting.iter().enumerate().map(|(number, connect)| {
        let one = json!({ "candidateIds": [ids[number % ids.len()]] });
        let (app, path) = (&app, path(connect));
        async move { until_served(async || app.http.post(&path, &one).await).await?.expect(202) }
    });
    try_join_all(choosing).await?;
    app.until_none("connects WHERE status = 'selecting'").await?;
    let account = one_is_left(&app, FEW).await?;
    assert!(
        count(&app, "connects WHERE status = 'failed'").await? >= 20,
        "the other pages' connects"
    );
    let told = app.sandbox.ledger().iter().filter(|entry| entry.kind == Kind::Revoked).count();
    assert_eq!((told, alive(&app)), (0, FEW), "nothing was ended at the platform");
    app.clock.advance(TimeDelta::hours(25));
    let looks = || {
        let ledger = app.sandbox.ledger();
        ledger.iter().filter(|entry| entry.endpoint == Some(Endpoint::Inspect)).count()
    };
    let before = looks();
    eventually(|| async { Ok((looks() > before).then_some(())) }).await?;
    assert_eq!(app.account(&account).await?["status"], "connected", "its token is valid");
    app.finish().await
}

fn page(id: &str) -> Page {
    let roles = vec!["CREATE_CONTENT".to_owned()];
    Page { id: id.to_owned(), name: format!("Page {id}"), username: None, roles }
}

/// Twenty times, two people come back while the policy changes: either the policy holds or it does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_changes_meanwhile_never_lies() -> anyhow::Result<()> {
    let app = app_with("SANDBOX", false).await?;
    for round in 0..20 {
        let made =
            app.http.post("/v1/workspaces", &json!({ "name": "Race" })).await?.expect(201)?;
        let workspace = text(&made.json()["id"]);
        let path = format!("/v1/workspaces/{workspace}/connects");
        let mut callbacks = Vec::new();
        for user in ["ann", "bob"] {
            let body = json!({ "platform": "SANDBOX" });
            let started = app.http.post(&path, &body).await?.expect(201)?.json();
            let person = Person::new(format!("{user}-{round}"))?;
            callbacks.push(person.approve(&text(&started["authorizeUrl"])).await?);
        }
        let back = try_join_all(callbacks.iter().map(|url| app.http.browse(url.as_str())));
        let wait = tokio::time::sleep(Duration::from_millis(4 * round));
        let patch = async {
            wait.await;
            set_policy(&app, &workspace, "one_per_platform").await
        };
        let (_, patched) = tokio::try_join!(back, patch)?;
        let open = "status IN ('pending', 'authorized', 'exchanging')";
        app.until_none(&format!("connects WHERE workspace_id = '{workspace}' AND {open}")).await?;
        let used = format!("accounts WHERE workspace_id = '{workspace}' AND status = 'connected'");
        let used = count(&app, &used).await?;
        let shown = app.http.get(&format!("/v1/workspaces/{workspace}")).await?.expect(200)?.json();
        let policy = text(&shown["accountPolicy"]);
        match patched.status {
            200 => assert_eq!((used, policy.as_str()), (1, "one_per_platform"), "round {round}"),
            _ => {
                assert_eq!(refusal(&patched), (409, "ACCOUNT_POLICY_BROKEN".to_owned()));
                assert_eq!((used, policy.as_str()), (2, "many"), "round {round}");
            }
        }
    }
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_refused_while_accounts_break_it() -> anyhow::Result<()> {
    let app = app_with("X", false).await?;
    let workspace = app.owner.workspace_id.to_string();
    assert_eq!(app.http.get(&app.path("")).await?.json()["accountPolicy"], "many");
    let (sam, _) = (app.connect("sam").await?, app.connect("kim").await?);
    let refused = set_policy(&app, &workspace, "one_per_platform").await?;
    assert_eq!(refusal(&refused), (409, "ACCOUNT_POLICY_BROKEN".to_owned()));
    let problem = refused.json();
    assert_eq!(problem["errors"][0]["pointer"], "/accountPolicy");
    assert!(
        problem["detail"].as_str().is_some_and(|text| text.contains("of SANDBOX:")),
        "{problem}"
    );
    for wrong in [json!("one"), json!(1), json!("ONE_PER_PLATFORM")] {
        let answer = app.http.patch(&app.path(""), &json!({ "accountPolicy": wrong })).await?;
        assert_eq!(refusal(&answer), (400, "VALIDATION_FAILED".to_owned()), "{wrong}");
    }
    app.http.delete(&app.path(&format!("/accounts/{}", sam.account_id))).await?.expect(202)?;
    set_policy(&app, &workspace, "one_per_platform").await?.expect(200)?;
    assert_eq!(count(&app, "accounts WHERE exclusive").await?, 1, "the one in use has the slot");
    let answer = app.http.post(&app.path("/connects"), &json!({ "platform": "SANDBOX" })).await?;
    assert_eq!(refusal(&answer), (409, TAKEN.to_owned()));
    // Another platform's slot is free; and what was exclusive may be many again.
    app.start_connect(json!({ "platform": "X" })).await?;
    set_policy(&app, &workspace, "many").await?.expect(200)?;
    app.connect("sam").await?;
    assert_eq!(count(&app, "accounts WHERE status = 'connected'").await?, 2);
    let made = json!({ "name": "One", "accountPolicy": "one_per_platform" });
    let made = app.http.post("/v1/workspaces", &made).await?.expect(201)?.json();
    assert_eq!(made["accountPolicy"], "one_per_platform");
    app.finish().await
}

/// Whoever added the other account did not take the workspace's lock, and it is not committed yet.
#[tokio::test(flavor = "multi_thread")]
async fn the_second_guard_is_the_database_itself() -> anyhow::Result<()> {
    let app = app_with("SANDBOX", true).await?;
    let started = app.start_connect(json!({})).await?;
    let workspace = &app.owner.workspace_id;
    let mut other = app.db()?.conn().await?;
    other
        .batch_execute(&format!(
            "BEGIN; INSERT INTO accounts (id, workspace_id, platform, platform_user_id, status,
                 connected_at, created_at, exclusive)
             VALUES ('acc_01JCZ5M2V8Q4T6W8Y0A2B4C6D8', '{workspace}', 'SANDBOX', 'kim', 'connected',
                 now(), now(), true)"
        ))
        .await?;
    app.approve(&started, &Person::new("sam")?).await?.expect(303)?;
    let waiting = "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database()
                   AND wait_event_type = 'Lock' AND query LIKE 'INSERT INTO \"accounts\"%'";
    eventually(|| async { Ok((app.row(waiting).await?["n"] == 1).then_some(())) }).await?;
    other.batch_execute("COMMIT").await?;
    drop(other);
    let ended = app.ended(&text(&started["connectId"])).await?;
    assert_eq!((&ended["status"], &ended["reasonCode"]), (&json!("failed"), &json!(TAKEN)));
    app.until_none("grants WHERE status IN ('pending', 'releasing')").await?;
    assert_eq!((alive(&app), count(&app, "accounts").await?), (0, 1));
    let failed = "outbox WHERE kind = 'callback_received' AND attempts > 1";
    assert_eq!(count(&app, failed).await?, 0, "a refusal is no failure");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_identity_changes_nothing() -> anyhow::Result<()> {
    let app = app_with("SANDBOX", true).await?;
    let sam = app.connect("sam").await?;
    let before = app.account(&sam.account_id).await?;
    let named = app.start_connect(json!({ "accountId": sam.account_id })).await?;
    app.approve(&named, &Person::new("kim")?).await?.expect(303)?;
    let ended = app.ended(&text(&named["connectId"])).await?;
    assert_eq!(ended["reasonCode"], "IDENTITY_MISMATCH", "{ended:#}");
    app.until_none("grants WHERE status IN ('pending', 'releasing')").await?;
    assert_eq!(app.account(&sam.account_id).await?, before);
    assert_eq!((alive(&app), count(&app, "accounts").await?), (1, 1));

    // The same once it needs its person: the slot is that account's, whoever forgets to name it.
    app.sandbox.revoke_user("sam");
    app.http.post(&app.path(&format!("/accounts/{}/refresh", sam.account_id)), &json!({})).await?;
    app.account_until(&sam.account_id, |account| account["status"] == "token_expired").await?;
    let unnamed = app.start_connect(json!({})).await?;
    let shown = app.path(&format!("/connects/{}", text(&unnamed["connectId"])));
    assert_eq!(app.http.get(&shown).await?.json()["accountId"], sam.account_id.as_str());
    app.approve(&unnamed, &Person::new("kim")?).await?.expect(303)?;
    let ended = app.ended(&text(&unnamed["connectId"])).await?;
    assert_eq!(ended["reasonCode"], "IDENTITY_MISMATCH", "{ended:#}");
    assert_eq!(app.connect("sam").await?.account_id, sam.account_id);
    app.until_none("grants WHERE status IN ('pending', 'releasing')").await?;
    assert_eq!((alive(&app), count(&app, "accounts").await?), (1, 1));
    app.finish().await
}

/// A person who lost the race reads why.
#[tokio::test(flavor = "multi_thread")]
async fn the_result_says_why() -> anyhow::Result<()> {
    let app = app_with("SANDBOX", true).await?;
    let redirect = json!({ "redirectUrl": "https://app.example/" });
    let (page, leading) = (app.start_connect(json!({})).await?, app.start_connect(redirect).await?);
    app.connect("sam").await?;
    let mut cookie = String::new();
    for started in [&page, &leading] {
        let back = app.approve(started, &Person::new("kim")?).await?.expect(303)?;
        app.ended(&text(&started["connectId"])).await?;
        if let Some(set) = back.headers.get("set-cookie").filter(|_| cookie.is_empty()) {
            cookie = set.to_str()?.split(';').next().unwrap_or_default().to_owned();
        }
    }
    let at = Selecting { connect_id: text(&page["connectId"]), cookie };
    let shown = app.look(&at, "").await?.expect(200)?;
    assert!(shown.text.contains("Another account is connected already"), "{}", shown.text);
    app.event("connect.failed", TAKEN).await?;
    app.finish().await
}

/// Candidates chosen before the connect became exclusive are still too many.
#[tokio::test(flavor = "multi_thread")]
async fn an_exclusive_connect_takes_one_candidate() -> anyhow::Result<()> {
    let app = app_with("SANDBOX", true).await?;
    let at = app.selecting(json!({}), &[candidate("1", None), candidate("2", None)]).await?;
    let page = app.look(&at, "").await?.expect(200)?;
    assert_eq!(page.text.matches("type=\"radio\"").count(), 2);
    let path = app.path(&format!("/connects/{}/selection", at.connect_id));
    let both = app.http.post(&path, &json!({ "candidateIds": ["1", "2"] })).await?.expect(400)?;
    assert_eq!(both.json()["errors"][0]["pointer"], "/candidateIds");
    app.http.post(&path, &json!({ "candidateIds": ["2"] })).await?.expect(202)?;
    app.finish().await
}

/// Two were chosen while that was allowed, and then it was not any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_choice_of_two_is_refused_once_the_policy_allows_one() -> anyhow::Result<()> {
    let pools = vec![Pool::Revocation, Pool::Webhook];
    let options = Options { platforms: worn(&["FACEBOOK_PAGE"]), pools, ..Options::default() };
    let options = Options { callback_wait: Duration::from_millis(50), ..options };
    let mut app = TestApp::start_with(options).await?;
    app.sandbox.set_pages("sam", ["7001", "7002"].map(page).to_vec());
    let started = app.start_connect(json!({ "platform": "FACEBOOK_PAGE" })).await?;
    app.approve(&started, &Person::new("sam")?).await?.expect(303)?;
    let id = text(&started["connectId"]);
    let ids = json!({ "workspaceId": app.owner.workspace_id, "connectId": id });
    let command = Command::decode("callback_received", ids.to_string().as_bytes())?;
    // As a worker would that has the pool.
    let context = Context { permits: Permits::new(2), ..app.worker_context().clone() };
    handlers::handle(&context, &command).await?;
    let path = app.path(&format!("/connects/{id}/selection"));
    app.http.post(&path, &json!({ "candidateIds": ["7001", "7002"] })).await?.expect(202)?;
    one_per_platform(&app).await?;
    handlers::handle(&context, &command).await?;
    assert_eq!(app.ended(&id).await?["reasonCode"], TAKEN);
    assert_eq!(count(&app, "accounts").await?, 0);
    app.add_worker_with(&app.worker_settings(Options::default().pools, 4)).await?;
    app.until_none("grants WHERE status IN ('pending', 'releasing')").await?;
    assert_eq!(alive(&app), 0);
    app.finish().await
}
