//! The person at the sandbox's consent page, who clicks without a browser.

use anyhow::{Context as _, bail, ensure};
use reqwest::header::LOCATION;
use reqwest::redirect::Policy;
use url::Url;

/// Somebody with an account at the sandbox.
#[derive(Clone, Debug)]
pub struct Person {
    user: String,
    access_lifetime_secs: Option<u64>,
    http: reqwest::Client,
}

impl Person {
    /// A person of that user name.
    ///
    /// # Errors
    /// When no HTTP client can be built.
    pub fn new(user: impl Into<String>) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().redirect(Policy::none()).build()?;
        Ok(Self { user: user.into(), access_lifetime_secs: None, http })
    }

    /// From now on approves with access tokens that live this long.
    #[must_use]
    pub fn with_access_lifetime_secs(self, seconds: u64) -> Self {
        Self { access_lifetime_secs: Some(seconds), ..self }
    }

    /// Opens the authorize URL and approves; the answer is the callback, with code and state, not
    /// followed.
    ///
    /// # Errors
    /// When the sandbox shows no consent page or does not redirect.
    pub async fn approve(&self, authorize_url: &str) -> anyhow::Result<Url> {
        self.decide(authorize_url, "approve").await
    }

    /// Opens the authorize URL and cancels; the answer is the callback, with the error, not followed.
    ///
    /// # Errors
    /// When the sandbox shows no consent page or does not redirect.
    pub async fn deny(&self, authorize_url: &str) -> anyhow::Result<Url> {
        self.decide(authorize_url, "deny").await
    }

    async fn decide(&self, authorize_url: &str, decision: &str) -> anyhow::Result<Url> {
        let authorize_url = Url::parse(authorize_url).context("the authorize URL is no URL")?;
        let page = self.http.get(authorize_url.clone()).send().await?;
        ensure!(page.status() == 200, "the consent page answered {}", page.status());

        let mut form: Vec<(String, String)> = authorize_url.query_pairs().into_owned().collect();
        form.push(("user".to_owned(), self.user.clone()));
        form.push(("decision".to_owned(), decision.to_owned()));
        if let Some(seconds) = self.access_lifetime_secs {
            form.push(("access_lifetime".to_owned(), seconds.to_string()));
        }
        let mut action = authorize_url;
        action.set_query(None);
        let answer = self.http.post(action).form(&form).send().await?;
        let Some(location) = answer.headers().get(LOCATION) else {
            bail!("the decision was answered with {}, not a redirect", answer.status());
        };
        Ok(Url::parse(location.to_str()?)?)
    }
}
