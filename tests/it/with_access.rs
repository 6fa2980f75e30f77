//! Using an account's token: fresh, or refreshed once for all; or a refusal that says why.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use diesel_async::SimpleAsyncConnection as _;
use futures_util::future::try_join_all;
use latchkey_shared::ids::{AccountId, AccountKey, WorkspaceId};
use latchkey_shared::messages::{Command, GrantRef, RefreshDue};
use latchkey_shared::tokens::{AccessError, NoAccess, UseError, with_access};
use latchkey_shared::work::Store;
use latchkey_tests::app::{Connected, Options, eventually, worn};
use latchkey_tests::sandbox::{Endpoint, Kind, Page};
use latchkey_tests::{Person, TestApp};
use latchkey_worker::settings::Pool;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

const MINUTE: Duration = Duration::from_secs(60);
/// More than a token of an hour has left after half of it.
const LONG: Duration = Duration::from_secs(50 * 60);

const COMMANDS: &str = "SELECT count(*) AS n FROM outbox WHERE kind = 'refresh_due'";

/// A publisher's side: a store, an account, and the platform's address.
#[derive(Clone)]
struct Publisher {
    store: Store,
    workspace: WorkspaceId,
    account: AccountId,
    userinfo: String,
}

impl Publisher {
    fn of(app: &TestApp, account: &str) -> anyhow::Result<Self> {
        Ok(Self {
            store: app.worker_context().store.clone(),
            workspace: app.owner.workspace_id.clone(),
            account: account.parse()?,
            userinfo: format!("{}/userinfo", app.sandbox.url()),
        })
    }

    /// Who the platform says it is.
    async fn who(&self, min_validity: Duration) -> Result<String, AccessError<anyhow::Error>> {
        let act = |token: SecretString| async move { self.ask(&token).await };
        with_access(
            &self.store,
            AccountKey { workspace_id: &self.workspace, id: &self.account },
            min_validity,
            act,
        )
        .await
    }

    async fn ask(&self, token: &SecretString) -> Result<String, UseError<anyhow::Error>> {
        let http = reqwest::Client::builder().no_proxy().build().map_err(anyhow::Error::from)?;
        let asked = http.get(&self.userinfo).bearer_auth(token.expose_secret()).send().await;
        let answer = asked.map_err(anyhow::Error::from)?;
        if answer.status() == 401 {
            return Err(UseError::Unauthorized);
        }
        let said: Value = answer.json().await.map_err(anyhow::Error::from)?;
        Ok(said["preferred_username"].as_str().unwrap_or_default().to_owned())
    }

    async fn refusal(&self, min_validity: Duration) -> NoAccess {
        match self.who(min_validity).await {
            Err(AccessError::No(why)) => why,
            other => panic!("{other:?}"),
        }
    }
}

fn count(app: &TestApp, kind: Kind) -> usize {
    app.sandbox.ledger().iter().filter(|entry| entry.kind == kind).count()
}

async fn sam() -> anyhow::Result<(TestApp, Connected, Publisher)> {
    let app = TestApp::start().await?;
    let sam = app.connect("sam").await?;
    let publisher = Publisher::of(&app, &sam.account_id)?;
    Ok((app, sam, publisher))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_token_is_used_and_a_stale_one_refreshed_first() -> anyhow::Result<()> {
    let (app, sam, publisher) = sam().await?;
    assert_eq!(publisher.who(LONG).await?, "sam");
    assert_eq!(count(&app, Kind::Refreshed), 0);
    app.clock.advance(TimeDelta::minutes(20));
    assert_eq!(publisher.who(MINUTE).await?, "sam");
    assert_eq!(count(&app, Kind::Refreshed), 0, "a minute is left");
    assert_eq!(publisher.who(LONG).await?, "sam");
    assert_eq!(count(&app, Kind::Refreshed), 1);
    assert_eq!(app.account(&sam.account_id).await?["tokenGeneration"], 2);
    // Longer than any token of this platform lives: what is new is used, and not for ever refreshed.
    assert_eq!(publisher.who(Duration::from_secs(86_400)).await?, "sam");
    assert_eq!(count(&app, Kind::Refreshed), 2);
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_who_wait_share_one_refresh() -> anyhow::Result<()> {
    let (app, _, publisher) = sam().await?;
    app.clock.advance(TimeDelta::minutes(20));
    let waiting = (0..20).map(|_| {
        let publisher = publisher.clone();
        tokio::spawn(async move { publisher.who(LONG).await })
    });
    for who in try_join_all(waiting).await? {
        assert_eq!(who?, "sam");
    }
    assert_eq!(count(&app, Kind::Refreshed), 1);
    assert_eq!(app.row(COMMANDS).await?["n"], 1, "one command");
    app.finish().await
}

/// Who began first and was served second: the refresh that came due meanwhile lies after its own beginning.
#[tokio::test(flavor = "multi_thread")]
async fn one_who_was_overtaken_asks_for_no_second_refresh() -> anyhow::Result<()> {
    let (app, _, publisher) = sam().await?;
    app.clock.advance(TimeDelta::minutes(20));
    let mut other = publisher.store.begin().await?;
    other.batch_execute("SELECT FROM grants FOR UPDATE").await?;
    let overtaken = {
        let publisher = publisher.clone();
        tokio::spawn(async move { publisher.who(LONG).await })
    };
    let waiting = "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database()
                   AND wait_event_type = 'Lock' AND query LIKE 'SELECT \"grants\"%FOR UPDATE%'";
    eventually(|| async { Ok((app.row(waiting).await?["n"] == 1).then_some(())) }).await?;
    let due = "UPDATE grants SET refresh_at = clock_timestamp() + interval '20 min',
                   next_attempt_at = clock_timestamp() + interval '21 min'";
    other.batch_execute(due).await?;
    let grant = app.row("SELECT id FROM grants").await?["id"].clone();
    let grants = vec![GrantRef {
        workspace_id: publisher.workspace.clone(),
        grant_id: grant.as_str().unwrap_or_default().parse()?,
    }];
    other.send(&Command::RefreshDue(RefreshDue { platform: "SANDBOX".to_owned(), grants })).await?;
    other.commit().await?;
    assert_eq!(overtaken.await??, "sam");
    assert_eq!(app.row(COMMANDS).await?["n"], 1, "one command");
    app.finish().await
}

/// The token looks good to us, and the platform says that it is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_is_refreshed_once_for_all() -> anyhow::Result<()> {
    let (app, _, publisher) = sam().await?;
    let at = AccountKey { workspace_id: &publisher.workspace, id: &publisher.account };
    let remember = async |token: SecretString| Ok::<_, UseError<anyhow::Error>>(token);
    let old = with_access(&publisher.store, at, MINUTE, remember).await?;
    let old = old.expose_secret();
    let publisher = &publisher;
    let using = (0..20).map(|_| async move {
        let act = |token: SecretString| async move {
            if token.expose_secret() == old {
                return Err(UseError::Unauthorized);
            }
            publisher.ask(&token).await
        };
        with_access(&publisher.store, at, MINUTE, act).await
    });
    for who in try_join_all(using).await? {
        assert_eq!(who, "sam");
    }
    assert_eq!(count(&app, Kind::Refreshed), 1);

    let calls = AtomicUsize::new(0);
    let never = async |_: SecretString| {
        calls.fetch_add(1, Ordering::SeqCst);
        Err::<(), _>(UseError::<anyhow::Error>::Unauthorized)
    };
    let refused = with_access(&publisher.store, at, MINUTE, never).await;
    assert!(matches!(refused, Err(AccessError::No(NoAccess::Refused))), "{refused:?}");
    assert_eq!((calls.into_inner(), count(&app, Kind::Refreshed)), (2, 2));
    let failed = async |_: SecretString| Err::<(), _>(UseError::Other("too long"));
    let failed = with_access(&publisher.store, at, MINUTE, failed).await;
    assert!(matches!(failed, Err(AccessError::Failed("too long"))), "{failed:?}");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_says_why() -> anyhow::Result<()> {
    let (app, sam, publisher) = sam().await?;
    let stranger = app.another_tenant().await?;
    let theirs = Publisher { workspace: stranger.workspace_id.clone(), ..publisher.clone() };
    assert!(matches!(theirs.refusal(MINUTE).await, NoAccess::NotFound));
    let unknown = "acc_01JCZ5M2V8Q4T6W8Y0A2B4C6D8".parse()?;
    let unknown = Publisher { account: unknown, ..publisher.clone() };
    assert!(matches!(unknown.refusal(MINUTE).await, NoAccess::NotFound));

    // Left alone: a token that is good enough may be used, another is not refreshed now.
    app.clock.advance(TimeDelta::minutes(20));
    let until = (app.clock.now() + TimeDelta::minutes(5)).to_rfc3339();
    app.execute(&format!(
        "INSERT INTO app_pauses (platform, app_id, until, reason) VALUES ('SANDBOX', '', '{until}', 'x')"
    ))
    .await?;
    assert_eq!(publisher.who(MINUTE).await?, "sam");
    assert!(matches!(publisher.refusal(LONG).await, NoAccess::Paused { .. }));
    app.execute("DELETE FROM app_pauses").await?;

    // The platform refuses the refresh, while somebody waits for it.
    app.sandbox.revoke_user("sam");
    let why = publisher.refusal(LONG).await;
    assert!(
        matches!(&why, NoAccess::TokenExpired { reason } if reason == "refused_by_platform"),
        "{why:?}"
    );
    assert!(matches!(publisher.refusal(MINUTE).await, NoAccess::TokenExpired { .. }));

    app.http.delete(&app.path(&format!("/accounts/{}", sam.account_id))).await?.expect(202)?;
    assert!(matches!(publisher.refusal(MINUTE).await, NoAccess::Disconnected));
    app.http.delete(&app.path("")).await?.expect(204)?;
    assert!(matches!(publisher.refusal(MINUTE).await, NoAccess::NotFound));
    app.finish().await
}

/// Nothing renews LinkedIn's token here.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_nothing_renews_must_last() -> anyhow::Result<()> {
    let mut options = Options { platforms: worn(&["LINKEDIN_PERSON"]), ..Options::default() };
    options.sandbox.linkedin_refresh_tokens = false;
    let app = TestApp::start_with(options).await?;
    let started = app.start_connect(json!({ "platform": "LINKEDIN_PERSON" })).await?;
    app.approve(&started, &Person::new("sam")?).await?.expect(303)?;
    let ended = app.ended(started["connectId"].as_str().unwrap_or_default()).await?;
    let publisher = Publisher::of(&app, ended["accountIds"][0].as_str().unwrap_or_default())?;
    let why = publisher.refusal(Duration::from_secs(400 * 86_400)).await;
    assert!(
        matches!(&why, NoAccess::TokenExpired { reason } if reason == "ends_too_soon"),
        "{why:?}"
    );
    let at = AccountKey { workspace_id: &publisher.workspace, id: &publisher.account };
    let refused = with_access(&publisher.store, at, MINUTE, async |_: SecretString| {
        Err::<(), _>(UseError::<anyhow::Error>::Unauthorized)
    });
    let refused = refused.await;
    assert!(matches!(refused, Err(AccessError::No(NoAccess::Refused))), "{refused:?}");
    app.finish().await
}

/// Nobody refreshes: the caller is not held for longer than it was told.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_worker_it_is_busy_in_time() -> anyhow::Result<()> {
    let pools = vec![Pool::Connect, Pool::Webhook];
    let mut app = TestApp::start_with(Options { pools, ..Options::default() }).await?;
    let sam = app.connect("sam").await?;
    let publisher = Publisher::of(&app, &sam.account_id)?;
    app.clock.advance(TimeDelta::minutes(20));
    let begun = Instant::now();
    assert!(matches!(publisher.refusal(LONG).await, NoAccess::Busy));
    let took = begun.elapsed();
    assert!((10..13).contains(&took.as_secs()), "{took:?}");
    app.add_worker_with(&app.worker_settings(vec![Pool::Refresh], 4)).await?;
    assert_eq!(publisher.who(LONG).await?, "sam");
    app.finish().await
}

/// A page has a token of its own, which is the one to be used; refused, it is looked at.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_s_own_token_is_used() -> anyhow::Result<()> {
    let options = Options { platforms: worn(&["FACEBOOK_PAGE"]), ..Options::default() };
    let app = TestApp::start_with(options).await?;
    let roles = vec!["CREATE_CONTENT".to_owned()];
    let page = Page { id: "7001".to_owned(), name: "Page".to_owned(), username: None, roles };
    app.sandbox.set_pages("sam", vec![page]);
    let started = app.start_connect(json!({ "platform": "FACEBOOK_PAGE" })).await?;
    app.approve(&started, &Person::new("sam")?).await?.expect(303)?;
    let ended = app.ended(started["connectId"].as_str().unwrap_or_default()).await?;
    let account = ended["accountIds"][0].as_str().unwrap_or_default().to_owned();
    let publisher = Publisher::of(&app, &account)?;
    let looks = || {
        let ledger = app.sandbox.ledger();
        ledger.iter().filter(|entry| entry.endpoint == Some(Endpoint::Inspect)).count()
    };
    let looked = "accounts WHERE next_check_at < now() + interval '1 hour'";
    app.until_none(looked).await?;
    let before = looks();
    app.sandbox.end_page("7001");
    let at = AccountKey { workspace_id: &publisher.workspace, id: &publisher.account };
    let refused = with_access(&publisher.store, at, LONG, async |token: SecretString| {
        assert!(app.sandbox.secrets().contains(&token.expose_secret().to_owned()));
        Err::<(), _>(UseError::<anyhow::Error>::Unauthorized)
    });
    let refused = refused.await;
    assert!(matches!(refused, Err(AccessError::No(NoAccess::Refused))), "{refused:?}");
    eventually(|| async { Ok((looks() > before).then_some(())) }).await?;
    app.account_until(&account, |account| account["status"] == "token_expired").await?;
    assert!(matches!(publisher.refusal(MINUTE).await, NoAccess::TokenExpired { .. }));
    app.finish().await
}
