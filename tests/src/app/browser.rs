//! A person's browser: keeps cookies, says where its forms are, and follows nothing by itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use reqwest::header::{COOKIE, ORIGIN, SET_COOKIE};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;

use super::{Answer, Http, TestApp};

/// A browser. A clone is another tab of it.
#[derive(Clone, Debug)]
pub struct Browser {
    http: Http,
    origin: String,
    cookies: Arc<Mutex<BTreeMap<String, String>>>,
}

impl TestApp {
    /// A browser without cookies.
    #[must_use]
    pub fn browser(&self) -> Browser {
        let origin = self.http.base().to_owned();
        Browser {
            http: self.http.with_key("lk_no-browser-has-one"),
            origin,
            cookies: Arc::default(),
        }
    }
}

impl Browser {
    /// The same tab on a page of another site.
    #[must_use]
    pub fn at(&self, origin: &str) -> Self {
        Self { origin: origin.to_owned(), ..self.clone() }
    }

    /// Opens an address, which may be a path of ours.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn open(&self, url: &str) -> anyhow::Result<Answer> {
        self.send(self.http.request(Method::GET, url)).await
    }

    /// Looks at the head of a page only.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn head(&self, url: &str) -> anyhow::Result<Answer> {
        self.send(self.http.request(Method::HEAD, url)).await
    }

    /// Sends a form.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn submit(&self, url: &str, fields: &[(&str, &str)]) -> anyhow::Result<Answer> {
        let request = self.http.request(Method::POST, url).header(ORIGIN, &self.origin);
        self.send(request.form(fields)).await
    }

    /// Opens a connect's first page and fills its form in, the hidden field included.
    ///
    /// # Errors
    /// When there is no such page, or no answer.
    pub async fn press(&self, connect: &Value, fields: &[(&str, &str)]) -> anyhow::Result<Answer> {
        let url = connect["connectUrl"].as_str().context("the connect has a first page")?;
        let page = self.open(url).await?.expect(200)?;
        let action = attribute(&page.text, "<form ", "action").context("it has a form")?;
        let link = attribute(&page.text, "name=\"link\"", "value");
        let mut form: Vec<(&str, &str)> = fields.to_vec();
        form.extend(link.as_deref().map(|link| ("link", link)));
        self.submit(&action, &form).await
    }

    /// Presses the button of a connect's first page and goes on; answers the authorize URL.
    ///
    /// # Errors
    /// When it is not led on.
    pub async fn begin(&self, connect: &Value) -> anyhow::Result<String> {
        let pressed = self.press(connect, &[]).await?.expect(303)?;
        let next = pressed.location().context("the form is answered by a redirect")?.to_owned();
        let page = self.open(&next).await?.expect(200)?;
        attribute(&page.text, "<a ", "href").context("the page leads on")
    }

    /// How many cookies it holds.
    #[must_use]
    pub fn cookies(&self) -> usize {
        self.jar().len()
    }

    async fn send(&self, request: RequestBuilder) -> anyhow::Result<Answer> {
        let cookies: Vec<String> =
            self.jar().iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = match cookies.is_empty() {
            true => request,
            false => request.header(COOKIE, cookies.join("; ")),
        };
        let answer = self.http.send(request).await?;
        for set in answer.headers.get_all(SET_COOKIE) {
            let set = set.to_str()?;
            let (name, value) = set
                .split(';')
                .next()
                .and_then(|pair| pair.split_once('='))
                .context("a cookie has a name")?;
            if set.contains("Max-Age=0;") {
                self.jar().remove(name);
            } else {
                self.jar().insert(name.to_owned(), value.to_owned());
            }
        }
        Ok(answer)
    }

    fn jar(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.cookies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The attribute of the first element after `mark`, as the browser reads it.
fn attribute(html: &str, mark: &str, name: &str) -> Option<String> {
    let (_, rest) = html.split_once(mark)?;
    let (_, rest) = rest.split('>').next()?.split_once(&format!("{name}=\""))?;
    Some(rest.split('"').next()?.replace("&#38;", "&"))
}
