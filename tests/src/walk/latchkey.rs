//! Latchkey's API as an application calls it, with just enough of a client for the walk.

use anyhow::{Context as _, bail};
use reqwest::header::LOCATION;
use reqwest::redirect::Policy;
use reqwest::{Method, Response};
use serde_json::Value;
use url::Url;

pub(super) struct Latchkey {
    http: reqwest::Client,
    base: String,
    key: String,
}

impl Latchkey {
    pub(super) fn new(url: &str, key: &str) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().redirect(Policy::none()).build()?;
        Ok(Self { http, base: format!("{url}/v1"), key: key.to_owned() })
    }

    /// Calls, with a body unless it is null, and answers the JSON if the status is the expected one.
    pub(super) async fn expect(
        &self,
        expected: u16,
        method: Method,
        path: &str,
        body: Value,
    ) -> anyhow::Result<Value> {
        let what = format!("{method} /v1{path}");
        let mut request =
            self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.key);
        if !body.is_null() {
            request = request.json(&body);
        }
        let response = request.send().await.with_context(|| format!("{what} failed"))?;
        read(response, expected, &what).await
    }

    /// Opens another service's page without the key.
    pub(super) async fn ask(&self, base: &str, path: &str) -> anyhow::Result<Value> {
        let what = format!("GET {path}");
        let request = self.http.get(format!("{base}{path}"));
        read(request.send().await.with_context(|| format!("{what} failed"))?, 200, &what).await
    }

    /// Goes where a browser is sent, one step far; errors do not show the URL.
    pub(super) async fn visit(&self, url: &Url) -> anyhow::Result<(u16, Option<Url>)> {
        let response =
            self.http.get(url.clone()).send().await.map_err(reqwest::Error::without_url)?;
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let leads_to = location.map(|location| url.join(location)).transpose()?;
        Ok((response.status().as_u16(), leads_to))
    }
}

async fn read(response: Response, expected: u16, what: &str) -> anyhow::Result<Value> {
    let status = response.status().as_u16();
    let body = response.text().await?;
    if status != expected {
        // Only an error's body is fit to be shown: a success may hold a secret.
        let why = if status >= 400 { format!(": {body}") } else { String::new() };
        bail!("{what} answered {status} instead of {expected}{why}");
    }
    if body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&body).with_context(|| format!("{what} did not answer JSON"))
}

/// The text at a JSON pointer.
pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> anyhow::Result<&'a str> {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.with_context(|| format!("the answer has no text at {pointer}"))
}

/// The whole number at a JSON pointer.
pub(super) fn number(value: &Value, pointer: &str) -> anyhow::Result<u64> {
    let found = value.pointer(pointer).and_then(Value::as_u64);
    found.with_context(|| format!("the answer has no number at {pointer}"))
}
