//! The sandbox over real HTTP, as a client sees it.

mod consent;
mod faults;
mod grants;
mod ledger;
mod wears;

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Response;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use url::Url;

use super::*;
use crate::person::Person;

const REDIRECT_URI: &str = "http://127.0.0.1:1/callback";
const VERIFIER: &str = "dBjftJeZ4CVP-mBmr0x1vNq7kPq2sK4mJq8aWbXcYdE";

/// A sandbox and the one client it knows.
struct Client {
    sandbox: Sandbox,
    http: reqwest::Client,
}

impl Client {
    async fn start(config: SandboxConfig) -> Self {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Self { sandbox: Sandbox::start(config).await.unwrap(), http }
    }

    async fn default() -> Self {
        Self::start(SandboxConfig::default()).await
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.sandbox.url())
    }

    fn authorize_url(&self) -> Url {
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
        let params = [
            ("response_type", "code"),
            ("client_id", "latchkey-sandbox-client"),
            ("redirect_uri", REDIRECT_URI),
            ("state", "st4te"),
            ("scope", "profile posts.write"),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        Url::parse_with_params(&self.at("/authorize"), params).unwrap()
    }

    async fn code(&self, user: &str) -> String {
        let person = Person::new(user).unwrap();
        let callback = person.approve(self.authorize_url().as_str()).await.unwrap();
        query(&callback)["code"].clone()
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> reqwest::Result<Response> {
        let config = SandboxConfig::default();
        let request = self.http.post(self.at(path));
        request.basic_auth(config.client_id, Some(config.client_secret)).form(form).send().await
    }

    async fn exchange(&self, code: &str) -> reqwest::Result<Response> {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT_URI),
            ("code_verifier", VERIFIER),
        ];
        self.post("/token", &form).await
    }

    async fn refresh(&self, token: &str) -> reqwest::Result<Response> {
        self.post("/token", &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
    }

    async fn revoke(&self, token: &str) -> reqwest::Result<Response> {
        self.post("/revoke", &[("token", token)]).await
    }

    async fn userinfo(&self, token: &str) -> reqwest::Result<Response> {
        self.http.get(self.at("/userinfo")).bearer_auth(token).send().await
    }

    /// Consents, exchanges, and answers the first pair.
    async fn connect(&self, user: &str) -> Pair {
        let code = self.code(user).await;
        Pair::of(self.exchange(&code).await.unwrap()).await
    }

    fn count(&self, kind: Kind) -> usize {
        self.sandbox.ledger().iter().filter(|entry| entry.kind == kind).count()
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Pair {
    access: String,
    refresh: String,
    body: Value,
}

impl Pair {
    async fn of(response: Response) -> Self {
        assert_eq!(response.status(), 200);
        let body: Value = response.json().await.unwrap();
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        Self { access: text("access_token"), refresh: text("refresh_token"), body }
    }
}

/// Status and OAuth error code.
async fn error(response: reqwest::Result<Response>) -> (u16, String) {
    let response = response.unwrap();
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    (status, body["error"].as_str().unwrap().to_owned())
}

fn query(url: &Url) -> HashMap<String, String> {
    url.query_pairs().into_owned().collect()
}

fn invalid_grant() -> (u16, String) {
    (400, "invalid_grant".to_owned())
}

/// Waits for what happens after the client has gone.
async fn until(happened: impl Fn() -> bool) {
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    let wait = async {
        while !happened() {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), wait).await.unwrap();
}
