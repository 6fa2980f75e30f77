//! The main job, walked once through the public interfaces only, as a newcomer would: connect URL,
//! consent, webhook, two refreshes, disconnect, revocation.
//!
//! It must never print a code, a state on its way back, or a token.

mod latchkey;
mod refreshes;
mod report;

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use latchkey_shared::random;
use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

use crate::person::Person;
use crate::receiver::{Delivery, Receiver};
use crate::sandbox::FamilyView;
use latchkey::{Latchkey, text};
use report::Report;

/// Long enough for Latchkey to plan with, short enough to watch.
const ACCESS_LIFETIME_SECS: u64 = 3;
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// How long a walk that failed may take to put things away.
const TIDY_TIMEOUT: Duration = Duration::from_secs(5);

/// Where to walk.
#[derive(Clone, Debug)]
pub struct WalkOptions {
    /// Latchkey's API, without a slash at the end.
    pub latchkey_url: String,
    /// A key with role admin.
    pub api_key: String,
    /// The workspace to connect an account in.
    pub workspace: String,
    /// The sandbox, without a slash at the end.
    pub sandbox_url: String,
    /// How long the whole walk may take.
    pub timeout: Duration,
}

/// Walks, and prints each step when it has happened.
///
/// # Errors
/// When anything is not as expected; the message names the step.
pub async fn walk(options: WalkOptions) -> anyhow::Result<()> {
    let timeout = options.timeout;
    let mut walk = Walk::new(options)?;
    let outcome = match tokio::time::timeout(timeout, walk.run()).await {
        Ok(outcome) => outcome.with_context(|| walk.report.failed_at()),
        Err(_) => Err(anyhow::anyhow!("{}", walk.report.timed_out_after(timeout))),
    };
    if outcome.is_err() {
        walk.report.stop();
        walk.tidy().await;
    }
    outcome
}

struct Walk {
    options: WalkOptions,
    latchkey: Latchkey,
    user: String,
    report: Report,
    endpoint: Option<String>,
    account: Option<String>,
}

/// A connect as step 2 leaves it.
struct Connect {
    id: String,
    authorize_url: String,
}

impl Walk {
    fn new(options: WalkOptions) -> anyhow::Result<Self> {
        let latchkey = Latchkey::new(&options.latchkey_url, &options.api_key)?;
        let user = format!("walker-{:08x}", u32::from_le_bytes(random::bytes()));
        Ok(Self { options, latchkey, user, report: Report::new(), endpoint: None, account: None })
    }

    async fn run(&mut self) -> anyhow::Result<()> {
        let options = &self.options;
        self.report.title(&format!(
            "Walking the main job at {} in {} as {}",
            options.latchkey_url, options.workspace, self.user
        ));
        let receiver = self.register_receiver().await?;
        let connect = self.ask_for_connect().await?;
        self.consent(&connect).await?;
        let account = self.await_connected(&receiver, &connect).await?;
        self.watch_refreshes(&account).await?;
        self.disconnect(&account).await?;
        self.await_revocation(&account).await?;
        self.unregister_receiver().await?;
        self.report.finish("connected, refreshed twice, disconnected and revoked");
        Ok(())
    }

    async fn register_receiver(&mut self) -> anyhow::Result<Receiver> {
        self.report.begin("webhook endpoint");
        let receiver = Receiver::start().await?;
        let body = json!({ "url": receiver.url(), "workspaceId": self.options.workspace });
        let endpoint = self.latchkey.expect(201, Method::POST, "/webhook-endpoints", body).await?;
        receiver.set_secret(text(&endpoint, "/secret")?)?;
        let id = text(&endpoint, "/id")?;
        self.endpoint = Some(id.to_owned());
        self.report.done(&format!("201  {id}"));
        self.report.detail(receiver.url());
        Ok(receiver)
    }

    async fn ask_for_connect(&mut self) -> anyhow::Result<Connect> {
        self.report.begin("connect URL");
        let path = format!("/workspaces/{}/connects", self.options.workspace);
        let body = json!({ "platform": "SANDBOX" });
        let connect = self.latchkey.expect(201, Method::POST, &path, body).await?;
        let id = text(&connect, "/connectId")?.to_owned();
        let status = text(&connect, "/status")?;
        let authorize_url = text(&connect, "/authorizeUrl")?.to_owned();
        ensure!(
            authorize_url.starts_with(&self.options.sandbox_url),
            "the connect URL does not lead to the sandbox at {}",
            self.options.sandbox_url
        );
        self.report.done(&format!("201  {id}  {status}"));
        self.report.detail(&format!("until {}", text(&connect, "/expiresAt")?));
        self.report.detail(&authorize_url);
        Ok(Connect { id, authorize_url })
    }

    async fn consent(&mut self, connect: &Connect) -> anyhow::Result<()> {
        self.report.begin("consent");
        self.report.waiting("the sandbox's answer to the person");
        let person = Person::new(&self.user)?.with_access_lifetime_secs(ACCESS_LIFETIME_SECS);
        let callback = person.approve(&connect.authorize_url).await?;
        ensure!(
            callback.query_pairs().any(|(name, _)| name == "code"),
            "the sandbox sent the person back without a code"
        );
        self.report.waiting("the callback");
        let (status, leads_to) = self.latchkey.visit(&callback).await?;
        ensure!(status == 303, "the callback answered {status} instead of 303");
        let leads_to = leads_to.context("the callback's 303 has no Location")?;
        let error = leads_to.query_pairs().find(|(name, _)| name == "error");
        if let Some((_, error)) = error {
            bail!("the callback reports {error}");
        }
        self.report.done(&format!("303  approved, with tokens of {ACCESS_LIFETIME_SECS} s"));
        self.report.detail(&format!("callback  {}", bare(&callback)));
        self.report.detail(&format!("leads to  {}", bare(&leads_to)));
        Ok(())
    }

    async fn await_connected(
        &mut self,
        receiver: &Receiver,
        connect: &Connect,
    ) -> anyhow::Result<String> {
        self.report.begin("account.connected");
        self.report.waiting("the webhook");
        let fits = |delivery: &Delivery| {
            let event = &delivery.event;
            event["type"] == "account.connected"
                && event["data"]["connectId"] == connect.id.as_str()
        };
        let delivery = receiver.wait_for(fits, self.options.timeout).await?;
        ensure!(delivery.verified, "the webhook's signature does not verify");
        let event = &delivery.event;
        ensure!(
            text(event, "/workspaceId")? == self.options.workspace,
            "the event names another workspace"
        );
        let account = text(event, "/data/accountId")?.to_owned();
        self.account = Some(account.clone());
        let username = event["data"]["username"].as_str().unwrap_or("");
        self.report.done(&format!("{}  {account}  {username}", delivery.answered));
        self.report.detail(&format!("event       {}", text(event, "/id")?));
        self.report.detail(&format!("webhook-id  {}, signature verified", delivery.id));
        Ok(account)
    }

    async fn disconnect(&mut self, account: &str) -> anyhow::Result<()> {
        self.report.begin("disconnect");
        let path = self.account_path(account);
        let found = self.latchkey.expect(202, Method::DELETE, &path, Value::Null).await?;
        let status = text(&found, "/status")?;
        ensure!(status == "disconnected", "the account is {status}");
        self.report.done(&format!("202  {status}"));
        Ok(())
    }

    async fn await_revocation(&mut self, account: &str) -> anyhow::Result<()> {
        self.report.begin("revocation");
        let mut ticks = tokio::time::interval(POLL_INTERVAL);
        loop {
            ticks.tick().await;
            let found = self.read_account(account).await?;
            match found["revocation"]["status"].as_str() {
                Some("revoked") => break,
                other => self.report.waiting(&format!(
                    "revocation.status to be revoked; it is {}",
                    other.unwrap_or("absent")
                )),
            }
        }
        self.account = None;
        let path = format!("/control/families?user={}", self.user);
        let answer = self.latchkey.ask(&self.options.sandbox_url, &path).await?;
        let families: Vec<FamilyView> = serde_json::from_value(answer["families"].clone())?;
        let [family] = families.as_slice() else {
            bail!("the sandbox knows {} consents of {}", families.len(), self.user);
        };
        ensure!(!family.alive, "the sandbox still honours the tokens of {}", family.family);
        self.report.done("revoked");
        self.report.detail(&format!("the sandbox agrees: {} is dead", family.family));
        Ok(())
    }

    async fn unregister_receiver(&mut self) -> anyhow::Result<()> {
        self.report.begin("endpoint deleted");
        let Some(endpoint) = self.endpoint.take() else {
            return Ok(());
        };
        let path = format!("/webhook-endpoints/{endpoint}");
        self.latchkey.expect(204, Method::DELETE, &path, Value::Null).await?;
        self.report.done("204");
        Ok(())
    }

    /// After a failure: an account left behind would be refreshed every other second for ever.
    async fn tidy(&self) {
        let tidy = async {
            if let Some(account) = &self.account {
                let path = self.account_path(account);
                let _ = self.latchkey.expect(202, Method::DELETE, &path, Value::Null).await;
            }
            if let Some(endpoint) = &self.endpoint {
                let path = format!("/webhook-endpoints/{endpoint}");
                let _ = self.latchkey.expect(204, Method::DELETE, &path, Value::Null).await;
            }
        };
        let _ = tokio::time::timeout(TIDY_TIMEOUT, tidy).await;
    }

    async fn read_account(&self, account: &str) -> anyhow::Result<Value> {
        let path = self.account_path(account);
        self.latchkey.expect(200, Method::GET, &path, Value::Null).await
    }

    fn account_path(&self, account: &str) -> String {
        format!("/workspaces/{}/accounts/{account}", self.options.workspace)
    }
}

/// A URL fit to be printed: without its query, which may hold a code.
fn bare(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.into()
}
