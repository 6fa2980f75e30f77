//! A connect that waits for a choice, where a test is about choosing alone.

use anyhow::Context as _;
use latchkey_shared::candidates::{self, Candidate};
use latchkey_shared::db::connects;
use latchkey_shared::ids::{ConnectId, ConnectKey};
use latchkey_shared::{authorize, random};
use serde_json::Value;

use super::{Answer, TestApp};

/// A connect that waits for a choice.
#[derive(Clone, Debug)]
pub struct Selecting {
    /// The connect.
    pub connect_id: String,
    /// The cookie of the browser that came back, as it is sent.
    pub cookie: String,
}

/// A candidate that can be connected, or cannot for this reason.
#[must_use]
pub fn candidate(id: &str, ineligible: Option<&str>) -> Candidate {
    Candidate {
        id: id.to_owned(),
        username: Some(format!("page-{id}")),
        display_name: Some(format!("Page {id}")),
        avatar_url: Some(format!("https://img.example/{id}.png")),
        token: Some(format!("page-token-{id}").into()),
        ineligible: ineligible.map(ToOwned::to_owned),
    }
}

impl TestApp {
    /// A connect at the sandbox that waits for a choice as a worker leaves it, but without tokens:
    /// once the choice is made, a worker finds nothing to connect.
    ///
    /// # Errors
    /// When the API refuses, or the database fails.
    pub async fn selecting(
        &self,
        more: Value,
        candidates: &[Candidate],
    ) -> anyhow::Result<Selecting> {
        let started = self.start_connect(more).await?;
        let connect_id = started["connectId"].as_str().context("a started connect has an id")?;
        let token = random::token();
        self.lay_out(connect_id, candidates).await?;
        self.execute(&format!(
            "UPDATE connects SET page_hash = decode('{}', 'hex') WHERE id = '{connect_id}'",
            hex::encode(authorize::hash(&token))
        ))
        .await?;
        let cookie = format!("lk_{connect_id}={token}");
        Ok(Selecting { connect_id: connect_id.to_owned(), cookie })
    }

    /// Lays candidates before the person, as a worker does after the exchange.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn lay_out(&self, connect_id: &str, candidates: &[Candidate]) -> anyhow::Result<()> {
        let id: ConnectId = connect_id.parse().ok().context("an id of a connect")?;
        let workspace = &self.owner.workspace_id;
        let sealed = {
            let db = self.db()?;
            let mut conn = db.conn().await?;
            let aad = connects::candidates_aad(ConnectKey { workspace_id: workspace, id: &id });
            candidates::encrypt(&mut conn, aad, candidates).await?
        };
        let until = (self.clock.now() + chrono::TimeDelta::hours(24)).to_rfc3339();
        self.execute(&format!(
            "UPDATE connects SET status = 'selecting', sealed_code = NULL, sealed_verifier = NULL,
                 sealed_candidates = decode('{}', 'hex'), expires_at = '{until}', lease_until = NULL
             WHERE id = '{connect_id}'",
            hex::encode(sealed)
        ))
        .await
    }

    /// Opens a connect's page, or a page below it, as the browser that came back.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn look(&self, at: &Selecting, below: &str) -> anyhow::Result<Answer> {
        let path = format!("/connect/{}{below}", at.connect_id);
        let request = self.http.request(reqwest::Method::GET, &path);
        self.http.send(request.header("cookie", &at.cookie)).await
    }

    /// Sends the form of a connect's page with these choices, from a page at `origin`.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn tick(
        &self,
        at: &Selecting,
        (origin, ids): (Option<&str>, &[&str]),
    ) -> anyhow::Result<Answer> {
        let path = format!("/connect/{}/selection", at.connect_id);
        let form: Vec<(&str, &str)> = ids.iter().map(|id| ("candidate", *id)).collect();
        let mut request = self.http.request(reqwest::Method::POST, &path);
        request = request.header("cookie", &at.cookie).form(&form);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        self.http.send(request).await
    }
}
