//! What most tests do first: connect an account.

use anyhow::Context as _;
use serde_json::{Value, json};

use super::{Answer, Browser, TestApp, eventually};
use crate::Person;

/// An account that was connected.
#[derive(Clone, Debug)]
pub struct Connected {
    /// The account.
    pub account_id: String,
    /// The connect that made it.
    pub connect_id: String,
}

impl TestApp {
    /// A path below the bootstrapped workspace.
    #[must_use]
    pub fn path(&self, rest: &str) -> String {
        format!("/v1/workspaces/{}{rest}", self.owner.workspace_id)
    }

    pub(super) async fn register_receiver(&self) -> anyhow::Result<()> {
        let body = json!({ "url": self.receiver.url() });
        let endpoint = self.http.post("/v1/webhook-endpoints", &body).await?.expect(201)?.json();
        self.receiver
            .set_secret(endpoint["secret"].as_str().context("a new endpoint shows its secret")?)
    }

    /// Starts a connect at the sandbox.
    ///
    /// # Errors
    /// When the API refuses.
    pub async fn start_connect(&self, more: Value) -> anyhow::Result<Value> {
        let mut body = json!({ "platform": "SANDBOX" });
        if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
            body.extend(more);
        }
        Ok(self.http.post(&self.path("/connects"), &body).await?.expect(201)?.json())
    }

    /// Approves a started connect as `person` and lets the browser come back.
    ///
    /// # Errors
    /// When the sandbox or the API does not answer.
    pub async fn approve(&self, connect: &Value, person: &Person) -> anyhow::Result<Answer> {
        let url =
            connect["authorizeUrl"].as_str().context("a started connect has an authorize URL")?;
        let callback = person.approve(url).await?;
        self.http.browse(callback.as_str()).await
    }

    /// Waits until a connect has ended, or waits for somebody to choose, and answers it.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn ended(&self, connect_id: &str) -> anyhow::Result<Value> {
        self.ended_in(&self.owner.workspace_id.to_string(), connect_id).await
    }

    /// The same in any workspace.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn ended_in(&self, workspace: &str, connect_id: &str) -> anyhow::Result<Value> {
        self.connect_that(workspace, connect_id, |status| {
            !["pending", "authorized", "exchanging"].contains(&status)
        })
        .await
    }

    /// Waits until a connect has connected something, and answers it.
    ///
    /// # Errors
    /// When it never does.
    pub async fn connected_in(&self, workspace: &str, connect_id: &str) -> anyhow::Result<Value> {
        self.connect_that(workspace, connect_id, |status| status == "connected").await
    }

    async fn connect_that(
        &self,
        workspace: &str,
        connect_id: &str,
        is_wanted: impl Fn(&str) -> bool,
    ) -> anyhow::Result<Value> {
        let path = format!("/v1/workspaces/{workspace}/connects/{connect_id}");
        eventually(|| async {
            let connect = self.http.get(&path).await?.expect(200)?.json();
            let wanted = is_wanted(connect["status"].as_str().unwrap_or_default());
            Ok(wanted.then_some(connect))
        })
        .await
    }

    /// Connects the account of a person at the sandbox.
    ///
    /// # Errors
    /// When it does not end connected.
    pub async fn connect(&self, user: &str) -> anyhow::Result<Connected> {
        self.connect_as(&Person::new(user)?).await
    }

    /// The same for a person with wishes.
    ///
    /// # Errors
    /// When it does not end connected.
    pub async fn connect_as(&self, person: &Person) -> anyhow::Result<Connected> {
        let started = self.start_connect(json!({})).await?;
        self.approve(&started, person).await?.expect(303)?;
        let connect_id = started["connectId"].as_str().unwrap_or_default().to_owned();
        let ended = self.ended(&connect_id).await?;
        let account_id = ended["accountIds"][0]
            .as_str()
            .with_context(|| format!("no account: {ended:#}"))?
            .to_owned();
        Ok(Connected { account_id, connect_id })
    }

    /// A connect that waits for its claim, and the claim as the redirect brought it to this browser.
    ///
    /// # Errors
    /// When no redirect brings a claim.
    pub async fn claiming(
        &self,
        browser: &Browser,
        person: &Person,
        more: Value,
    ) -> anyhow::Result<(String, String)> {
        let mut body = json!({ "binding": "claim", "redirectUrl": "https://app.example/back" });
        if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
            body.extend(more);
        }
        let started = self.start_connect(body).await?;
        let id = started["connectId"].as_str().context("a started connect has an id")?.to_owned();
        let url = started["authorizeUrl"].as_str().context("it has an authorize URL")?;
        let callback = person.approve(url).await?;
        browser.open(callback.as_str()).await?.expect(303)?;
        let claim = eventually(|| async {
            let page = browser.open(&format!("/connect/{id}")).await?;
            let Some(location) = page.location() else { return Ok(None) };
            let to = url::Url::parse(location)?;
            let claim = to.query_pairs().find(|(name, _)| name == "claim");
            Ok(Some(claim.context("the redirect has a claim")?.1.into_owned()))
        });
        let claim = claim.await?;
        Ok((id, claim))
    }

    /// An account as the API shows it.
    ///
    /// # Errors
    /// When the API refuses.
    pub async fn account(&self, account_id: &str) -> anyhow::Result<Value> {
        Ok(self.http.get(&self.path(&format!("/accounts/{account_id}"))).await?.expect(200)?.json())
    }

    /// Waits until an account looks as it should, and answers it.
    ///
    /// # Errors
    /// When it never does.
    pub async fn account_until(
        &self,
        account_id: &str,
        looks_right: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let seen = eventually(|| async {
            let account = self.account(account_id).await?;
            Ok(looks_right(&account).then_some(account))
        })
        .await;
        match seen {
            Ok(account) => Ok(account),
            Err(error) => {
                Err(error.context(format!("the account: {:#}", self.account(account_id).await?)))
            }
        }
    }

    /// Waits for a webhook of a type about an account or a connect.
    ///
    /// # Errors
    /// When it does not come, or its signature is wrong.
    pub async fn event(&self, kind: &str, about: &str) -> anyhow::Result<Value> {
        self.event_that(kind, |event| event["data"].to_string().contains(about)).await
    }

    /// Waits for a webhook of a type that is as wanted.
    ///
    /// # Errors
    /// When it does not come, or its signature is wrong.
    pub async fn event_that(
        &self,
        kind: &str,
        is_wanted: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let delivery = self
            .receiver
            .wait_for(
                |delivery| delivery.event["type"] == kind && is_wanted(&delivery.event),
                super::PATIENCE,
            )
            .await
            .map_err(super::told)?;
        anyhow::ensure!(delivery.verified, "the signature of {kind} is wrong");
        Ok(delivery.event)
    }
}
