//! The vendors' platforms over real HTTP: the good path of each, and what it refuses.

mod bluesky;
mod facebook;
mod instagram;
mod linkedin;
mod pinterest;
mod shared;
mod threads;
mod tiktok;
mod tiktok_business;
mod x;
mod youtube;

use chrono::TimeDelta;
use latchkey_shared::clock::Clock;
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use super::*;

const ID: &str = "latchkey-sandbox-client";
const SECRET: &str = "latchkey-sandbox-secret-for-development-only";
const BACK: &str = "https://app.example/callback/";

/// How the client proves itself in a form.
#[derive(Clone, Copy)]
enum By {
    Nothing,
    Basic,
    Body,
    /// As `Body`, but it is called `client_key`.
    Key,
}

/// A sandbox whose clock the test moves.
async fn start() -> (Client, Clock) {
    start_with(SandboxConfig::default()).await
}

async fn start_with(config: SandboxConfig) -> (Client, Clock) {
    let clock = Clock::system();
    (Client::start(SandboxConfig { clock: clock.clone(), ..config }).await, clock)
}

impl Client {
    /// The address of a consent page; the client is called `client_id` unless the parameters say so.
    fn page(&self, path: &str, params: &[(&str, &str)]) -> Url {
        let usual = [("response_type", "code"), ("redirect_uri", BACK), ("state", "st4te")];
        let named = params.iter().any(|(name, _)| *name == "client_key");
        let client = (!named).then_some(("client_id", ID));
        let given = |name: &str| params.iter().any(|(given, _)| *given == name);
        let usual = usual.into_iter().chain(client).filter(|(name, _)| !given(name));
        Url::parse_with_params(&self.at(path), usual.chain(params.iter().copied())).unwrap()
    }

    async fn approve(&self, user: &str, page: Url) -> HashMap<String, String> {
        query(&Person::new(user).unwrap().approve(page.as_str()).await.unwrap())
    }

    /// The status of a consent page.
    async fn shows(&self, page: Url) -> u16 {
        self.http.get(page).send().await.unwrap().status().as_u16()
    }

    async fn form_at(&self, path: &str, by: By, form: &[(&str, &str)]) -> (u16, Value) {
        let request = self.http.post(self.at(path));
        let (request, named) = match by {
            By::Nothing => (request, [].as_slice()),
            By::Basic => (request.basic_auth(ID, Some(SECRET)), [].as_slice()),
            By::Body => (request, [("client_id", ID), ("client_secret", SECRET)].as_slice()),
            By::Key => (request, [("client_key", ID), ("client_secret", SECRET)].as_slice()),
        };
        answered(request.form(&[form, named].concat())).await
    }

    async fn json_at(&self, path: &str, body: Value) -> (u16, Value) {
        answered(self.http.post(self.at(path)).json(&body)).await
    }

    async fn get_at(&self, path: &str, query: &[(&str, &str)]) -> (u16, Value) {
        answered(self.http.get(self.at(path)).query(query)).await
    }

    async fn bearer_at(&self, path: &str, token: &str) -> (u16, Value) {
        answered(self.http.get(self.at(path)).bearer_auth(token)).await
    }

    async fn delete_at(&self, path: &str, query: &[(&str, &str)]) -> (u16, Value) {
        answered(self.http.request(Method::DELETE, self.at(path)).query(query)).await
    }

    /// The kinds of the ledger's entries of a platform.
    fn kinds(&self, platform: &str) -> Vec<Kind> {
        let ledger = self.sandbox.ledger();
        let here = ledger.iter().filter(|entry| entry.platform.as_deref() == Some(platform));
        here.map(|entry| entry.kind).collect()
    }
}

/// Status and body; no body is null.
async fn answered(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let body = response.text().await.unwrap();
    let body = if body.is_empty() { Value::Null } else { serde_json::from_str(&body).unwrap() };
    (status, body)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// An ordinary form that presents a code.
fn with_code(code: &str) -> [(&'static str, &str); 3] {
    [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", BACK)]
}

/// An ordinary form that presents a refresh token.
fn with_refresh_token(token: &str) -> [(&'static str, &str); 2] {
    [("grant_type", "refresh_token"), ("refresh_token", token)]
}

fn page(id: &str, roles: &[&str]) -> Page {
    Page {
        id: id.to_owned(),
        name: format!("Page {id}"),
        username: Some(format!("page.{id}")),
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
    }
}
